"""Who claims what another has is believed only where the owner is silent and the claimant answers."""

from __future__ import annotations

import pytest
from host_lan import NOBODY, Lan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.arp import NO_IP, OUR_MACS
from controller.discovery import PortId
from controller.hostcheck import (
    CHECKS_BURST,
    CHECKS_PER_S,
    LONGEST_S,
    MAX_CHECKS,
    MAX_CHECKS_PER_PORT,
    PROBES,
    QUIET_S,
    UNSEEN_S,
    HostChecks,
    Place,
)
from controller.hosts import Claim, HostTable
from controller.store import StoredHost
from topologies.fabric import Fabric, Node, NodeKind
from workloads.headers import ARP_REPLY, Arp

P1, P2, P3, P4 = PortId(1, 1), PortId(1, 2), PortId(2, 1), PortId(2, 2)
ONE, TWO = Claim("02:00:00:00:00:01", "10.0.0.1", P1), Claim("02:00:00:00:00:02", "10.0.0.2", P2)
THIEF = "02:00:00:00:00:66"
MOVED = ONE._replace(at=P3)
STOLEN = Claim(THIEF, ONE.ip, P3)
RENAMED = ONE._replace(ip="10.0.0.77")
CARD = Claim(THIEF, ONE.ip, P1)
BOTH = Claim(TWO.mac, ONE.ip, P3)
CLAIMS = [MOVED, STOLEN, RENAMED, CARD, BOTH, RENAMED._replace(at=P3)]


@pytest.fixture(name="lan")
def lan_fixture() -> Lan:
    lan = Lan([P1, P2, P3, P4])
    lan.speak(ONE)
    lan.speak(TWO)
    lan.run(1)
    lan.changes.clear()
    lan.sent.clear()
    return lan


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_owner_that_answers_keeps_what_it_has(lan: Lan, claim: Claim) -> None:
    for _ in range(20):
        lan.speak(claim)
        lan.run(1)
    assert (lan.owner(ONE.ip), lan.owner(TWO.ip)) == ((ONE.mac, P1), (TWO.mac, P2))
    assert set(lan.kinds) == {"host-conflict"}
    assert all(change.at == claim.at for change in lan.changes)
    assert "it answers there" in lan.changes[0].message
    assert claim.mac in lan.changes[0].message
    assert str(claim.at) in lan.changes[0].message


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claimant_that_answers_has_it_once_the_owners_were_silent(lan: Lan, claim: Claim) -> None:
    lan.alive.clear()
    lan.speak(claim)
    lan.run(0.5)
    assert (lan.owner(ONE.ip), lan.owner(TWO.ip)) == ((ONE.mac, P1), (TWO.mac, P2))
    lan.run(1.5)
    assert lan.owner(claim.ip) == (claim.mac, claim.at)
    assert lan.kinds == ["host-moved" if claim == MOVED else "host-replaced"]
    assert len({host.mac for host in lan.watch.table}) == len(lan.watch.table)
    asked = [(sent.port, sent.ethernet.destination, sent.arp.target_ip) for sent in lan.sent]
    assert asked.count((P1, ONE.mac, ONE.ip)) >= PROBES


@pytest.mark.parametrize("claim", [MOVED, STOLEN, CARD])
def test_a_claimant_that_cannot_receive_gets_nothing(lan: Lan, claim: Claim) -> None:
    lan.alive.clear()
    lan.deaf.add(claim.at)
    for _ in range(30):
        # It cannot know by which address it is asked.
        lan.send(claim.at, Arp(ARP_REPLY, claim.mac, claim.ip, OUR_MACS + "00:00:01", NO_IP))
        lan.run(0.2)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    assert "host-moved" not in lan.kinds
    assert "so is the claimant" in lan.changes[0].message


def test_a_claimant_that_answers_for_another_mac_gets_nothing(lan: Lan) -> None:
    lan.alive = {Claim(TWO.mac, ONE.ip, P3)}
    lan.speak(STOLEN, alive=False)
    lan.run(5)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)


def test_a_port_without_link_is_silent_at_once(lan: Lan) -> None:
    lan.alive.clear()
    lan.places[P1] = Place.LOST
    lan.speak(MOVED)
    lan.run(0.1)
    assert lan.owner(ONE.ip) == (ONE.mac, P3)


@pytest.mark.parametrize("place", [Place.AWAY, Place.UNSEEN])
@pytest.mark.parametrize("claim", [MOVED, STOLEN])
def test_an_owner_whose_switch_is_not_connected_keeps_what_it_has(lan: Lan, place: Place, claim: Claim) -> None:
    lan.alive.clear()
    lan.places[P1] = place
    lan.speak(claim)
    lan.run(5)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    assert "not connected" in lan.changes[0].message


def test_hosts_of_a_switch_that_never_came_may_move_in_the_end_but_not_lose_their_mac() -> None:
    lan = Lan([P3], stored=[StoredHost(ONE.ip, ONE.mac, P1)])
    lan.places[P1] = Place.UNSEEN
    lan.run(UNSEEN_S)
    lan.speak(STOLEN)
    lan.run(5)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    lan.run(QUIET_S)
    lan.speak(MOVED)
    lan.run(1)
    assert lan.owner(ONE.ip) == (ONE.mac, P3)


def test_a_port_that_cannot_be_asked_yet_is_waited_for(lan: Lan) -> None:
    lan.places[P1] = Place.NOT_YET
    lan.speak(STOLEN)
    lan.run(LONGEST_S / 2)
    assert lan.changes == []
    del lan.places[P1]
    lan.run(2)
    assert "it answers there" in lan.changes[0].message
    assert lan.owner(ONE.ip) == (ONE.mac, P1)


def test_a_check_that_can_ask_nobody_ends_by_itself(lan: Lan) -> None:
    lan.alive.clear()
    lan.places[P1] = Place.NOT_YET
    lan.speak(STOLEN)
    lan.run(LONGEST_S + 1)
    assert lan.kinds == ["host-conflict"]
    assert lan.owner(ONE.ip) == (ONE.mac, P1)


def test_an_owner_whose_answers_are_crowded_out_is_not_silent_while_its_port_receives(lan: Lan) -> None:
    lan.alive.clear()
    lan.speak(STOLEN)
    for packets in range(20):
        lan.watch.counters_read(P1, packets, lan.now)
        lan.run(0.5)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    assert "still receives" in lan.changes[0].message


@pytest.mark.parametrize("answers", [False, True])
def test_a_port_where_something_else_receives_holds_a_host_up_for_some_minutes_only(lan: Lan, answers: bool) -> None:
    for second in range(400):
        # One answer in many is enough for an owner that is there.
        lan.alive = {ONE, MOVED} if answers and second % 60 == 0 else {MOVED}
        lan.watch.counters_read(P1, second, lan.now)
        lan.speak(MOVED)
        if answers and second % 60 == 0:
            lan.speak(ONE)
        lan.run(1)
    assert lan.owner(ONE.ip) == (ONE.mac, P1 if answers else P3)


def test_what_a_host_sent_just_before_it_moved_does_not_hold_it_up_for_long(lan: Lan) -> None:
    lan.alive.clear()
    lan.watch.counters_read(P1, 1, lan.now)
    lan.speak(MOVED)
    lan.run(0.4)
    lan.watch.counters_read(P1, 2, lan.now)
    lan.run(2.2)
    assert lan.owner(ONE.ip) == (ONE.mac, P3)


def test_packets_of_others_at_its_port_do_not_keep_an_owner_alive(lan: Lan) -> None:
    lan.speak(Claim("02:00:00:00:00:05", "10.0.0.5", P1))
    lan.alive -= {ONE}
    lan.speak(MOVED)
    for packets in range(4):
        lan.watch.counters_read(P1, packets, lan.now)
        lan.run(0.5)
    assert lan.owner(ONE.ip) == (ONE.mac, P3)


def test_an_owner_that_answers_late_still_wins(lan: Lan) -> None:
    lan.alive.clear()
    lan.deaf.add(P3)
    lan.speak(STOLEN)
    lan.run(1.3)
    lan.speak(ONE)
    assert lan.kinds == ["host-conflict"]
    lan.deaf.clear()
    lan.run(2)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)


def test_repeated_claims_ask_no_more_often(lan: Lan) -> None:
    for _ in range(200):
        lan.speak(STOLEN)
    lan.run(2)
    for _ in range(200):
        lan.speak(STOLEN)
    lan.run(QUIET_S - 3)
    assert len(lan.sent) <= PROBES
    assert lan.kinds == ["host-conflict"]
    assert lan.events.counts["host-claims"] == 400


def test_many_claims_on_one_owner_ask_it_no_more_often_than_one(lan: Lan) -> None:
    lan.alive.clear()
    for port in range(10, 40):
        lan.send(PortId(3, port), Arp(ARP_REPLY, f"02:66:00:00:00:{port:02x}", ONE.ip, NOBODY, TWO.ip))
    lan.run(1)
    assert len([sent for sent in lan.sent if sent.port == P1]) <= PROBES


def test_one_port_has_a_bounded_number_of_checks_and_tells_that_more_are_refused(lan: Lan) -> None:
    lan.alive.clear()
    for i in range(60):
        lan.speak(Claim(f"02:00:00:00:02:{i:02x}", f"10.0.2.{i}", P4), alive=False)
    for i in range(60):
        lan.speak(Claim(f"02:00:00:00:02:{i:02x}", f"10.0.2.{i}", P3), alive=False)
    assert len(lan.watch._checks) == MAX_CHECKS_PER_PORT
    assert "host-refused" in lan.kinds
    lan.speak(Claim(THIEF, ONE.ip, P2))
    assert len(lan.watch._checks) == MAX_CHECKS_PER_PORT + 1


def test_checks_are_bounded_in_all_and_all_end() -> None:
    table = HostTable(None)
    checks = HostChecks(table, lambda *_: None, lambda _: Place.ASKABLE, lambda _: 0.0, 0.0)
    changes = []
    for i in range(MAX_CHECKS + 100):
        owner = Claim(f"02:00:00:01:{i >> 8:02x}:{i & 255:02x}", f"10.1.{i >> 8}.{i & 255}", PortId(1, i))
        table.hear(owner, 1.0)
        claim = Claim(f"02:00:00:02:{i >> 8:02x}:{i & 255:02x}", owner.ip, PortId(2, i))
        changes += checks.claimed(claim, table.hear(claim, 1.0).owners, "", 1.0)
        assert len(checks) <= MAX_CHECKS
    assert [change.kind for change in changes] == ["host-refused"] * 100
    for tick in range(60):
        changes += checks.tick(1.0 + tick * 0.05)
    assert len(checks) == 0
    assert checks._questions == {}
    assert not checks._per_port


def test_what_changes_hands_all_the_time_does_so_at_a_bounded_rate(lan: Lan) -> None:
    began_s = lan.now
    for turn in range(200):
        lan.alive = {TWO}
        lan.speak(Claim(ONE.mac, f"10.0.0.{100 + turn % 100}", P1))
        lan.run(1.5)
    assert lan.kinds.count("host-replaced") <= CHECKS_BURST + CHECKS_PER_S * (lan.now - began_s) + 1


def test_a_declared_host_moves_with_its_mac_and_loses_it_to_nobody() -> None:
    lan = Lan([P1, P3], declared=Fabric((Node("h1", NodeKind.HOST, ip=ONE.ip, mac=ONE.mac),), ()))
    lan.speak(ONE)
    lan.alive.clear()
    lan.speak(STOLEN)
    assert lan.kinds[-1] == "host-conflict"
    lan.sent.clear()
    lan.run(3)
    assert lan.sent == []
    lan.speak(MOVED)
    lan.run(3)
    assert lan.owner(ONE.ip) == (ONE.mac, P3)
    assert lan.kinds[-1] == "host-moved"


# ── interleavings ────────────────────────────────────────────────────────────────────────────────

PORTS = [P1, P2, P3, P4]
MACS = [f"02:00:00:00:00:{i:02x}" for i in (1, 2, 3)]
IPS = [f"10.0.0.{i}" for i in (1, 2, 3)]
STEPS = st.one_of(
    st.tuples(st.just("claim"), st.builds(Claim, st.sampled_from(MACS), st.sampled_from(IPS), st.sampled_from(PORTS))),
    st.tuples(st.just("run"), st.floats(0.01, 3.0)),
    st.tuples(st.just("deaf"), st.sampled_from([P2, P3, P4])),
    st.tuples(st.just("place"), st.tuples(st.sampled_from(PORTS), st.sampled_from([None, Place.AWAY, Place.NOT_YET]))),
    st.tuples(st.just("rx"), st.sampled_from(PORTS)),
)


def play(lan: Lan, steps, keep: Claim | None) -> None:
    packets = 0
    for what, value in steps:
        if what == "claim" and value != keep:
            # An attacker at the owner's port that answered for it would be the owner.
            lan.speak(value, alive=keep is None or (value.at, value.ip) != (keep.at, keep.ip))
        elif what == "run":
            lan.run(value)
        elif what == "deaf":
            lan.deaf ^= {value}
        elif what == "place":
            port, place = value
            lan.places.pop(port, None)
            if place is not None:
                lan.places[port] = place
        elif what == "rx":
            packets += 1
            lan.watch.counters_read(value, packets, lan.now)
        assert len(lan.watch._checks) <= len(PORTS) * MAX_CHECKS_PER_PORT


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.lists(STEPS, max_size=25))
def test_a_host_that_is_alive_and_answers_loses_nothing_whatever_others_do(steps) -> None:
    lan = Lan(PORTS)
    lan.speak(ONE)
    play(lan, steps, ONE)
    lan.run(LONGEST_S + 2)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    assert len(lan.watch._checks) == 0


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.lists(STEPS, max_size=25))
def test_a_host_that_really_moved_is_at_its_new_place_in_the_end(steps) -> None:
    lan = Lan(PORTS)
    lan.speak(ONE)
    play(lan, steps, None)
    # Everybody else is gone; it speaks on at its new place.
    lan.places.clear()
    lan.deaf.clear()
    lan.alive.clear()
    for _ in range(40):
        lan.speak(MOVED)
        lan.run(2)
    assert lan.owner(ONE.ip) == (ONE.mac, P3)
