"""What happened, for people and for counters: bounded, and quiet about what one source can repeat at will."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from controller.allowance import Allowance, Restraint
from controller.service import Event

log = logging.getLogger("heddle.events")

KEPT = 10_000
WRITE_S = 1.0
"""What a daemon takes for `EventLog.write_s`: 600 events at once then put 40 KiB on disk, one by one 2.4 MiB."""
SUM_UP_S = 1.0
"""Least time between looks for what has been held back long enough."""
MAX_MESSAGE = 1000
"""Longest message, in characters; a switch or a host may have chosen a part of it."""

NEWS = Allowance(per_source=20, per_kind=600, repeats=True)
"""For what people wait for: a port that fails six times in a minute is told of six times."""
AT_WILL = Allowance(per_source=5, per_kind=60, repeats=False)
"""For what somebody outside can bring about at will, and for what is tried again until it works."""
_AT_WILL = frozenset({
    "arp-spoofed", "host-aged", "host-conflict", "host-refused", "install-failed", "job-unplanned",
    "link-moved", "lldp-foreign", "lldp-forged", "lldp-relayed", "lldp-replayed", "plan-failed",
    "port-conflict", "rule-refused", "rules-drifted", "store-failed", "switch-error", "switch-left", "switch-silent",
})  # fmt: skip
_CHANNEL = "channel-"
"""How the kinds of what peers do on the channel begin."""
_NO_WARNINGS = frozenset({"host-aged", "lldp-foreign"})
_WARNINGS = _AT_WILL - _NO_WARNINGS | {
    "capacity-assumed", "capacity-unknown", "certificate-expired", "certificate-expiring", "certificate-unusable",
    "declared-missing", "foreign-rules", "link-damped", "link-needed", "link-overloaded", "link-silent",
    "miscabled", "openflow-unprotected", "port-down", "port-shared", "switch-dead", "switch-down", "update-overloads",
}  # fmt: skip


def is_warning(kind: str) -> bool:
    """Whether somebody should look at events of a kind."""
    return kind in _WARNINGS or kind.startswith(_CHANNEL)


class Keep(Protocol):
    """Takes events for the record, oldest first (`controller.store.Store.add_event`)."""

    def __call__(self, *events: Event) -> None: ...


class EventLog:
    """Events with growing ids, and counts by kind.

    Parameters
    ----------
    earlier : sequence of Event
        Those of an earlier run, oldest first.
    keep : callable
        Takes events for the record.
    now_s : callable
        A clock that never goes back.
    write_s : float
        Least time between writes to the record: the most that a crash takes from it, where `tick` is called often. 0
        writes each event as it is noted.
    """

    def __init__(
        self,
        earlier: Sequence[Event],
        keep: Keep,
        now_s: Callable[[], float] = time.monotonic,
        write_s: float = 0.0,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._events: deque[Event] = deque(earlier, maxlen=KEPT)
        self._next_id = earlier[-1].id + 1 if earlier else 1
        self._keep = keep
        self._now_s = now_s
        self._restraints: dict[str, Restraint] = {}
        self._unwritten: list[Event] = []
        self._summed_up_s = now_s()
        self._write_s = write_s
        self._written_s = now_s() - write_s

    def note(self, kind: str, message: str, source: str = "") -> None:
        """Count an event, and record it unless there were too many like it.

        What is held back is told of with the next event of that source, or a minute later.

        Parameters
        ----------
        kind : str
            One of a fixed set: it names a counter.
        source : str
            Who brought it about, where one can do so at will: a port, a peer's address. Without one, what says the
            same is taken to come from the same.
        """
        self.counts[kind] += 1
        restraint = self._restraints.get(kind)
        if restraint is None:
            at_will = kind in _AT_WILL or kind.startswith(_CHANNEL)
            restraint = self._restraints[kind] = Restraint(AT_WILL if at_will else NEWS)
        message = _safe(message)
        said = restraint.admit(message, source or message, self._now_s())
        if said is not None:
            self._say(kind, said)
        self.tick()

    def tick(self) -> None:
        """Do what is due: sum up what was held back, write what is not yet on record; cheap to call often."""
        now_s = self._now_s()
        if now_s - self._summed_up_s >= SUM_UP_S:
            self._summed_up_s = now_s
            self._sum_up(now_s, at_once=False)
        if self._unwritten and now_s - self._written_s >= self._write_s:
            self._written_s = now_s
            self._write()

    def close(self) -> None:
        """Sum up and write all that is left."""
        self._sum_up(self._now_s(), at_once=True)
        self._write()

    def after(self, event_id: int) -> tuple[Event, ...]:
        """Events with higher ids, oldest first."""
        # A snapshot of the deque is one step of the interpreter, so other threads may call this.
        return tuple(event for event in tuple(self._events) if event.id > event_id)

    def _sum_up(self, now_s: float, *, at_once: bool) -> None:
        for kind, restraint in self._restraints.items():
            for summary in restraint.sum_up(now_s, at_once=at_once):
                self._say(kind, summary)

    def _say(self, kind: str, message: str) -> None:
        event = Event(self._next_id, time.time(), kind, message)
        self._next_id += 1
        self._events.append(event)
        self._unwritten.append(event)
        log.log(logging.WARNING if is_warning(kind) else logging.INFO, "%s: %s", kind, message)

    def _write(self) -> None:
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, []
            self._keep(*unwritten)


def _safe(message: str) -> str:
    """The message cut to `MAX_MESSAGE`, and such that it stays one line of the log."""
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}…"
    return message if message.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
