"""Switches that nobody declared and that went away: what is kept of them must not grow with how many come and go."""

from __future__ import annotations

from collections import OrderedDict

FORGET_S = 60.0
MAX_STRANGERS = 256
"""Beyond, the one that went first is looked at before its time."""


class Strangers:
    """Dpids of switches that are away, in the order in which they went."""

    def __init__(self) -> None:
        self._away: OrderedDict[int, float] = OrderedDict()

    def went(self, dpid: int, now_s: float) -> None:
        """A switch is away, newly or still."""
        self._away[dpid] = now_s
        self._away.move_to_end(dpid)

    def came(self, dpid: int) -> None:
        """It is back."""
        self._away.pop(dpid, None)

    def due(self, now_s: float) -> list[int]:
        """Those to look at now: forget them, or call `went` again where something still depends on them."""
        due = []
        while self._away:
            dpid, went_s = next(iter(self._away.items()))
            if now_s - went_s < FORGET_S and len(self._away) <= MAX_STRANGERS:
                break
            del self._away[dpid]
            due.append(dpid)
        return due
