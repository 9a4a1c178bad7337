"""Cables, hosts and counters in memory round discovery alone, with a clock that tests command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from controller.discovery import Change, Discovery, PortId

SECRET = b"s" * 32
TICK_S = 0.05
ARRIVAL_S = 0.01


class Wires:
    """Carries every probe that is due to where it arrives, and answers every question about counters.

    Attributes
    ----------
    to : dict of PortId to PortId
        Where arrives what a port sends.
    hosts : dict of PortId to float
        When a host was last seen at a port.
    lost : set of PortId
        Ports out of which nothing comes any more.
    stalled : set of int
        Switches that answer no question.
    received : Counter of PortId
        Receive counters.
    copies : callable or None
        Told each frame that leaves a port, before it arrives.
    """

    def __init__(
        self,
        cables: Iterable[tuple[PortId, PortId]] = (),
        hosts: Mapping[PortId, float] | None = None,
        declared: Mapping[PortId, PortId | None] | None = None,
    ) -> None:
        self.hosts = dict(hosts or {})
        self.discovery = Discovery(SECRET, self.hosts.get, declared)
        self.to = {a: b for cable in cables for a, b in (cable, cable[::-1])}
        self.lost: set[PortId] = set()
        self.stalled: set[int] = set()
        self.received: Counter[PortId] = Counter()
        self.copies: Callable[[PortId, bytes], None] | None = None
        self.now_s = 100.0
        self.changes: list[Change] = []
        self.sent: list[int] = []

    @property
    def kinds(self) -> list[str]:
        return [change.kind for change in self.changes]

    @property
    def cables(self) -> set[tuple[PortId, PortId]]:
        return set(self.discovery.cables())

    def up(self, *ports: PortId) -> None:
        for port in ports:
            self.changes += self.discovery.port_up(port, self.now_s)

    def down(self, *ports: PortId) -> None:
        for port in ports:
            self.changes += self.discovery.port_down(port)

    def flap(self, *ports: PortId) -> None:
        self.down(*ports)
        self.up(*ports)

    def arrive(self, at: PortId, frame: bytes, after_s: float = 0.0) -> list[str]:
        changes = self.discovery.lldp_arrived(at, frame, self.now_s + after_s)
        self.changes += changes
        return [change.kind for change in changes]

    def next_probe(self, port: PortId) -> bytes:
        """The next probe of a port, on nobody's wire yet; those of others are lost."""
        while True:
            frames = dict(self.discovery.probes_due(self.now_s))
            if port in frames:
                return frames[port]
            self.now_s += TICK_S

    def tick(self) -> None:
        due = self.discovery.probes_due(self.now_s)
        self.sent.append(len(due))
        for port, frame in due:
            if self.copies is not None:
                self.copies(port, frame)
            if port in self.to and port not in self.lost:
                self.received[self.to[port]] += 1
                self.arrive(self.to[port], frame, ARRIVAL_S)
        for dpid, ports in self.discovery.readings_due(self.now_s).items():
            for number in ports if dpid not in self.stalled else ():
                port = PortId(dpid, number)
                self.discovery.counters_read(port, self.received[port], self.now_s, self.now_s + ARRIVAL_S)
        self.changes += self.discovery.tick(self.now_s + 2 * ARRIVAL_S)
        self.now_s += TICK_S

    def run(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            each()
            self.tick()

    def seconds_until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> float:
        begun_s = self.now_s
        while not condition():
            self.tick()
            assert self.now_s - begun_s < limit_s
        return self.now_s - begun_s
