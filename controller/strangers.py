"""Switches that nobody declared and that went away: what is kept of them must not grow with how many come and go.

Whoever may connect may pose as any number of switches, with hosts behind them and with cables between them. An honest
switch whose channel is lost looks the same, and its data plane lives on. So one that is away is kept in proportion to
how long it was there, and longer while a cable leads from it to a switch that is connected, which would tell of its
end. Beyond a bound the one goes first that was there for the shortest time.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FORGET_S = 60.0
KEEP_S = 3600.0
"""Least and longest time for which a switch that is away is kept."""
KEPT_TIMES = 10.0
"""It is kept so many times as long as it was there."""
MAX_STRANGERS = 1024
MAX_PORTS = 65_536
"""What is kept in all of switches that are away."""
BRIEF_S = 10.0
MAX_BRIEF = 128
"""And of those that were there no longer than that: each makes every snapshot of the view cost more."""


class Hold(StrEnum):
    """What speaks for keeping a switch that is away."""

    NOTHING = "nothing"
    CABLE = "cable"
    USE = "use"


@dataclass(slots=True)
class _Stranger:
    came_s: float
    stayed_s: float = 0.0
    is_away: bool = False
    went_s: float = 0.0
    until_s: float = 0.0
    ports: int = 0
    hold: Hold = Hold.NOTHING


class _Queue:
    """Dpids by a time each; an entry whose time is no longer the dpid's is passed over."""

    def __init__(self) -> None:
        self._at_s: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def put(self, dpid: int, at_s: float) -> None:
        if self._at_s.get(dpid) == at_s:
            return
        self._at_s[dpid] = at_s
        heapq.heappush(self._heap, (at_s, dpid))
        if len(self._heap) > 2 * len(self._at_s) + 64:
            self._heap = [(known_s, known) for known, known_s in self._at_s.items()]
            heapq.heapify(self._heap)

    def drop(self, dpid: int) -> None:
        self._at_s.pop(dpid, None)

    def take(self, until_s: float) -> int | None:
        """Take out the first, where its time has come."""
        while self._heap and self._heap[0][0] <= until_s:
            at_s, dpid = heapq.heappop(self._heap)
            if self._at_s.get(dpid) == at_s:
                del self._at_s[dpid]
                return dpid
        return None


class Strangers:
    """Switches that nobody declared: since when each is there or away, and which are to be forgotten.

    Parameters
    ----------
    hold : callable
        What speaks for keeping a switch: a cable to one that is connected, or that plans or jobs use it.
    """

    def __init__(self, hold: Callable[[int], Hold]) -> None:
        self._hold = hold
        self._known: dict[int, _Stranger] = {}
        # Those that are away, by when to look at them, and by how long they were there.
        self._looks, self._stays = _Queue(), _Queue()
        self._away = self._ports = self._brief = 0

    def came(self, dpid: int, now_s: float) -> None:
        """A switch is there, newly or again."""
        stranger = self._known.setdefault(dpid, _Stranger(now_s))
        if stranger.is_away:
            self._count(stranger, -1)
            self._looks.drop(dpid)
            self._stays.drop(dpid)
        stranger.came_s, stranger.is_away = now_s, False

    def went(self, dpid: int, ports: int, now_s: float) -> None:
        """A switch is away, of which so many ports are known."""
        stranger = self._known.setdefault(dpid, _Stranger(now_s))
        if stranger.is_away:
            return
        stranger.stayed_s += now_s - stranger.came_s
        stranger.is_away, stranger.went_s, stranger.ports, stranger.hold = True, now_s, ports, Hold.NOTHING
        stranger.until_s = now_s + min(max(KEPT_TIMES * stranger.stayed_s, FORGET_S), KEEP_S)
        self._count(stranger, 1)
        self._looks.put(dpid, stranger.until_s)
        self._stays.put(dpid, stranger.stayed_s)

    def known_from_earlier(self, dpid: int, ports: int, now_s: float) -> None:
        """An earlier run of the daemon knew something at a switch that has not come yet."""
        self._known[dpid] = _Stranger(now_s, stayed_s=KEEP_S)
        self.went(dpid, ports, now_s)

    def due(self, now_s: float, most: int) -> list[int]:
        """Switches to forget now; at most so many are looked at."""
        forgotten = []
        for _ in range(most):
            dpid = self._looks.take(now_s)
            squeezed = dpid is None and self._is_over()
            if squeezed:
                dpid = self._stays.take(math.inf)
            if dpid is None:
                break
            stranger = self._known[dpid]
            self._count(stranger, -1)
            stranger.hold = self._hold(dpid)
            cabled = stranger.hold is Hold.CABLE and now_s < stranger.went_s + KEEP_S
            if stranger.hold is Hold.USE:
                self._looks.put(dpid, now_s + FORGET_S)
                self._stays.drop(dpid)
            elif not squeezed and (cabled or now_s < stranger.until_s):
                self._looks.put(dpid, max(stranger.until_s, now_s + FORGET_S))
                self._stays.put(dpid, stranger.stayed_s)
            else:
                self._looks.drop(dpid)
                self._stays.drop(dpid)
                del self._known[dpid]
                forgotten.append(dpid)
                continue
            self._count(stranger, 1)
        return forgotten

    def _count(self, stranger: _Stranger, by: int) -> None:
        """Count one that is away; what is in use goes with what uses it, and is bounded by that."""
        if stranger.hold is not Hold.USE:
            self._away += by
            self._ports += by * stranger.ports
            self._brief += by * (stranger.stayed_s < BRIEF_S)

    def _is_over(self) -> bool:
        return self._away > MAX_STRANGERS or self._ports > MAX_PORTS or self._brief > MAX_BRIEF
