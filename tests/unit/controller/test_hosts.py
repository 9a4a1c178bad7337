"""Hosts are learned from ARP, stay where they are while that place lives, and are searched for within limits."""

from controller.arp import SEARCHES_PER_S, ArpResponder
from controller.discovery import PortId
from controller.hosts import MAX_HOSTS_PER_PORT, HostTable
from topologies.fat_tree import fat_tree
from workloads.headers import ARP_REPLY, ARP_REQUEST, Arp, read_arp, read_ethernet

P1, P2, P3 = PortId(1, 1), PortId(1, 2), PortId(2, 1)
NOBODY = "00:00:00:00:00:00"


def request(ip: str, mac: str, target: str) -> Arp:
    return Arp(ARP_REQUEST, mac, ip, NOBODY, target)


def kinds(changes) -> list[str]:
    return [change.kind for change in changes]


def table_with_two_hosts() -> HostTable:
    table = HostTable(None)
    table.arp_arrived(P1, request("10.0.0.1", "02:00:00:00:00:01", "10.0.0.9"), 1.0, old_place_lost=False)
    table.arp_arrived(P2, request("10.0.0.2", "02:00:00:00:00:02", "10.0.0.9"), 1.0, old_place_lost=False)
    return table


def test_a_host_that_speaks_is_learned_under_a_name_from_its_address() -> None:
    table = table_with_two_hosts()
    host = table.find("10.0.0.1")
    assert host is not None
    assert (host.name, host.mac, host.at, host.learned_from) == ("h-10.0.0.1", "02:00:00:00:00:01", P1, "arp")


def test_declared_hosts_are_known_before_they_speak() -> None:
    declared = fat_tree(4, capacity_bps=1e7)
    host = HostTable(declared).find("10.0.0.2")
    assert host is not None
    assert (host.name, host.at, host.learned_from) == ("h1", PortId(0x10001, 1), "declared")


def test_a_host_moves_only_once_its_old_place_is_lost() -> None:
    table = table_with_two_hosts()
    arp = request("10.0.0.1", "02:00:00:00:00:01", "10.0.0.2")
    assert kinds(table.arp_arrived(P3, arp, 2.0, old_place_lost=False)) == ["host-conflict"]
    assert table.find("10.0.0.1").at == P1
    assert kinds(table.arp_arrived(P3, arp, 2.0, old_place_lost=True)) == ["host-moved"]
    assert table.find("10.0.0.1").at == P3


def test_an_address_is_not_taken_over_by_another_mac() -> None:
    table = table_with_two_hosts()
    arp = request("10.0.0.1", "02:00:00:00:00:66", "10.0.0.2")
    assert kinds(table.arp_arrived(P3, arp, 2.0, old_place_lost=False)) == ["host-conflict"]
    assert table.find("10.0.0.1").mac == "02:00:00:00:00:01"


def test_a_port_holds_a_bounded_number_of_hosts() -> None:
    table = HostTable(None)
    for i in range(MAX_HOSTS_PER_PORT + 5):
        table.arp_arrived(
            P1, request(f"10.0.1.{i + 1}", f"02:00:00:00:01:{i:02x}", "10.0.0.9"), 1.0, old_place_lost=False
        )
    assert len(list(table)) == MAX_HOSTS_PER_PORT


class Sent:
    def __init__(self) -> None:
        self.frames: list[tuple[PortId, bytes]] = []

    def __call__(self, port: PortId, frame: bytes) -> None:
        self.frames.append((port, frame))


def test_a_known_host_is_answered_for_without_asking_it() -> None:
    sent = Sent()
    responder = ArpResponder(table_with_two_hosts(), sent, lambda: [P1, P2, P3])
    responder.answer(P1, request("10.0.0.1", "02:00:00:00:00:01", "10.0.0.2"), 1.0)
    ((port, frame),) = sent.frames
    reply = read_arp(read_ethernet(frame).payload)
    assert port == P1
    assert reply == Arp(ARP_REPLY, "02:00:00:00:00:02", "10.0.0.2", "02:00:00:00:00:01", "10.0.0.1")


def test_an_unknown_host_is_searched_on_every_other_edge_port_once_a_second() -> None:
    sent = Sent()
    responder = ArpResponder(table_with_two_hosts(), sent, lambda: [P1, P2, P3])
    for now_s in (1.0, 1.1, 1.5):
        responder.answer(P1, request("10.0.0.1", "02:00:00:00:00:01", "10.0.0.77"), now_s)
    assert [port for port, _ in sent.frames] == [P2, P3]
    responder.answer(P1, request("10.0.0.1", "02:00:00:00:00:01", "10.0.0.77"), 2.1)
    assert len(sent.frames) == 4


def test_searches_are_bounded_whatever_is_asked() -> None:
    sent = Sent()
    responder = ArpResponder(table_with_two_hosts(), sent, lambda: [P1, P2])
    for i in range(1000):
        responder.answer(P1, request("10.0.0.1", "02:00:00:00:00:01", f"10.9.{i // 250}.{i % 250}"), 1.0)
    assert len(sent.frames) == SEARCHES_PER_S


def test_a_reply_found_by_search_reaches_the_host_that_asked() -> None:
    sent = Sent()
    responder = ArpResponder(table_with_two_hosts(), sent, lambda: [P1, P2, P3])
    responder.answer(P2, Arp(ARP_REPLY, "02:00:00:00:00:02", "10.0.0.2", "02:00:00:00:00:01", "10.0.0.1"), 1.0)
    assert [port for port, _ in sent.frames] == [P1]


def test_a_contested_port_is_given_up_only_after_three_unanswered_rounds() -> None:
    sent = Sent()
    table = table_with_two_hosts()
    responder = ArpResponder(table, sent, lambda: [P1, P2, P3])
    verdicts = [responder.host_gone(P1, now_s) for now_s in (10.0, 11.0, 12.0, 13.0)]
    assert verdicts == [False, False, False, True]
    assert len(sent.frames) == 3


def test_a_host_that_answers_keeps_its_port() -> None:
    table = table_with_two_hosts()
    responder = ArpResponder(table, Sent(), lambda: [P1, P2, P3])
    for second in range(10, 20):
        assert not responder.host_gone(P1, float(second))
        table.arp_arrived(
            P1, Arp(ARP_REPLY, "02:00:00:00:00:01", "10.0.0.1", NOBODY, "10.0.0.9"), second + 0.5, old_place_lost=False
        )


def test_a_host_that_claims_a_second_address_keeps_its_first_alone() -> None:
    table = HostTable(fat_tree(4, capacity_bps=1e7))
    arp = request("10.9.9.9", "02:00:0a:00:00:02", "10.0.0.3")
    assert kinds(table.arp_arrived(PortId(0x10001, 1), arp, 1.0, old_place_lost=False)) == ["host-conflict"]
    assert table.find("10.9.9.9") is None
    table.restore("10.9.9.9", "02:00:0a:00:00:02", P1)
    assert table.find("10.9.9.9") is None
