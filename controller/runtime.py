"""What the decisions need of the world: time, tasks, switches. The application provides it; tests fake it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from controller.strays import Mend, TablesRead
from controller.wire import Port, PortCounters
from dataplane.update import Operation

T = TypeVar("T")


class Task(Protocol):
    """A task under way in the OpenFlow thread."""

    def wait(self) -> None:
        """Return once it has ended."""
        ...


class Runtime(Protocol):
    """The OpenFlow thread's clock and scheduler. Tasks are cooperative: they switch only where they wait."""

    def now_s(self) -> float:
        """Monotonic clock, seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let other tasks run for a while."""
        ...

    def spawn(self, function: Callable[[], None]) -> Task:
        """Start a task."""
        ...

    def call_soon(self, function: Callable[[], T]) -> Future[T]:
        """Run a function in the OpenFlow thread; callable from any thread."""
        ...


class Switch(Protocol):
    """A connected switch."""

    @property
    def dpid(self) -> int: ...

    @property
    def address(self) -> str: ...

    @property
    def is_connected(self) -> bool:
        """Whether its connection stands; its end is announced a moment later."""
        ...

    def disconnect(self, reason: str) -> None:
        """Close its connection; it may come back at once."""
        ...

    def ports(self) -> list[Port]:
        """Its ports as they are now."""
        ...

    def send_frame(self, port: int, frame: bytes) -> None:
        """Send a frame out of a port; lost where the switch is gone."""
        ...

    def read_counters(self, ports: Sequence[int]) -> list[PortCounters]:
        """Counters of these ports, or of more; waits.

        Raises
        ------
        HeddleError
            It did not answer.
        """
        ...

    def read_rules(self) -> TablesRead:
        """What its tables hold; waits.

        Raises
        ------
        HeddleError
            It did not answer.
        """
        ...

    def commit(self, operations: Sequence[Operation | Mend]) -> tuple[str, ...]:
        """Carry out operations in order and wait until they are in force; returns what the switch refused.

        Where it refuses something, its rules have to be read. On a switch that makes bundles (`controller.batches`),
        the bundle with the refused operation has changed nothing; all before it is in force, meters among that, and
        nothing behind it was sent. On any other switch everything else is in force.

        Raises
        ------
        HeddleError
            It did not answer, or is gone.
        """
        ...
