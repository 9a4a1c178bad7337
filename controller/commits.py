"""A switch that keeps account of its rules, and whose commits take turns.

The installer changes a switch from the rules that it has to those it should have; the audit puts right what others
changed. Neither begins in the middle of the other, so each leaves what the other counts on. The account is of what the
switch has confirmed, whatever the installer makes of it yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from controller.runtime import Runtime, Switch
from controller.strays import Mend, RemoveStray, RestoreGroup, TablesRead
from controller.wire import Port, PortCounters
from dataplane.rules import SwitchRules
from dataplane.update import Operation, Rest, apply_operations

_LOOK_S = 0.005


class AccountedSwitch:
    """A connected switch, as `controller.runtime.Switch`."""

    def __init__(self, switch: Switch, runtime: Runtime) -> None:
        self._switch = switch
        self._runtime = runtime
        self._committing = False
        self._commits = 0
        # What it held once, and what it was told since; unknown where it may have done a part of that.
        self._is_known = False
        self._held = SwitchRules()
        self._since: list[Operation] = []

    @property
    def dpid(self) -> int:
        return self._switch.dpid

    @property
    def address(self) -> str:
        return self._switch.address

    @property
    def is_connected(self) -> bool:
        return self._switch.is_connected

    def disconnect(self, reason: str) -> None:
        self._switch.disconnect(reason)

    def ports(self) -> list[Port]:
        return self._switch.ports()

    def send_frame(self, port: int, frame: bytes) -> None:
        self._switch.send_frame(port, frame)

    def read_counters(self, ports: Sequence[int]) -> list[PortCounters]:
        return self._switch.read_counters(ports)

    def read_rules(self) -> TablesRead:
        mark = self.mark()
        read = self._switch.read_rules()
        if not self._is_known and mark is not None and self.mark() == mark:
            self._is_known, self._held, self._since = True, read.rules, []
        return read

    def commit(self, operations: Sequence[Operation | Mend]) -> tuple[str, ...]:
        with self._turn():
            was_known, self._is_known = self._is_known, False
            refused = self._switch.commit(operations)
            if not refused:
                self._is_known = was_known
                self._since += (each for each in operations if not isinstance(each, RestoreGroup | RemoveStray))
            return refused

    def restore(self, mends: Sequence[Mend], mark: int) -> tuple[str, ...] | None:
        """Put its rules right, unless it was told something else since the mark: then None, and nothing is done.

        Raises
        ------
        HeddleError
            It did not answer, or is gone.
        """
        with self._turn() as begun:
            if begun != mark:
                return None
            was_known, self._is_known = self._is_known, False
            refused = self._switch.commit(mends)
            if not refused:
                self._is_known = was_known
            return refused

    def mark(self) -> int | None:
        """A number that stays as long as nothing is committed; None while something is."""
        return None if self._committing else self._commits

    def holds(self, rest: Rest) -> SwitchRules | None:
        """The rules that it has confirmed; None where that is not known, or while it is told something."""
        mark = self.mark()
        if self._since and self._is_known and mark is not None:
            rules = apply_operations(self._held, self._since, rest)
            if self.mark() == mark:
                self._held, self._since = rules, []
        return self._held if self._is_known and mark is not None and self.mark() == mark else None

    @contextmanager
    def _turn(self) -> Iterator[int]:
        """Wait for one's turn; yields how many had theirs before."""
        while self._committing:
            self._runtime.sleep(_LOOK_S)
        self._committing = True
        try:
            yield self._commits
        finally:
            self._commits += 1
            self._committing = False
