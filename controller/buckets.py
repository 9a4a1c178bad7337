"""Token buckets by key: each key its own rate, and a bounded number of keys."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

MAX_KEYS = 65_536


class Buckets(Generic[K]):
    """What each key may do: ``burst`` at once, ``per_s`` in the long run.

    Parameters
    ----------
    max_keys : int
        Beyond it the key that was used least lately starts with a full bucket again.
    """

    def __init__(self, per_s: float, burst: float, max_keys: int = MAX_KEYS) -> None:
        self._per_s = per_s
        self._burst = burst
        self._max_keys = max_keys
        self._left: OrderedDict[K, tuple[float, float]] = OrderedDict()

    def take(self, key: K, now_s: float) -> bool:
        """Whether the key may do it once more now."""
        left, at_s = self._left.get(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        allowed = left >= 1.0
        self._left[key] = (left - 1.0 if allowed else left, now_s)
        self._left.move_to_end(key)
        if len(self._left) > self._max_keys:
            self._left.popitem(last=False)
        return allowed
