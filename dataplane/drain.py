"""How long packets with an old label can be under way."""

from __future__ import annotations

from collections.abc import Iterable

from topologies.fabric import Link

DRAIN_S = 2.0
"""What packets may spend in the queues of their path, where nothing is known of these."""
UNLABELLED = 0
"""Stands among labels for packets without one: a reserved label (RFC 3032, section 2.1), which no path is given."""


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
