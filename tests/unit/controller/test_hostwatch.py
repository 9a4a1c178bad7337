"""What hosts say of themselves is learned, checked, forgotten and remembered; what they say of others is refused."""

from __future__ import annotations

import pytest
from host_lan import Lan

from controller.arp import CONTROLLER_MAC, NO_IP
from controller.discovery import PortId
from controller.hostcheck import Place
from controller.hosts import MAX_HOSTS_PER_PORT, Claim
from controller.store import StoredHost
from workloads.headers import ARP_REPLY, ARP_REQUEST, Arp, write_arp

P1, P2, P3 = PortId(1, 1), PortId(1, 2), PortId(2, 1)
ONE, TWO = Claim("02:00:00:00:00:01", "10.0.0.1", P1), Claim("02:00:00:00:00:02", "10.0.0.2", P2)
THIEF = "02:00:00:00:00:66"
NOBODY = "00:00:00:00:00:00"


@pytest.fixture(name="lan")
def lan_fixture() -> Lan:
    lan = Lan([P1, P2, P3])
    lan.speak(ONE)
    lan.speak(TWO)
    lan.run(1)
    lan.changes.clear()
    lan.sent.clear()
    return lan


@pytest.mark.parametrize(
    ("mac", "ip", "source"),
    [
        (THIEF, "10.0.0.66", "02:00:00:00:00:67"),
        ("03:00:00:00:00:66", "10.0.0.66", None),
        ("ff:ff:ff:ff:ff:ff", "10.0.0.66", None),
        (NOBODY, "10.0.0.66", None),
        (CONTROLLER_MAC, "10.0.0.66", None),
        (THIEF, "10.0.0.66", CONTROLLER_MAC),
        (THIEF, "0.0.0.1", None),
        (THIEF, "127.0.0.1", None),
        (THIEF, "224.0.0.5", None),
        (THIEF, "255.255.255.255", None),
    ],
)
def test_senders_that_no_host_can_be_are_refused_and_told(lan: Lan, mac: str, ip: str, source: str | None) -> None:
    hosts = list(lan.watch.table)
    lan.send(P3, Arp(ARP_REQUEST, mac, ip, NOBODY, ONE.ip), source)
    assert [(change.kind, change.at) for change in lan.changes] == [("arp-spoofed", P3)]
    assert list(lan.watch.table) == hosts
    assert lan.sent == []


def test_a_link_local_address_is_an_address(lan: Lan) -> None:
    lan.speak(Claim(THIEF, "169.254.1.1", P3))
    assert lan.owner("169.254.1.1") == (THIEF, P3)


def tagged(frame: bytes) -> bytes:
    return frame[:12] + bytes.fromhex("81000007") + frame[12:]


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff" * 6 + bytes.fromhex("0200000000660800450000140001000040fd00000a0000420a000001"),
        b"\xff" * 6 + bytes.fromhex("0200000000661234") + bytes(46),
        tagged(write_arp(Arp(ARP_REQUEST, "02:00:00:00:00:66", "10.0.0.66", NOBODY, ONE.ip), "ff:ff:ff:ff:ff:ff")),
    ],
    ids=["ipv4", "unknown", "tagged ARP"],
)
def test_what_is_no_arp_is_counted_and_dropped(lan: Lan, frame: bytes) -> None:
    lan.arrive(P3, frame)
    assert lan.changes == []
    assert lan.find("10.0.0.66") is None
    assert lan.events.counts["packet-unwanted"] == 1


@pytest.mark.parametrize("operation", [0, 3, 8, 65535])
def test_arp_that_neither_asks_nor_answers_teaches_nothing(lan: Lan, operation: int) -> None:
    lan.send(P3, Arp(operation, THIEF, "10.0.0.66", NOBODY, ONE.ip))
    assert lan.find("10.0.0.66") is None
    assert lan.events.counts["packet-unwanted"] == 1


def test_who_asks_whether_an_address_is_free_is_answered_and_not_learned(lan: Lan) -> None:
    lan.send(P3, Arp(ARP_REQUEST, THIEF, NO_IP, NOBODY, ONE.ip))
    assert len(lan.watch.table) == 2
    assert [(sent.port, sent.arp.operation, sent.arp.sender_mac) for sent in lan.sent] == [(P3, ARP_REPLY, ONE.mac)]


@pytest.mark.parametrize(
    ("mac", "ip", "operation", "source", "searched"),
    [
        (ONE.mac, ONE.ip, ARP_REQUEST, ONE.mac, True),
        (ONE.mac, ONE.ip, ARP_REPLY, ONE.mac, False),
        (ONE.mac, ONE.ip, ARP_REQUEST, THIEF, False),
        (THIEF, ONE.ip, ARP_REQUEST, THIEF, False),
        (THIEF, "10.0.0.66", ARP_REQUEST, THIEF, False),
    ],
)
def test_a_question_that_went_on_to_another_switch_is_searched_for_where_its_asker_is_known(
    lan: Lan, mac: str, ip: str, operation: int, source: str, searched: bool
) -> None:
    between = PortId(2, 9)
    lan.fabric_ports.add(between)
    lan.send(between, Arp(operation, mac, ip, NOBODY, "10.0.0.99"), source)
    lan.run(1)
    assert {sent.port for sent in lan.sent if sent.arp.target_ip == "10.0.0.99"} == ({P2, P3} if searched else set())
    assert (lan.owner(ONE.ip), lan.owner(TWO.ip)) == ((ONE.mac, P1), (TWO.mac, P2))
    assert lan.find("10.0.0.66") is None
    assert lan.events.counts["packet-unwanted"] == (not searched)


def test_nothing_is_passed_on_for_somebody_who_is_not_who_it_says(lan: Lan) -> None:
    forged = ((THIEF, ONE.ip), (ONE.mac, "10.0.0.77"), (ONE.mac, ONE.ip))
    for mac, ip in forged:
        lan.send(P3, Arp(ARP_REPLY, mac, ip, TWO.mac, TWO.ip))
        lan.send(P3, Arp(ARP_REQUEST, mac, ip, NOBODY, "10.0.0.99"))
        lan.send(P3, Arp(ARP_REQUEST, mac, ip, NOBODY, ip))
    lan.run(5)
    # Probes name no address of a sender: nobody learns from them.
    assert {sent.arp.sender_ip for sent in lan.sent} == {NO_IP}
    assert (lan.owner(ONE.ip), lan.owner(TWO.ip)) == ((ONE.mac, P1), (TWO.mac, P2))


def test_a_flood_of_new_macs_is_told_once_and_stops_nobody_elsewhere() -> None:
    lan = Lan([P1, P2])
    for i in range(2000):
        lan.send(
            P1, Arp(ARP_REQUEST, f"02:66:00:00:{i >> 8:02x}:{i & 255:02x}", f"10.6.{i >> 8}.{i & 255}", NOBODY, ONE.ip)
        )
    assert len(lan.watch.table) == MAX_HOSTS_PER_PORT
    assert len({change for change in lan.changes if change.kind == "host-refused"}) == 1
    assert lan.events.counts["host-claims"] == 0
    lan.speak(TWO)
    assert lan.owner(TWO.ip) == (TWO.mac, P2)


def test_refusals_name_the_port_and_say_the_same_whatever_is_forged(lan: Lan) -> None:
    for i in range(500):
        lan.send(P3, Arp(ARP_REQUEST, THIEF, "10.0.0.66", NOBODY, ONE.ip), f"02:66:00:00:{i >> 8:02x}:{i & 255:02x}")
    assert len(lan.changes) == 500
    assert len(set(lan.changes)) == 1


def test_new_hosts_are_on_disk_within_a_second_in_few_transactions() -> None:
    lan = Lan([P1])
    claims = [Claim(f"02:00:00:00:00:{i:02x}", f"10.0.0.{i}", P1) for i in range(1, 65)]
    for claim in claims:
        lan.speak(claim)
    assert lan.store.transactions == 0
    lan.run(0.5)
    assert set(lan.store.rows.values()) == {StoredHost(claim.ip, claim.mac, claim.at) for claim in claims}
    assert lan.store.transactions == 1


def test_what_is_not_saved_yet_is_saved_at_the_end(lan: Lan) -> None:
    lan.speak(Claim(THIEF, "10.0.0.66", P3))
    lan.watch.stop()
    assert set(lan.store.rows) == {ONE.ip, TWO.ip, "10.0.0.66"}


def test_a_host_that_moved_is_remembered_where_it_is_and_one_that_was_replaced_not_at_all(lan: Lan) -> None:
    lan.alive.clear()
    lan.speak(Claim(ONE.mac, TWO.ip, P3))
    lan.run(3)
    assert set(lan.store.rows.values()) == {StoredHost(TWO.ip, ONE.mac, P3)}


def test_a_store_that_fails_is_told_and_stops_nobody(lan: Lan) -> None:
    lan.store.broken = True
    lan.speak(Claim(THIEF, "10.0.0.66", P3))
    lan.run(1)
    assert lan.events.counts["store-failed"] == 1
    assert lan.owner("10.0.0.66") == (THIEF, P3)


def test_hosts_of_an_earlier_run_are_known_again_within_the_bounds_and_the_rest_is_forgotten() -> None:
    stored = [StoredHost(f"10.0.1.{i}", f"02:00:00:00:01:{i:02x}", P1) for i in range(80)]
    lan = Lan([P1], stored=stored)
    assert [(host.certain, host.at) for host in lan.watch.table] == [(False, P1)] * MAX_HOSTS_PER_PORT
    lan.run(1)
    assert len(lan.store.rows) == MAX_HOSTS_PER_PORT


def test_statuses_are_made_anew_only_when_hosts_have_changed(lan: Lan) -> None:
    first = lan.watch.statuses(str)
    lan.speak(ONE)
    assert lan.watch.statuses(str) is first
    lan.speak(Claim(THIEF, "10.0.0.66", P3))
    assert [status.ip for status in lan.watch.statuses(str)] == [ONE.ip, TWO.ip, "10.0.0.66"]


def test_hosts_at_a_port_that_leads_to_a_switch_are_forgotten_once_silent(lan: Lan) -> None:
    lan.alive.clear()
    gone = [lan.watch.gone(P1, lan.now + second) for second in (1, 2, 3, 4)]
    assert gone == [False, False, False, True]
    lan.run(1)
    assert set(lan.store.rows) == {TWO.ip}


def test_a_port_that_is_not_an_edge_teaches_nothing(lan: Lan) -> None:
    lan.places[P3] = Place.LOST
    lan.speak(Claim(THIEF, "10.0.0.66", P3))
    assert lan.find("10.0.0.66") is None
