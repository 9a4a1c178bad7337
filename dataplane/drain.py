"""How long packets with an old label can be under way, and whether their counters say that none are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from topologies.fabric import Link

DRAIN_S = 2.0
"""What packets may spend in the queues of their path, where nothing is known of these."""
UNLABELLED = 0
"""Stands among labels for packets without one: a reserved label (RFC 3032, section 2.1), which no path is given."""
STILL_POLLS = 2
"""So many polls in a row find a counter as it was before packets count as drained."""
POLL_S = 0.6
"""Between two polls; Open vSwitch writes its counters up about twice a second."""
MOST_S = 30.0
"""After so long, labels that still carry packets are left for a later update to clear away."""


def queue_s(paths: Iterable[Iterable[Link]], buffer_bytes: float, default_s: float = DRAIN_S) -> float:
    """The longest that a packet can wait in the full queues of a path, and be on its links.

    Parameters
    ----------
    buffer_bytes : float
        What the queue of one port holds.
    default_s : float
        For paths with a link of unknown capacity, and where there are none.
    """
    longest_s = 0.0
    for path in paths:
        total_s = 0.0
        for link in path:
            if link.capacity_bps is None:
                return default_s
            total_s += 8 * buffer_bytes / link.capacity_bps + (link.delay_s or 0.0)
        longest_s = max(longest_s, total_s)
    return longest_s or default_s


@dataclass(slots=True)
class Drain:
    """Labels that wait until nothing carries them any more.

    Attributes
    ----------
    until_s : float
        Before this, packets can be in queues whatever counters say.
    counted : bool
        Whether counters are polled; without them the time decides.
    """

    labels: frozenset[int]
    until_s: float
    counted: bool = False
    _packets: dict[int, int] = field(default_factory=dict)
    _still: dict[int, int] = field(default_factory=dict)

    def poll(self, packets: Mapping[int, int]) -> None:
        """Take the packets that all switches together have counted for each label."""
        for label in self.labels:
            count = packets.get(label, 0)
            self._still[label] = self._still.get(label, 0) + 1 if self._packets.get(label) == count else 0
            self._packets[label] = count

    def moving(self) -> frozenset[int]:
        """Labels that may still be on packets by their counters."""
        if not self.counted:
            return frozenset()
        return frozenset(label for label in self.labels if self._still.get(label, 0) < STILL_POLLS)

    def is_over(self, now_s: float) -> bool:
        """Whether no packet carries one of the labels, or waiting longer is of no use."""
        return now_s >= self.until_s and (not self.moving() or now_s >= self.until_s + MOST_S)
