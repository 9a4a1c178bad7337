"""What happened, for people and for counters: bounded, and quiet about what repeats."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from controller.service import Event

log = logging.getLogger("heddle.events")

KEPT = 10_000
QUIET_S = 60.0
"""The same sentence is said once in this time; the counter counts every one."""
_MAX_SAID = 4096


class EventLog:
    """Events with growing ids, and counts by kind.

    Parameters
    ----------
    first_id : int
        Id of the first new event; above those of an earlier run.
    keep : callable
        Takes each event for the record (the store).
    """

    def __init__(self, first_id: int, keep: Callable[[Event], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._next_id = first_id
        self._keep = keep
        self._said: OrderedDict[str, float] = OrderedDict()

    def note(self, kind: str, message: str) -> None:
        """Count an event and, unless the same was said lately, record it."""
        self.counts[kind] += 1
        now_s = time.time()
        said_s = self._said.get(message)
        if said_s is not None and now_s - said_s < QUIET_S:
            return
        self._said[message] = now_s
        self._said.move_to_end(message)
        if len(self._said) > _MAX_SAID:
            self._said.popitem(last=False)
        event = Event(self._next_id, now_s, kind, message)
        self._next_id += 1
        self._events.append(event)
        log.info("%s: %s", kind, message)
        self._keep(event)

    def after(self, event_id: int) -> tuple[Event, ...]:
        """Events with higher ids, oldest first."""
        # A snapshot of the deque is one step of the interpreter, so other threads may call this.
        return tuple(event for event in tuple(self._events) if event.id > event_id)
