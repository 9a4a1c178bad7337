"""ARP is answered for known hosts and searched for unknown ones, within limits that no port can use up for others."""

from __future__ import annotations

from collections import Counter

from controller.arp import ANSWERS_BURST, ANSWERS_PER_S, NO_IP, ArpResponder
from controller.discovery import PortId
from controller.hosts import Claim, HostTable
from controller.searches import (
    FRAMES_BURST,
    FRAMES_PER_S,
    LONGEST_WAIT_S,
    SEARCHES_BURST,
    SEARCHES_PER_S,
    SHED,
)
from workloads.headers import ARP_REPLY, ARP_REQUEST, Arp, read_headers

P1, P2, P3 = PortId(1, 1), PortId(1, 2), PortId(2, 1)
ONE, TWO = Claim("02:00:00:00:00:01", "10.0.0.1", P1), Claim("02:00:00:00:00:02", "10.0.0.2", P2)
NOBODY = "00:00:00:00:00:00"


class Rig:
    def __init__(self, ports=(P1, P2, P3)) -> None:
        self.frames: list[tuple[PortId, bytes]] = []
        self.counts: Counter[str] = Counter()
        self.table = HostTable(None)
        self.table.hear(ONE, 1.0)
        self.table.hear(TWO, 1.0)
        self.ports = list(ports)
        self.responder = ArpResponder(self.table, lambda *sent: self.frames.append(sent), lambda: ports, self.counts)

    @property
    def arps(self) -> list[tuple[PortId, Arp]]:
        return [(port, read_headers(frame).arp) for port, frame in self.frames]

    def ask(self, target: str, now_s: float, who: Claim = ONE) -> None:
        self.responder.answer(who.at, Arp(ARP_REQUEST, who.mac, who.ip, NOBODY, target), now_s)


def test_a_known_host_is_answered_for_without_asking_it() -> None:
    rig = Rig()
    rig.ask(TWO.ip, 1.0)
    assert rig.arps == [(P1, Arp(ARP_REPLY, TWO.mac, TWO.ip, ONE.mac, ONE.ip))]


def test_a_host_that_asks_whether_its_own_address_is_free_is_not_told_that_somebody_has_it() -> None:
    rig = Rig()
    rig.responder.answer(P1, Arp(ARP_REQUEST, ONE.mac, NO_IP, NOBODY, ONE.ip), 1.0)
    assert rig.frames == []
    rig.responder.answer(P1, Arp(ARP_REQUEST, ONE.mac, NO_IP, NOBODY, TWO.ip), 1.0)
    assert rig.arps == [(P1, Arp(ARP_REPLY, TWO.mac, TWO.ip, ONE.mac, NO_IP))]


def test_an_unknown_host_is_searched_on_every_other_edge_port_once_a_second() -> None:
    rig = Rig()
    for now_s in (1.0, 1.1, 1.5):
        rig.ask("10.0.0.77", now_s)
    assert [port for port, _ in rig.frames] == [P2, P3]
    rig.ask("10.0.0.77", 2.1)
    assert len(rig.frames) == 4


def test_a_reply_found_by_search_reaches_the_host_that_asked() -> None:
    rig = Rig()
    rig.responder.answer(P2, Arp(ARP_REPLY, TWO.mac, TWO.ip, ONE.mac, ONE.ip), 1.0)
    assert [port for port, _ in rig.frames] == [P1]


def test_answers_for_one_port_are_bounded_and_counted() -> None:
    rig = Rig()
    for i in range(2000):
        rig.ask(TWO.ip, 1.0 + i / 1000)
    assert len(rig.frames) <= ANSWERS_BURST + 2 * ANSWERS_PER_S
    assert rig.counts["arp-answer-shed"] == 2000 - len(rig.frames)
    rig.ask(ONE.ip, 3.0, TWO)
    assert rig.arps[-1][0] == P2


def test_a_port_that_asks_for_everything_is_searched_for_at_its_own_rate() -> None:
    rig = Rig([P1, P2])
    for i in range(10_000):
        rig.ask(f"10.9.{i // 250}.{i % 250}", 1.0 + i / 1000)
    assert SEARCHES_PER_S * 10 <= len(rig.frames) <= SEARCHES_BURST + SEARCHES_PER_S * 10 + 1
    assert rig.counts[SHED] == 10_000 - len(rig.frames)


def test_a_port_that_floods_keeps_no_other_from_its_search() -> None:
    ports = [PortId(1, number) for number in range(1, 3001)]
    rig = Rig(ports)
    for i in range(1000):
        rig.ask(f"10.9.{i // 250}.{i % 250}", 1.0)
    rig.ask("10.0.0.77", 1.0, TWO)
    searched = []
    for tick in range(1, 101):
        rig.frames.clear()
        rig.responder.go_on(1.0 + tick * 0.05)
        assert len(rig.frames) <= FRAMES_BURST
        searched += [port for port, arp in rig.arps if arp.target_ip == "10.0.0.77"]
    # It has its turn after one search of the flood.
    assert set(searched) == set(ports) - {P2}
    assert len(searched) == len(ports) - 1


def test_frames_of_searches_are_bounded_whoever_asks_and_what_waits_too_long_is_counted() -> None:
    ports = [PortId(1, number) for number in range(1, 3001)]
    rig = Rig(ports)
    for number in range(100, 200):
        for i in range(5):
            who = Claim("02:00:00:00:00:03", "10.0.0.3", PortId(1, number))
            rig.ask(f"10.{number}.0.{i}", 1.0, who)
    for tick in range(1, 201):
        rig.responder.go_on(1.0 + tick * 0.05)
    # The last search that began in time goes on to its end.
    assert len(rig.frames) <= FRAMES_BURST + FRAMES_PER_S * (LONGEST_WAIT_S + 0.1) + len(ports)
    assert rig.counts[SHED] >= 500 - len(rig.frames) / (len(ports) - 1) - 1


def test_a_contested_port_is_given_up_only_after_three_unanswered_rounds() -> None:
    rig = Rig()
    verdicts = [rig.responder.host_gone(P1, now_s) for now_s in (10.0, 11.0, 12.0, 13.0)]
    assert verdicts == [False, False, False, True]
    assert len(rig.frames) == 3


def test_rounds_of_an_earlier_contest_do_not_count() -> None:
    rig = Rig()
    assert not any(rig.responder.host_gone(P1, now_s) for now_s in (10.0, 11.0, 12.0))
    verdicts = [rig.responder.host_gone(P1, now_s) for now_s in (100.0, 101.0, 102.0, 103.0)]
    assert verdicts == [False, False, False, True]


def test_a_host_that_answers_keeps_its_port() -> None:
    rig = Rig()
    for second in range(10, 20):
        assert not rig.responder.host_gone(P1, float(second))
        rig.table.hear(ONE, second + 0.5)
