"""When which port is probed: a schedule that keeps to a budget of probes per second, spread over time.

A probe costs the daemon some 75 µs from its making to its judgement, a third of which is discovery's own
(`benchmarks/probing.py`). So the budget, not the size of the fabric, bounds the load: to about a tenth of a core. A
fabric with more ports than the budget covers is probed more slowly, and `Probing` says what that means: after how long
a silent link is noticed at the latest.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from enum import StrEnum

from controller.ports import PortId
from controller.service import Probing

BUDGET_PER_S = 1500.0
FABRIC_S = 0.3
EDGE_S = 1.0
SUSPECT_S = 0.2
"""Least intervals between the probes of a port: of one with a cable or of unknown role, of an edge port, of a link
that has lost probes in both directions."""

_FABRIC_SHARE = 0.9
"""What edge ports leave of the budget."""
_BURST = BUDGET_PER_S / 10
_FIRST_A_TICK = 300
_FIRST_BURST, _FIRST_PER_S = 8192.0, BUDGET_PER_S / 10
"""The first probe of a port goes out ahead of all others and beside the budget, so that a fabric is known sooner: up to
so many, since ports may come and go for ever."""
_LATE_S = 0.1
"""A probe later than two ticks starts a rhythm of its own, so that ports that came at once do not stay together."""
_SUSPECTED_AFTER, _LOST_AFTER = 2, 4
_READING_S = 0.5
"""Ticks, the answers of both switches, and the news on its way to readers."""
_TOLD_FACTOR, _STEADY_S = 1.25, 5.0


class Pace(StrEnum):
    """How often a port is probed."""

    SUSPECT = "suspect"
    FABRIC = "fabric"
    EDGE = "edge"


class ProbeSchedule:
    """Ports by the time of their next probe."""

    def __init__(self) -> None:
        self._due_s: dict[PortId, float] = {}
        self._pace: dict[PortId, Pace] = {}
        self._ports: Counter[Pace] = Counter()
        # Entries whose time is no longer the port's are skipped.
        self._heap: list[tuple[float, PortId]] = []
        self._first: deque[tuple[float, PortId]] = deque()
        self._tokens, self._first_tokens = _BURST, _FIRST_BURST
        self._taken_s: float | None = None
        self._told = self.probing()
        self._differs_since_s: float | None = None

    def put(self, port: PortId, pace: Pace, now_s: float) -> None:
        """Probe a port at a pace from now on; a new one at once, another one an interval from now at the latest."""
        new = port not in self._pace
        self._count(port, pace)
        if new:
            self._due_s[port] = now_s
            self._first.append((now_s, port))
        elif (due_s := now_s + self._interval_s(pace)) < self._due_s[port]:
            self._due_s[port] = due_s
            heapq.heappush(self._heap, (due_s, port))
            self._compact()

    def put_first(self, port: PortId, now_s: float) -> None:
        """Probe a port as if it had never been probed, once."""
        if port in self._pace and self._due_s[port] > now_s:
            self._due_s[port] = now_s
            self._first.append((now_s, port))

    def set_pace(self, port: PortId, pace: Pace) -> None:
        """Change how often a port is probed after its next probe, if it is probed at all."""
        if port in self._pace:
            self._count(port, pace)

    def drop(self, port: PortId) -> None:
        """Probe a port no more."""
        pace = self._pace.pop(port, None)
        if pace is not None:
            self._ports[pace] -= 1
            del self._due_s[port]

    def take(self, now_s: float) -> list[PortId]:
        """Ports to probe now, as many as the budget allows; each is due again an interval later."""
        if self._taken_s is not None:
            passed_s = now_s - self._taken_s
            self._tokens = min(_BURST, self._tokens + passed_s * BUDGET_PER_S)
            self._first_tokens = min(_FIRST_BURST, self._first_tokens + passed_s * _FIRST_PER_S)
        self._taken_s = now_s
        taken = self._take_first(now_s)
        if len(taken) > _BURST:
            # That is work enough for one tick; the first ports are soon all probed.
            return taken
        while self._heap and self._heap[0][0] <= now_s:
            due_s, port = self._heap[0]
            if self._due_s.get(port) != due_s:
                heapq.heappop(self._heap)
                continue
            if self._tokens < 1:
                break
            self._tokens -= 1
            interval_s = self._interval_s(self._pace[port])
            next_s = due_s + interval_s if now_s - due_s <= _LATE_S else now_s + interval_s
            self._due_s[port] = next_s
            heapq.heapreplace(self._heap, (next_s, port))
            taken.append(port)
        return taken

    def _take_first(self, now_s: float) -> list[PortId]:
        """Ports that were never probed, as many as may be; those that may not yet wait like others."""
        taken: list[PortId] = []
        while self._first and len(taken) < _FIRST_A_TICK:
            due_s, port = self._first.popleft()
            if self._due_s.get(port) != due_s:
                continue
            if self._first_tokens < 1:
                heapq.heappush(self._heap, (due_s, port))
                continue
            self._first_tokens -= 1
            self._due_s[port] = now_s + self._interval_s(self._pace[port])
            heapq.heappush(self._heap, (self._due_s[port], port))
            taken.append(port)
        return taken

    def probing(self) -> Probing:
        """How many ports are probed as ends of links, how often, and what that is good for."""
        ports = self._ports[Pace.FABRIC] + self._ports[Pace.SUSPECT]
        interval_s = self._interval_s(Pace.FABRIC)
        # Until a link is suspect it is probed at the common pace, from then on at its own.
        noticed_s = _SUSPECTED_AFTER * interval_s + (_LOST_AFTER - _SUSPECTED_AFTER) * SUSPECT_S + _READING_S
        return Probing(ports, interval_s, noticed_s)

    def news(self, now_s: float) -> str | None:
        """A sentence, where a silent link is noticed much sooner or later than was last said, and has been for a while.

        Ports that come and go in numbers, as at a start, are waited for.
        """
        probing = self.probing()
        ratio = probing.noticed_s / self._told.noticed_s
        if 1 / _TOLD_FACTOR < ratio < _TOLD_FACTOR:
            self._differs_since_s = None
            return None
        if self._differs_since_s is None:
            self._differs_since_s = now_s
        if now_s - self._differs_since_s < _STEADY_S:
            return None
        self._told, self._differs_since_s = probing, None
        return str(probing)

    def _interval_s(self, pace: Pace) -> float:
        if pace is Pace.SUSPECT:
            return SUSPECT_S
        fabric = self._ports[Pace.FABRIC] + self._ports[Pace.SUSPECT]
        fabric_s = max(FABRIC_S, fabric / (_FABRIC_SHARE * BUDGET_PER_S))
        if pace is Pace.FABRIC:
            return fabric_s
        return max(EDGE_S, self._ports[Pace.EDGE] / (BUDGET_PER_S - fabric / fabric_s))

    def _count(self, port: PortId, pace: Pace) -> None:
        if (old := self._pace.get(port)) is not None:
            self._ports[old] -= 1
        self._ports[pace] += 1
        self._pace[port] = pace

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._due_s) + 64:
            self._heap = [(due_s, port) for port, due_s in self._due_s.items()]
            heapq.heapify(self._heap)
