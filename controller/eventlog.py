"""What happened, for people and for counters: bounded, and quiet about what repeats."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence

from controller.service import Event

log = logging.getLogger("heddle.events")

KEPT = 10_000
QUIET_S = 60.0
"""A sentence of a kind that repeats itself is said once in this time; the counter counts every one."""
_MAX_SAID = 4096
_REPEATING = frozenset({
    "arp-spoofed", "host-conflict", "host-refused", "install-failed", "job-unplanned", "link-moved", "plan-failed",
    "port-conflict", "rule-refused", "store-failed", "switch-error", "switch-left", "switch-silent",
})  # fmt: skip
"""What somebody outside can bring about at will, and what is tried again until it works."""
_WARNINGS = _REPEATING | {
    "capacity-assumed", "capacity-unknown", "declared-missing", "foreign-rules", "link-overloaded", "link-silent",
    "miscabled", "port-down", "port-shared", "switch-down",
}  # fmt: skip


class EventLog:
    """Events with growing ids, and counts by kind.

    Parameters
    ----------
    earlier : sequence of Event
        Those of an earlier run, oldest first.
    keep : callable
        Takes each event for the record (the store).
    """

    def __init__(self, earlier: Sequence[Event], keep: Callable[[Event], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._events: deque[Event] = deque(earlier, maxlen=KEPT)
        self._next_id = earlier[-1].id + 1 if earlier else 1
        self._keep = keep
        self._said: OrderedDict[str, float] = OrderedDict()

    def note(self, kind: str, message: str, source: str = "") -> None:
        """Count an event and record it, unless it repeats itself.

        Parameters
        ----------
        source : str
            Who brought it about, where one can do so at will: a port, a peer's address.
        """
        self.counts[kind] += 1
        now_s = time.time()
        if kind in _REPEATING and self._was_said(f"{source} {message}", now_s):
            return
        event = Event(self._next_id, now_s, kind, message)
        self._next_id += 1
        self._events.append(event)
        log.log(logging.WARNING if kind in _WARNINGS else logging.INFO, "%s: %s", kind, message)
        self._keep(event)

    def _was_said(self, message: str, now_s: float) -> bool:
        """Whether a sentence was said lately; if not, it is now."""
        said_s = self._said.get(message)
        if said_s is not None and now_s - said_s < QUIET_S:
            return True
        self._said[message] = now_s
        self._said.move_to_end(message)
        if len(self._said) > _MAX_SAID:
            self._said.popitem(last=False)
        return False

    def after(self, event_id: int) -> tuple[Event, ...]:
        """Events with higher ids, oldest first."""
        # A snapshot of the deque is one step of the interpreter, so other threads may call this.
        return tuple(event for event in tuple(self._events) if event.id > event_id)
