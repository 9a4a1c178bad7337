"""Hosts that fell silent are asked and forgotten; those that are busy, out of reach or at work are not."""

from __future__ import annotations

from collections import Counter

import pytest
from host_lan import Lan

from controller.discovery import PortId
from controller.hostageing import AGE_S, DOUBTS_BURST, INTERVAL_S, PROBES, Ageing
from controller.hostcheck import Place
from controller.hosts import Claim, HostTable
from topologies.fabric import Fabric, Node, NodeKind

P1, P2 = PortId(1, 1), PortId(1, 2)
ONE, TWO = Claim("02:00:00:00:00:01", "10.0.0.1", P1), Claim("02:00:00:00:00:02", "10.0.0.2", P2)
ASKING_S = PROBES * INTERVAL_S + 1


@pytest.fixture(name="lan")
def lan_fixture() -> Lan:
    lan = Lan([P1, P2])
    lan.speak(ONE)
    lan.run(1)
    lan.changes.clear()
    lan.sent.clear()
    return lan


def test_a_host_that_is_silent_for_five_minutes_is_asked_three_times_and_forgotten(lan: Lan) -> None:
    lan.alive.clear()
    lan.run(AGE_S - 2)
    assert lan.sent == []
    lan.run(ASKING_S + 2)
    assert [(sent.port, sent.ethernet.destination, sent.arp.target_ip) for sent in lan.sent] == [
        (P1, ONE.mac, ONE.ip)
    ] * PROBES
    assert [later.at_s - sooner.at_s for sooner, later in zip(lan.sent, lan.sent[1:], strict=False)] == [
        pytest.approx(INTERVAL_S, abs=0.1)
    ] * (PROBES - 1)
    assert lan.kinds == ["host-aged"]
    assert lan.find(ONE.ip) is None
    lan.run(1)
    assert lan.store.rows == {}


def test_a_host_that_answers_stays(lan: Lan) -> None:
    lan.run(5 * AGE_S)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    assert 4 <= len(lan.sent) <= 5


def test_a_declared_host_is_never_asked() -> None:
    lan = Lan([P1], declared=Fabric((Node("h1", NodeKind.HOST, ip=ONE.ip, mac=ONE.mac),), ()))
    lan.speak(ONE)
    lan.alive.clear()
    lan.run(2 * AGE_S)
    assert lan.sent == []
    assert lan.owner(ONE.ip) == (ONE.mac, P1)


def test_a_host_whose_port_receives_is_busy_and_not_gone_where_it_is_alone(lan: Lan) -> None:
    lan.alive.clear()
    for packets in range(700):
        lan.watch.counters_read(P1, packets, lan.now)
        lan.run(1)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    lan.speak(Claim("02:00:00:00:00:05", "10.0.0.5", P1))
    for packets in range(700, 1400):
        lan.watch.counters_read(P1, packets, lan.now)
        lan.run(1)
    assert lan.find(ONE.ip) is None


@pytest.mark.parametrize("place", [Place.AWAY, Place.UNSEEN])
def test_a_host_whose_switch_is_not_connected_is_kept_until_it_can_be_asked(lan: Lan, place: Place) -> None:
    lan.alive.clear()
    lan.places[P1] = place
    lan.run(3 * AGE_S)
    assert lan.sent == []
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    del lan.places[P1]
    lan.run(60)
    assert lan.find(ONE.ip) is None


def test_a_host_on_which_a_job_runs_is_told_once_and_kept(lan: Lan) -> None:
    lan.alive.clear()
    lan.jobs.add("h-10.0.0.1")
    lan.run(3 * AGE_S)
    assert lan.kinds == ["host-silent"]
    lan.jobs.clear()
    lan.run(2 * AGE_S)
    assert lan.kinds == ["host-silent", "host-aged"]


def test_a_host_at_a_port_without_link_is_forgotten_after_five_minutes_of_that(lan: Lan) -> None:
    lan.run(200)
    lan.places[P1] = Place.LOST
    lan.watch.port_lost(P1, lan.now)
    lan.run(AGE_S - 2)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)
    lan.run(4)
    assert lan.find(ONE.ip) is None


def test_a_port_that_flaps_keeps_its_hosts_and_no_backlog(lan: Lan) -> None:
    for turn in range(3000):
        lan.watch.port_lost(P1, lan.now + turn)
    assert len(lan.watch._ageing._queue) < 100
    lan.run(AGE_S)
    assert lan.owner(ONE.ip) == (ONE.mac, P1)


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("bounced", [True, False])
def test_a_host_is_asked_soon_when_another_comes_to_its_port(lan: Lan, alive: bool, bounced: bool) -> None:
    if not alive:
        lan.alive.clear()
    if bounced:
        lan.watch.port_lost(P1, lan.now)
    lan.speak(Claim("02:00:00:00:00:05", "10.0.0.5", P1))
    lan.run(2.5)
    assert (lan.find(ONE.ip) is not None) == alive
    assert lan.owner("10.0.0.5") == ("02:00:00:00:00:05", P1)


def test_a_crowd_at_a_port_is_not_asked_for_each_newcomer(lan: Lan) -> None:
    for i in range(60):
        lan.speak(Claim(f"02:00:00:00:05:{i:02x}", f"10.0.5.{i}", P1))
        lan.run(0.5)
    assert len([sent for sent in lan.sent if sent.ethernet.destination == ONE.mac]) <= DOUBTS_BURST + 4


def test_a_host_in_doubt_does_not_wait_for_those_that_age() -> None:
    lan = Lan([PortId(2, number) for number in range(1, 301)] + [P1])
    for number in range(1, 301):
        lan.speak(Claim(f"02:00:00:02:{number >> 8:02x}:{number & 255:02x}", f"10.2.{number >> 8}.{number & 255}",
                        PortId(2, number)))  # fmt: skip
    lan.run(AGE_S - 10)
    lan.speak(ONE)
    lan.run(11)
    lan.alive.discard(ONE)
    lan.speak(Claim("02:00:00:00:00:05", "10.0.0.5", P1))
    lan.run(2.5)
    assert lan.find(ONE.ip) is None


def test_at_most_fifty_probes_leave_in_any_second_and_everybody_gets_a_turn() -> None:
    table, sent = HostTable(None), []
    now_s = 1000.0
    ageing = Ageing(table, lambda port, _: sent.append((now_s, port)), lambda _: Place.ASKABLE, lambda _: 0.0, set)
    for i in range(500):
        claim = Claim(f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}", f"10.0.{i >> 8}.{i & 255}", PortId(1, i + 1))
        table.hear(claim, now_s - AGE_S)
        ageing.watch(claim.ip, now_s)
    while len(table) and now_s < 1100:
        ageing.tick(now_s)
        now_s += 0.05
    assert len(table) == 0
    assert len(sent) == 500 * PROBES
    times = sorted(at_s for at_s, _ in sent)
    assert all(later - sooner >= 0.99 for sooner, later in zip(times, times[50:], strict=False))
    assert set(Counter(port for _, port in sent).values()) == {PROBES}
