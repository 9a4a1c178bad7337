"""When to publish: what was lost at once, and never so often that publishing takes the loop from the switches."""

from __future__ import annotations

URGENT_S = 0.02
"""Least time from one publication to the next, where something was lost."""
COALESCE_S = 0.05
"""Where nothing was."""
_RESTS = 4.0
"""A publication is followed by a rest so many times as long as it took: it takes a fifth of the time at most."""
_LONGEST_REST_S = 1.0


class Pace:
    """Measures publications and spaces them out."""

    def __init__(self) -> None:
        self._ended_s = float("-inf")
        self._rest_s = 0.0

    def allows(self, now_s: float, *, urgent: bool) -> bool:
        """Whether to publish now; else ask again."""
        return now_s - self._ended_s >= max(self._rest_s, URGENT_S if urgent else COALESCE_S)

    def published(self, began_s: float, ended_s: float) -> None:
        """A publication took place."""
        self._ended_s = ended_s
        self._rest_s = min(_RESTS * (ended_s - began_s), _LONGEST_REST_S)
