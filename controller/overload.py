"""Notices links that carry more than was declared for them: the declaration is wrong, and with it every plan."""

from __future__ import annotations

from collections import Counter

from controller.discovery import Change
from topologies.fabric import Link, LinkId

TOLERANCE = 0.05
"""Bursts, and counters that are not read at quite the moment they are counted for."""
READINGS = 3
"""So many in a row make a load that stays."""


class OverloadWatch:
    """How many readings in a row each link was above its capacity."""

    def __init__(self) -> None:
        self._above: Counter[LinkId] = Counter()

    def read(self, link: Link, load_bps: float | None) -> list[Change]:
        """Take a reading of a link whose capacity was declared; the event comes once, until the load has fallen."""
        if load_bps is None or link.capacity_bps is None or load_bps <= link.capacity_bps * (1 + TOLERANCE):
            self._above.pop(link.id, None)
            return []
        self._above[link.id] += 1
        if self._above[link.id] != READINGS:
            return []
        message = (
            f"{link.id} carries {load_bps:.4g} bit/s, more than the {link.capacity_bps:.4g} bit/s declared for it; "
            "correct the fabric file"
        )
        return [Change(False, "link-overloaded", message)]
