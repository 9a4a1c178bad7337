"""Ports find their roles and cables from probes alone; only signed, fresh, first-seen probes of cables count."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probe_wires import SECRET, Wires

from controller.discovery import FOREIGN_QUIET_S, MAX_AGE_S, Discovery, PortId
from controller.lldp import read_probe
from controller.service import PortRole

A1, A2, B1, B2, C1 = PortId(1, 1), PortId(1, 2), PortId(2, 1), PortId(2, 2), PortId(3, 1)
CABLE = [(A1, B1)]
BOTH_WAYS = {(A1, B1), (B1, A1)}


def test_a_cable_is_seen_in_both_directions_and_the_others_become_edge_ports() -> None:
    wires = Wires(CABLE)
    wires.up(A1, A2, B1, B2)
    wires.run(2.0)
    assert list(wires.discovery.cables()) == [(A1, B1), (B1, A1)]
    assert wires.discovery.role(A1) is PortRole.FABRIC
    assert wires.discovery.edge_ports() == {1: frozenset({2}), 2: frozenset({2})}


def test_a_port_is_unknown_until_three_rounds_stay_unanswered() -> None:
    wires = Wires()
    wires.up(A1)
    wires.run(0.6)
    assert wires.discovery.role(A1) is PortRole.UNKNOWN
    wires.run(1.0)
    assert wires.discovery.role(A1) is PortRole.EDGE


def test_an_edge_port_without_host_becomes_a_fabric_port_when_its_neighbour_arrives_late() -> None:
    wires = Wires(CABLE)
    wires.up(A1)
    wires.run(30.0)
    assert wires.discovery.role(A1) is PortRole.EDGE
    wires.up(B1)
    wires.run(2.0)
    assert wires.cables == BOTH_WAYS


def test_ports_that_became_edge_ports_while_their_first_probes_were_lost_still_become_links() -> None:
    wires = Wires(CABLE)
    wires.lost = {A1, B1}
    wires.up(A1, B1)
    wires.run(8.0)
    assert {wires.discovery.role(port) for port in (A1, B1)} == {PortRole.EDGE}
    wires.lost.clear()
    wires.run(3.0)
    assert wires.cables == BOTH_WAYS


def test_a_port_that_loses_link_takes_its_cable_away_in_both_directions_at_once() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    changes = wires.discovery.port_down(B1)
    assert [change.urgent for change in changes] == [True]
    assert wires.cables == set()


def test_a_port_behind_which_nothing_was_known_is_lost_without_urgency_and_one_with_a_host_is_not() -> None:
    wires = Wires(hosts={A2: 0.0})
    wires.up(A1, A2)
    wires.run(2.0)
    for port, urgent in ((A1, False), (A2, True)):
        assert [change.urgent for change in wires.discovery.port_down(port)] == [urgent]


def test_a_cable_to_a_switch_whose_channel_lives_speaks_for_one_that_is_away() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    wires.discovery.switch_gone(A1.dpid)
    assert wires.discovery.is_linked_to_connected(A1.dpid)
    wires.discovery.switch_gone(B1.dpid)
    assert not wires.discovery.is_linked_to_connected(A1.dpid)
    assert wires.cables == BOTH_WAYS


def test_a_switch_is_forgotten_a_few_ports_at_a_time_and_leaves_no_cable() -> None:
    wires = Wires(CABLE)
    wires.up(A1, A2, B1)
    wires.run(2.0)
    assert [wires.discovery.forget_switch(A1.dpid, 1) for _ in range(3)] == [[A1], [A2], []]
    assert wires.cables == set()
    assert wires.discovery.port_count(A1.dpid) == 0
    assert A1.dpid not in wires.discovery.edge_ports()


# ── age, repetition, forgery ─────────────────────────────────────────────────────────────────────


def test_a_probe_that_was_seen_is_an_event_and_no_link() -> None:
    wires = Wires()
    wires.up(A1, B1)
    frame = wires.next_probe(A1)
    assert wires.arrive(B1, frame) == ["link-seen"]
    assert wires.arrive(B1, frame) == ["lldp-replayed"]
    assert wires.changes[-1].at == B1
    assert str(A1) in wires.changes[-1].message


def test_a_probe_older_than_a_second_is_an_event_and_no_link() -> None:
    wires = Wires()
    wires.up(A1, B1)
    frame = wires.next_probe(A1)
    assert wires.arrive(B1, frame, MAX_AGE_S + 0.001) == ["lldp-replayed"]
    assert wires.arrive(B1, wires.next_probe(A1), MAX_AGE_S - 0.001) == ["link-seen"]


def test_a_probe_from_before_its_port_came_up_again_is_counted_and_no_link() -> None:
    wires = Wires()
    wires.up(A1, B1)
    frame = wires.next_probe(A1)
    wires.now_s += 0.1
    wires.flap(A1)
    assert wires.arrive(B1, frame) == ["lldp-stale"]


@pytest.mark.parametrize("where", ["unknown sender", "sender down", "unknown receiver", "receiver down", "switch away"])
def test_a_probe_between_ports_of_which_one_is_not_there_is_counted_and_raises_nothing(where: str) -> None:
    wires = Wires()
    wires.up(A1, B1)
    frame = wires.next_probe(A1)
    at = B1
    if where == "unknown sender":
        wires.discovery = Discovery(SECRET, wires.hosts.get)
        wires.up(B1)
    elif where == "sender down":
        wires.down(A1)
    elif where == "unknown receiver":
        at = PortId(99, 99)
    elif where == "receiver down":
        wires.down(B1)
    else:
        wires.discovery.switch_gone(2)
    assert wires.arrive(at, frame) == ["lldp-stale"]
    assert wires.changes[-1].message == ""


def test_a_probe_that_comes_back_to_its_own_port_is_counted() -> None:
    wires = Wires()
    wires.up(A1)
    assert wires.arrive(A1, wires.next_probe(A1)) == ["lldp-returned"]
    assert wires.discovery.role(A1) is PortRole.UNKNOWN


@given(position=st.integers(0, 200), flip=st.integers(1, 255))
def test_our_layout_without_our_signature_is_forged(position: int, flip: int) -> None:
    wires = Wires()
    wires.up(A1, B1)
    frame = bytearray(wires.next_probe(A1))
    # The organisational TLV begins after the Ethernet header and three TLVs; behind it, only the end is left.
    where = 14 + 19 + 11 + 4 + 2 + 4 + position % (28 + 32)
    frame[where] ^= flip
    assert wires.arrive(B1, bytes(frame)) == ["lldp-forged"]
    assert wires.arrive(B1, bytes(frame[: -1 - position % 30])) == ["lldp-forged"]
    assert wires.changes[-1].at == B1
    assert wires.cables == set()


def test_probes_of_another_daemon_are_forged() -> None:
    wires, others = Wires(), Wires()
    others.discovery = Discovery(b"x" * 32, others.hosts.get)
    for each in (wires, others):
        each.up(A1, B1)
    assert wires.arrive(B1, others.next_probe(A1)) == ["lldp-forged"]


def lldp_of(name: bytes) -> bytes:
    """What a network card sends."""

    def tlv(kind: int, value: bytes) -> bytes:
        return struct.pack("!H", kind << 9 | len(value)) + value

    header = bytes.fromhex("0180c200000e" + "02aabbccddee" + "88cc")
    return header + tlv(1, b"\x04" + bytes(6)) + tlv(2, b"\x07x") + tlv(3, b"\0\x78") + tlv(5, name) + tlv(0, b"")


def test_other_peoples_lldp_at_an_edge_port_is_told_with_its_name_once_in_a_long_while() -> None:
    wires = Wires()
    wires.up(A1)
    assert wires.arrive(A1, lldp_of(b"nic-7")) == ["lldp-foreign"]
    assert wires.changes[-1].message == "", "nobody knows yet what the port leads to"
    wires.run(2.0)
    for name in (b"nic-7", b"nic-7", b"another"):
        assert wires.arrive(A1, lldp_of(name)) == ["lldp-foreign"]
    assert [("nic-7" in change.message, bool(change.message)) for change in wires.changes[-3:]] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    wires.now_s += FOREIGN_QUIET_S
    wires.arrive(A1, lldp_of(b"another"))
    assert "another" in wires.changes[-1].message


@given(st.binary(max_size=300))
def test_arbitrary_lldp_is_foreign_or_forged_and_changes_nothing(frame: bytes) -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    for at in (A1, B1, A2, PortId(77, 7)):
        assert wires.arrive(at, frame)[0] in ("lldp-foreign", "lldp-forged")
    assert wires.cables == BOTH_WAYS


# ── relays ───────────────────────────────────────────────────────────────────────────────────────


def relay(wires: Wires, seconds: float = 5.0, ports: tuple[PortId, PortId] = (A1, B1)) -> set[str]:
    """Two hosts pass on what reaches them; the kinds of what was said."""
    before = len(wires.changes)
    wires.to |= {ports[0]: ports[1], ports[1]: ports[0]}
    wires.run(seconds)
    for port in ports:
        del wires.to[port]
    return {change.kind for change in wires.changes[before:]}


def test_hosts_at_ports_that_are_edge_ports_for_long_make_no_link_by_passing_probes_on() -> None:
    wires = Wires()
    wires.up(A1, B1)
    wires.run(15.0)
    assert relay(wires, 30.0) == {"lldp-relayed"}
    assert wires.cables == set()
    assert {wires.discovery.role(port) for port in (A1, B1)} == {PortRole.EDGE}
    message = next(change.message for change in wires.changes if change.kind == "lldp-relayed")
    assert all(said in message for said in (str(A1), str(B1), "down and up"))


def flap_both(wires: Wires) -> None:
    for port in (A1, B1):
        wires.flap(port)


def test_a_cable_between_edge_ports_makes_a_link_once_both_ports_were_down_or_a_switch_away() -> None:
    for give_evidence in (flap_both, lambda wires: reconnect(wires, 2, B1)):
        wires = Wires()
        wires.up(A1, B1)
        wires.run(15.0)
        relay(wires)
        give_evidence(wires)
        assert "link-seen" in relay(wires)


@pytest.mark.parametrize("flapped", [A1, B1])
@pytest.mark.parametrize("with_host", [A1, B1, None])
def test_a_host_that_takes_its_own_port_down_and_up_makes_no_link_to_an_edge_port(
    flapped: PortId, with_host: PortId | None
) -> None:
    wires = Wires()
    wires.up(A1, B1)
    wires.run(15.0)
    if with_host is not None:
        wires.hosts[with_host] = wires.now_s
    for _ in range(3):
        wires.flap(flapped)
        assert relay(wires, 0.5) <= {"lldp-relayed", "port-conflict"}
        assert relay(wires, 20.0) <= {"lldp-relayed", "port-conflict", "port-edge"}
    assert wires.cables == set()


def reconnect(wires: Wires, dpid: int, *ports: PortId) -> None:
    wires.discovery.switch_gone(dpid)
    wires.now_s += 1.0
    wires.up(*ports)


@pytest.mark.parametrize("with_host", [A1, B1])
def test_a_host_that_falls_silent_makes_no_link_of_its_port(with_host: PortId) -> None:
    wires = Wires()
    wires.up(A1, B1)
    wires.run(2.0)
    wires.hosts[with_host] = wires.now_s
    assert relay(wires, 5.0) == {"port-conflict"}
    assert wires.discovery.contested == set(), "its silence would prove nothing, so nobody asks"
    message = wires.changes[-1].message
    assert all(said in message for said in (str(A1), str(B1), f"{with_host} has a host", "down and up"))
    assert wires.cables == set()


def test_a_port_that_lost_link_since_its_host_spoke_becomes_a_link() -> None:
    wires = Wires()
    wires.up(A1, B1)
    wires.run(15.0)
    wires.hosts[A1] = wires.now_s
    wires.run(2.0)
    flap_both(wires)
    wires.run(0.5)
    assert "link-seen" in relay(wires)


def test_a_host_seen_through_a_switch_before_that_connected_does_not_keep_the_cable_to_it_down() -> None:
    wires = Wires(CABLE)
    wires.up(A1)
    wires.run(15.0)
    wires.hosts[A1] = wires.now_s
    wires.run(2.0)
    wires.up(B1)
    wires.run(2.0)
    assert wires.cables == set()
    assert wires.discovery.contested == {A1}, "it is asked first"
    del wires.hosts[A1]
    wires.run(2.0)
    assert wires.cables == BOTH_WAYS
    assert wires.discovery.contested == set()


def test_a_host_known_from_an_earlier_run_is_asked_and_keeps_its_port_if_it_answers() -> None:
    wires = Wires(hosts={A1: 0.0})
    wires.up(A1)
    wires.run(3.0)
    wires.up(B1)
    assert relay(wires, 2.0) == {"port-edge", "port-conflict"}
    assert wires.discovery.contested == {A1}
    wires.hosts[A1] = wires.now_s
    assert "link-seen" not in relay(wires, 2.0)
    assert wires.discovery.contested == set()


def test_a_port_declared_to_lead_to_a_host_is_never_a_link() -> None:
    for declared in ({A1: None}, {B1: None}, {A1: None, B1: None}):
        wires = Wires(declared=declared)
        wires.up(A1, B1)
        assert relay(wires) >= {"port-conflict"}
        wires.flap(A1, B1)
        assert "link-seen" not in relay(wires)
        assert wires.cables == set()
        message = next(change.message for change in wires.changes if change.kind == "port-conflict")
        assert all(said in message for said in (str(A1), str(B1), "fabric file"))


def test_a_port_declared_to_lead_to_a_host_is_an_edge_port_before_others_are() -> None:
    wires = Wires(declared={A1: None})
    wires.up(A1, A2)
    wires.run(0.4)
    assert wires.discovery.edge_ports() == {1: frozenset({1})}
    wires.run(2.0)
    assert wires.kinds.count("port-edge") == 2


@pytest.mark.parametrize("late_s", [0.0, 0.6])
def test_a_port_declared_to_lead_to_a_host_that_leads_to_a_switch_is_told_and_no_edge_port(late_s: float) -> None:
    wires = Wires(CABLE, declared={A1: None})
    wires.up(A1)
    wires.run(late_s)
    assert wires.discovery.role(A1) is (PortRole.EDGE if late_s else PortRole.UNKNOWN)
    wires.up(B1)
    wires.run(0.4)
    assert wires.discovery.role(A1) is PortRole.UNKNOWN
    wires.run(10.0)
    assert wires.discovery.role(A1) is PortRole.UNKNOWN
    [told] = [change for change in wires.changes if change.kind == "miscabled"]
    assert str(A1) in told.message
    assert str(B1) in told.message
    assert told.urgent is bool(late_s)
    # Once nothing speaks against it for as long as any port is waited for, it is what it was declared to be.
    wires.to.clear()
    wires.run(3.0)
    assert wires.discovery.role(A1) is PortRole.EDGE


def test_hosts_that_pass_probes_on_do_not_undo_ports_that_have_led_to_hosts_for_long() -> None:
    wires = Wires(declared={A1: None, B1: None})
    wires.up(A1, B1)
    wires.run(5.0)
    assert relay(wires, 5.0) == {"port-conflict"}
    assert {wires.discovery.role(port) for port in (A1, B1)} == {PortRole.EDGE}


def test_nothing_is_presumed_of_a_port_whose_switch_could_not_hear_the_answer() -> None:
    wires = Wires(declared={A1: None})
    wires.up(A1)
    wires.run(0.1)
    wires.discovery.switch_gone(A1.dpid)
    wires.run(3.0)
    assert wires.discovery.role(A1) is PortRole.UNKNOWN
    wires.up(A1)
    wires.run(0.8)
    assert wires.discovery.role(A1) is PortRole.EDGE


def test_a_declared_cable_is_a_link_whatever_was_at_its_ports() -> None:
    wires = Wires(CABLE, declared={A1: B1, B1: A1})
    wires.lost = {A1, B1}
    wires.up(A1, B1)
    wires.run(20.0)
    wires.hosts |= {A1: wires.now_s, B1: wires.now_s}
    wires.lost.clear()
    wires.run(3.0)
    assert wires.cables == BOTH_WAYS


def test_declared_switch_ports_that_were_swapped_are_links_as_they_are() -> None:
    wires = Wires([(A1, B2), (A2, B1)], declared={A1: B1, B1: A1, A2: B2, B2: A2})
    wires.up(A1, A2, B1, B2)
    wires.run(2.0)
    assert wires.cables == {(A1, B2), (B2, A1), (A2, B1), (B1, A2)}


def test_copies_of_a_living_links_probes_change_nothing_whether_they_win_the_race_or_lose_it() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1, A2, C1)
    wires.run(1.0)
    before = len(wires.changes)
    # The copy arrives before the probe itself.
    wires.copies = lambda port, frame: wires.arrive(C1, frame) if port in (A1, B1) else None
    wires.run(5.0)
    wires.copies = None
    for _ in range(5):
        frame = wires.next_probe(A1)
        wires.arrive(B1, frame)
        wires.arrive(A2, frame)
    assert wires.cables == BOTH_WAYS
    assert {change.kind for change in wires.changes[before:]} == {"lldp-relayed", "lldp-replayed"}


def test_a_link_moves_once_its_old_end_confirms_it_no_more() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    wires.to = {A1: C1, C1: A1}
    wires.up(C1)
    wires.run(0.5)
    assert wires.cables == BOTH_WAYS
    wires.run(3.0)
    assert wires.cables == {(A1, C1), (C1, A1)}
    assert "link-moved" in wires.kinds
    assert wires.discovery.role(B1) is not PortRole.FABRIC


@pytest.mark.parametrize("stalled", [set(), {1, 2}])
def test_a_cable_to_a_switch_out_of_reach_does_not_move(stalled: set[int]) -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    if stalled:
        wires.stalled, wires.lost = stalled, {A1, B1}
        wires.run(5.0)
        wires.lost = set()
    wires.discovery.switch_gone(2)
    wires.to = {A1: C1, C1: A1}
    wires.up(C1)
    wires.run(10.0)
    assert wires.cables == BOTH_WAYS


# ── silence ──────────────────────────────────────────────────────────────────────────────────────


@given(phase=st.floats(0, 1), offset=st.floats(0, 0.3))
def test_a_silent_link_is_noticed_within_a_second_and_a_half_whenever_it_falls_silent(
    phase: float, offset: float
) -> None:
    wires = Wires(CABLE)
    wires.up(A1)
    wires.run(offset)
    wires.up(B1)
    wires.run(1.0 + phase)
    wires.lost = {A1, B1}
    assert wires.seconds_until(lambda: not wires.cables) <= 1.5
    assert wires.changes[-1].kind == "link-silent"
    assert wires.changes[-1].urgent


def fabric_of(links: int, hosts: int) -> Wires:
    """As many cables between switches, and as many ports of hosts; 64 ports a switch."""
    numbers = (PortId(dpid, port) for dpid in itertools.count(1) for port in range(1, 65))
    ports = list(itertools.islice(numbers, 2 * links + hosts))
    wires = Wires(zip(ports[:links], ports[links : 2 * links], strict=True))
    wires.up(*ports)
    return wires


def test_in_a_fabric_of_200_links_a_silent_one_is_noticed_within_a_second_and_a_half() -> None:
    wires = fabric_of(200, 512)
    wires.run(8.0)
    assert len(wires.cables) == 400
    assert wires.discovery.probing().noticed_s <= 1.5
    for link in sorted(wires.cables)[:200:40]:
        wires.lost = set(link)
        assert wires.seconds_until(lambda link=link: link not in wires.cables) <= 1.5
    assert "probing" not in wires.kinds


def test_many_links_that_fall_silent_at_once_all_go() -> None:
    wires = fabric_of(200, 128)
    wires.run(5.0)
    wires.lost = {port for port, _ in wires.cables}
    wires.run(6.0)
    assert wires.cables == set()


def test_a_saturated_link_that_loses_every_probe_stays_and_is_noticed_once_it_falls_silent() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    wires.lost = {A1, B1}

    def traffic() -> None:
        wires.received.update((A1, B1))

    wires.run(20.0, traffic)
    assert wires.cables == BOTH_WAYS
    assert wires.seconds_until(lambda: not wires.cables) <= 1.5


@pytest.mark.parametrize("stalled", [{1}, {2}, {1, 2}])
def test_a_switch_that_does_not_answer_is_no_evidence(stalled: set[int]) -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    wires.lost, wires.stalled = {A1, B1}, stalled
    wires.run(20.0)
    assert wires.cables == BOTH_WAYS
    wires.stalled = set()
    assert wires.seconds_until(lambda: not wires.cables) <= 1.5


def test_counters_read_before_the_link_was_suspect_are_no_evidence() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    wires.lost, wires.stalled = {A1, B1}, {1, 2}
    asked_s = wires.now_s
    wires.run(3.0)
    for port in (A1, B1) * 3:
        wires.discovery.counters_read(port, 7, asked_s, wires.now_s)
    wires.run(3.0)
    assert wires.cables == BOTH_WAYS


def test_a_link_that_still_works_in_one_direction_stays() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    wires.lost = {A1}
    wires.run(20.0)
    assert wires.cables == BOTH_WAYS


def test_a_link_that_fell_silent_comes_back_by_itself_however_long_it_was_away() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    wires.lost = {A1, B1}
    wires.run(60.0)
    assert {wires.discovery.role(port) for port in (A1, B1)} == {PortRole.EDGE}
    wires.lost.clear()
    wires.run(3.0)
    assert wires.cables == BOTH_WAYS


@pytest.mark.parametrize("suspect", [False, True])
def test_links_of_a_switch_whose_channel_is_lost_stay(suspect: bool) -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    if suspect:
        wires.lost = {A1, B1}
        wires.run(0.8)
        assert wires.discovery._silence.readings_due(wires.now_s + 1.0)
    wires.discovery.switch_gone(2)
    wires.to.clear()
    before = len(wires.sent)
    wires.run(9.0)
    assert wires.cables == BOTH_WAYS
    assert sum(wires.sent[before:]) <= 9.0 / 0.3 + 1, "nobody hears them, so they are no more than at rest"
    assert wires.discovery.readings_due(wires.now_s) == {}


def test_what_was_lost_while_a_switch_was_away_is_no_evidence_when_it_is_back() -> None:
    wires = Wires(CABLE)
    wires.up(A1, B1)
    wires.run(1.0)
    wires.discovery.switch_gone(2)
    wires.lost = {B1}
    wires.run(10.0)
    wires.lost.clear()
    wires.up(B1)
    before = len(wires.changes)
    wires.run(10.0)
    assert wires.cables == BOTH_WAYS
    assert wires.changes[before:] == []


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.sampled_from(["probe", "flap", "reconnect", "wait"]), max_size=200))
def test_what_is_remembered_of_a_ports_probes_is_bounded(steps: list[str]) -> None:
    wires = Wires()
    wires.up(A1)
    for step in steps:
        match step:
            case "probe":
                wires.next_probe(A1)
            case "flap":
                wires.flap(A1)
            case "reconnect":
                wires.discovery.switch_gone(1)
                wires.up(A1)
            case "wait":
                wires.now_s += 0.2
        assert len(wires.discovery._ports[A1].nonces) <= 8


def test_probes_carry_nonces_that_differ() -> None:
    wires = Wires()
    wires.up(A1)
    probes = [read_probe(wires.next_probe(A1), SECRET) for _ in range(50)]
    assert len({probe.nonce for probe in probes if probe is not None}) == 50
