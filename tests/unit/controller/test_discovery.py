"""Ports find their roles and cables from probes alone; only signed, fresh, first-seen probes count."""

from collections.abc import Iterable

from controller.discovery import STEADY_INTERVAL_S, Discovery, PortId
from controller.service import PortRole

SECRET = b"s" * 32


class Wires:
    """Cables between ports: carries every probe that is due, unless the cable is cut."""

    def __init__(self, cables: Iterable[tuple[PortId, PortId]], hosts: Iterable[PortId] = ()) -> None:
        self.hosts = set(hosts)
        self.discovery = Discovery(SECRET, lambda port: port in self.hosts)
        self.to = dict(cables) | {b: a for a, b in cables}
        self.now_s = 100.0
        self.kinds: list[str] = []

    def up(self, *ports: PortId) -> None:
        for port in ports:
            self.note(self.discovery.port_up(port, self.now_s))

    def note(self, changes) -> None:
        self.kinds += [change.kind for change in changes]

    def run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            for port, frame in list(self.discovery.probes_due(self.now_s)):
                if port in self.to:
                    self.note(self.discovery.lldp_arrived(self.to[port], frame, self.now_s + 0.01))
            self.note(self.discovery.tick())
            self.now_s += 0.05


A1, A2, B1, B2 = PortId(1, 1), PortId(1, 2), PortId(2, 1), PortId(2, 2)


def test_a_cable_is_seen_in_both_directions_and_the_others_become_edge_ports() -> None:
    wires = Wires([(A1, B1)])
    wires.up(A1, A2, B1, B2)
    wires.run(2.0)
    assert list(wires.discovery.cables()) == [(A1, B1), (B1, A1)]
    assert wires.discovery.role(A1) is PortRole.FABRIC
    assert wires.discovery.edge_ports() == {1: frozenset({2}), 2: frozenset({2})}


def test_a_port_is_unknown_until_three_rounds_stay_unanswered() -> None:
    wires = Wires([])
    wires.up(A1)
    wires.run(0.6)
    assert wires.discovery.role(A1) is PortRole.UNKNOWN
    wires.run(1.0)
    assert wires.discovery.role(A1) is PortRole.EDGE


def test_an_edge_port_without_host_becomes_a_fabric_port_when_its_neighbour_arrives_late() -> None:
    wires = Wires([(A1, B1)])
    wires.up(A1)
    wires.run(2.0)
    assert wires.discovery.role(A1) is PortRole.EDGE
    wires.up(B1)
    wires.run(2.0)
    assert list(wires.discovery.cables()) == [(A1, B1), (B1, A1)]


def test_a_probe_at_an_edge_port_with_a_host_is_a_conflict_and_no_link() -> None:
    wires = Wires([(A1, B1)], hosts=[A1])
    wires.up(A1)
    wires.run(2.0)
    wires.up(B1)
    wires.run(2.0)
    assert list(wires.discovery.cables()) == []
    assert "port-conflict" in wires.kinds
    assert wires.discovery.contested == {A1}
    wires.hosts.clear()
    wires.run(3 * STEADY_INTERVAL_S)
    assert list(wires.discovery.cables()) == [(A1, B1), (B1, A1)]


def test_a_port_that_loses_link_takes_its_cable_away_in_both_directions_at_once() -> None:
    wires = Wires([(A1, B1)])
    wires.up(A1, B1)
    wires.run(1.0)
    changes = wires.discovery.port_down(B1)
    assert [change.urgent for change in changes] == [True]
    assert list(wires.discovery.cables()) == []


def test_a_replayed_probe_makes_no_link() -> None:
    wires = Wires([])
    wires.up(A1, B1)
    (_, frame), *_ = list(wires.discovery.probes_due(wires.now_s))
    assert [c.kind for c in wires.discovery.lldp_arrived(B1, frame, wires.now_s)] == ["link-seen"]
    assert [c.kind for c in wires.discovery.lldp_arrived(B1, frame, wires.now_s)] == ["lldp-replayed"]


def test_an_old_probe_makes_no_link() -> None:
    wires = Wires([])
    wires.up(A1, B1)
    (_, frame), *_ = list(wires.discovery.probes_due(wires.now_s))
    assert [c.kind for c in wires.discovery.lldp_arrived(B1, frame, wires.now_s + 30)] == ["lldp-replayed"]


def test_a_forged_frame_is_counted_as_foreign() -> None:
    wires = Wires([])
    wires.up(A1, B1)
    assert [c.kind for c in wires.discovery.lldp_arrived(B1, b"\0" * 200, wires.now_s)] == ["lldp-foreign"]


def test_a_silent_link_goes_once_neither_probes_nor_packets_cross_it() -> None:
    wires = Wires([(A1, B1)])
    wires.up(A1, B1)
    wires.run(1.0)
    wires.to.clear()
    wires.run(6 * STEADY_INTERVAL_S)
    assert list(wires.discovery.cables()) == []
    assert "link-silent" in wires.kinds


def test_a_saturated_link_that_loses_every_probe_stays() -> None:
    wires = Wires([(A1, B1)])
    wires.up(A1, B1)
    wires.run(1.0)
    wires.to.clear()
    for packets in range(10):
        wires.discovery.counters_read(A1, packets + 1)
        wires.discovery.counters_read(B1, packets + 1)
        wires.run(STEADY_INTERVAL_S)
    assert list(wires.discovery.cables()) == [(A1, B1), (B1, A1)]


def test_links_of_a_switch_whose_channel_is_lost_stay() -> None:
    wires = Wires([(A1, B1)])
    wires.up(A1, B1)
    wires.run(1.0)
    wires.discovery.switch_gone(2)
    wires.to.clear()
    wires.run(10.0)
    assert list(wires.discovery.cables()) == [(A1, B1), (B1, A1)]
