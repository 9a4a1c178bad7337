"""Searches for hosts that nobody knows, spread over time and shared fairly among the ports that ask."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.buckets import Buckets
from controller.discovery import PortId

PER_TARGET_S = 1.0
"""One search for an address in this time, however many hosts ask for it."""
SEARCHES_PER_S, SEARCHES_BURST = 10.0, 20
"""What one port may have searched for."""
FRAMES_PER_S, FRAMES_BURST = 10_000.0, 1024
"""Frames of all searches: each takes the thread that serves every switch some 10 µs."""
LONGEST_WAIT_S = 3.0
"""Until a search begins: who asked has given up by then, or has asked again."""
EDGE_PORTS_S = 0.5
"""For how long the list of edge ports is used: a fabric has thousands."""
SHED = "arp-search-shed"
_MAX_TARGETS = 4096


@dataclass(slots=True)
class _Search:
    at: PortId
    frame: bytes
    asked_s: float
    ports: Sequence[PortId] = ()
    done: int = 0


class Searches:
    """Sends a frame out of every edge port but the one it came from; ports that ask take turns.

    Parameters
    ----------
    send : callable
        Sends a frame out of a port.
    edge_ports : callable
        All edge ports of the fabric: where an unknown host may be.
    counts : Counter
        ``arp-search-shed`` counts what was not searched for.
    """

    def __init__(
        self,
        send: Callable[[PortId, bytes], None],
        edge_ports: Callable[[], Sequence[PortId]],
        counts: Counter[str],
    ) -> None:
        self._send = send
        self._edge_ports = edge_ports
        self._counts = counts
        self._allowed: Buckets[PortId] = Buckets(SEARCHES_PER_S, SEARCHES_BURST)
        self._current: _Search | None = None
        self._waiting: OrderedDict[PortId, deque[_Search]] = OrderedDict()
        self._asked_s: OrderedDict[str, float] = OrderedDict()
        self._ports: Sequence[PortId] = ()
        self._ports_s: float | None = None
        self._frames = float(FRAMES_BURST)
        self._frames_s: float | None = None

    def ask(self, at: PortId, target_ip: str, frame: bytes, now_s: float) -> None:
        """Search for an address that a host at a port asked for."""
        asked_s = self._asked_s.get(target_ip)
        if asked_s is not None and now_s - asked_s < PER_TARGET_S:
            return
        waiting = self._waiting.get(at, ())
        if len(waiting) >= SEARCHES_BURST or not self._allowed.take(at, now_s):
            self._counts[SHED] += 1
            return
        self._asked_s[target_ip] = now_s
        self._asked_s.move_to_end(target_ip)
        if len(self._asked_s) > _MAX_TARGETS:
            self._asked_s.popitem(last=False)
        self._waiting.setdefault(at, deque()).append(_Search(at, frame, now_s))
        self.go_on(now_s)

    def go_on(self, now_s: float) -> None:
        """Send what may be sent by now: one search to its end, then one of the next port."""
        self._frames = min(FRAMES_BURST, self._frames + (now_s - (self._frames_s or now_s)) * FRAMES_PER_S)
        self._frames_s = now_s
        while self._frames >= 1.0 and (self._current is not None or self._waiting):
            if self._current is None:
                self._current = self._next(now_s)
            elif self._send_some(self._current):
                self._current = None

    def _next(self, now_s: float) -> _Search | None:
        """The next port's first search that is not too old."""
        at, searches = self._waiting.popitem(last=False)
        search = None
        while searches and search is None:
            search = searches.popleft()
            if now_s - search.asked_s > LONGEST_WAIT_S:
                self._counts[SHED] += 1
                search = None
        if searches:
            self._waiting[at] = searches
        if search is not None:
            search.ports = self._edge(now_s)
        return search

    def _send_some(self, search: _Search) -> bool:
        """Send a piece of a search; whether that was the last."""
        piece = search.ports[search.done : search.done + int(self._frames)]
        for port in piece:
            if port != search.at:
                self._send(port, search.frame)
        search.done += len(piece)
        self._frames -= len(piece)
        return search.done >= len(search.ports)

    def _edge(self, now_s: float) -> Sequence[PortId]:
        if self._ports_s is None or now_s - self._ports_s >= EDGE_PORTS_S:
            self._ports, self._ports_s = self._edge_ports(), now_s
        return self._ports
