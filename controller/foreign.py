"""Flows of others in switches: left alone, and told of whenever there are more or fewer of them."""

from __future__ import annotations

from controller.eventlog import EventLog


class ForeignFlows:
    """How many there were in each switch when it was last read."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._count: dict[str, int] = {}

    def seen(self, name: str, count: int) -> None:
        """So many are in a switch now."""
        before = self._count.get(name, 0)
        if count == before:
            return
        self._count[name] = count
        said = f"switch {name} has {count} flows that are not ours; they may bypass the plan"
        if not count:
            del self._count[name]
            said = f"switch {name} has no flows any more that are not ours"
        self._events.note("foreign-rules", said, name)

    def forget(self, name: str) -> None:
        """A switch is gone for good."""
        self._count.pop(name, None)
