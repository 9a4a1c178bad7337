"""The host table believes who speaks first, holds a bounded number, and its indexes agree with a scan."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.discovery import PortId
from controller.hosts import MAX_HOSTS_PER_PORT, Claim, HostTable, Standing
from topologies.fabric import Fabric, Node, NodeKind
from topologies.fat_tree import fat_tree

P1, P2, P3 = PortId(1, 1), PortId(1, 2), PortId(2, 1)
ONE, TWO = Claim("02:00:00:00:00:01", "10.0.0.1", P1), Claim("02:00:00:00:00:02", "10.0.0.2", P2)


def kinds(changes) -> list[str]:
    return [change.kind for change in changes]


def table_with_two_hosts() -> HostTable:
    table = HostTable(None)
    table.hear(ONE, 1.0)
    table.hear(TWO, 1.0)
    return table


def test_a_host_that_speaks_is_learned_at_once_under_a_name_from_its_address() -> None:
    table = HostTable(None)
    heard = table.hear(ONE, 1.0)
    host = table.find("10.0.0.1")
    assert host is not None
    assert (heard.standing, kinds(heard.changes)) == (Standing.NEW, ["host-seen"])
    assert (host.name, host.mac, host.at, host.learned_from) == ("h-10.0.0.1", "02:00:00:00:00:01", P1, "arp")


def test_declared_hosts_are_known_before_they_speak() -> None:
    host = HostTable(fat_tree(4, capacity_bps=1e7)).find("10.0.0.2")
    assert host is not None
    assert (host.name, host.at, host.learned_from) == ("h1", PortId(0x10001, 1), "declared")


def test_a_declared_host_without_a_place_is_where_it_first_speaks() -> None:
    declared = Fabric((Node("h1", NodeKind.HOST, ip=ONE.ip, mac=ONE.mac),), ())
    table = HostTable(declared)
    assert table.hear(ONE, 1.0).standing is Standing.NEW
    host = table.find(ONE.ip)
    assert (host.name, host.at) == ("h1", P1)


def test_what_somebody_has_is_contested_and_stays_where_it_is() -> None:
    table = table_with_two_hosts()
    one, two = table.find(ONE.ip), table.find(TWO.ip)
    assert table.hear(ONE._replace(at=P3), 2.0).owners == (one,)
    assert table.hear(ONE._replace(mac="02:00:00:00:00:66"), 2.0).owners == (one,)
    assert table.hear(ONE._replace(ip="10.0.0.77"), 2.0).owners == (one,)
    assert table.hear(Claim(TWO.mac, ONE.ip, P3), 2.0).owners == (one, two)
    assert (table.find(ONE.ip), table.find(TWO.ip)) == (one, two)


def test_a_claim_is_believed_once_all_who_have_it_were_silent_where_they_are() -> None:
    table = table_with_two_hosts()
    one, two = table.find(ONE.ip), table.find(TWO.ip)
    claim = Claim(TWO.mac, ONE.ip, P3)
    assert table.believe(claim, {ONE.ip: one}, 2.0) == []
    assert kinds(table.believe(claim, {ONE.ip: one, TWO.ip: two}, 2.0)) == ["host-replaced"]
    assert [(host.mac, host.ip, host.at) for host in table] == [claim]
    # It was silent where it was then; where it is by now nobody asked it.
    assert table.believe(ONE, {ONE.ip: one}, 3.0) == []


def test_a_host_at_another_port_with_the_same_names_has_moved() -> None:
    table = table_with_two_hosts()
    changes = table.believe(ONE._replace(at=P3), {ONE.ip: table.find(ONE.ip)}, 2.0)
    assert kinds(changes) == ["host-moved"]
    assert table.at(P1) == ()
    assert [host.ip for host in table.at(P3)] == [ONE.ip]


def test_who_comes_to_a_port_later_does_not_come_before_who_was_there() -> None:
    table = table_with_two_hosts()
    table.believe(ONE._replace(at=P2), {ONE.ip: table.find(ONE.ip)}, 2.0)
    assert [host.ip for host in table] == [TWO.ip, ONE.ip]


def test_what_is_declared_of_addresses_and_macs_is_never_believed_otherwise() -> None:
    table = HostTable(fat_tree(4, capacity_bps=1e7))
    at = PortId(0x10001, 1)
    declared = table.find("10.0.0.2")
    for claim in (Claim("02:00:00:00:00:66", "10.0.0.2", at), Claim(declared.mac, "10.9.9.9", at)):
        for _ in range(2):
            heard = table.hear(claim, 1.0)
            assert (heard.standing, kinds(heard.changes)) == (Standing.REFUSED, ["host-conflict"])
            assert table.believe(claim, {declared.ip: declared}, 1.0) == []
            # Not even after a switch was seen at its port, or by way of an earlier run.
            table.forget_at(at)
            table.restore(claim.ip, claim.mac, at)
            assert table.find(claim.ip) is None or table.find(claim.ip).mac == declared.mac


def test_a_host_whose_mac_is_declared_changes_its_address_but_not_its_mac() -> None:
    table = HostTable(Fabric((Node("h1", NodeKind.HOST, mac=ONE.mac),), ()))
    table.hear(ONE, 1.0)
    assert table.find(ONE.ip).name == "h1"
    assert table.hear(ONE._replace(mac="02:00:00:00:00:66"), 2.0).standing is Standing.REFUSED
    claim = ONE._replace(ip="10.0.0.77")
    assert table.hear(claim, 2.0).standing is Standing.CONTESTED
    assert kinds(table.believe(claim, {ONE.ip: table.find(ONE.ip)}, 2.0)) == ["host-replaced"]


def crowd(at: PortId, count: int) -> list[Claim]:
    return [Claim(f"02:00:00:{at.port:02x}:{i >> 8:02x}:{i & 255:02x}", f"10.{at.port}.{i >> 8}.{i & 255}", at)
            for i in range(count)]  # fmt: skip


def test_a_full_port_is_told_by_the_same_sentence_and_stops_no_other() -> None:
    table = HostTable(None)
    refusals = [table.hear(claim, 1.0).changes for claim in crowd(P1, MAX_HOSTS_PER_PORT + 5)][MAX_HOSTS_PER_PORT:]
    assert len(table) == MAX_HOSTS_PER_PORT
    assert len({change for changes in refusals for change in changes}) == 1
    assert table.hear(TWO, 1.0).standing is Standing.NEW


def test_a_full_table_keeps_room_for_the_first_host_of_every_port() -> None:
    table = HostTable(None, max_hosts=64)
    for claim in crowd(P1, MAX_HOSTS_PER_PORT):
        table.hear(claim, 1.0)
    assert len(table) == 56
    for port in range(10, 30):
        for claim in crowd(PortId(1, port), 2):
            table.hear(claim, 1.0)
    assert len(table) == 64
    assert [len(table.at(PortId(1, port))) for port in range(10, 18)] == [1] * 8


def test_a_host_is_uncertain_once_its_port_or_its_switch_was_lost_until_it_speaks() -> None:
    table = table_with_two_hosts()
    table.hear(Claim("02:00:00:00:00:03", "10.0.0.3", P3), 1.0)
    table.port_lost(P1)
    assert [host.certain for host in table] == [False, True, True]
    table.switch_lost(1)
    assert [host.certain for host in table] == [False, False, True]
    assert table.hear(ONE, 2.0).standing is Standing.KNOWN
    assert [host.certain for host in table] == [True, False, True]


MACS = [f"02:00:00:00:00:{i:02x}" for i in range(6)]
IPS = [f"10.0.0.{i}" for i in range(6)]
PORTS = [PortId(dpid, port) for dpid in (1, 2) for port in (1, 2)]
CLAIMS = st.builds(Claim, st.sampled_from(MACS), st.sampled_from(IPS), st.sampled_from(PORTS))
STEPS = st.one_of(
    st.tuples(st.sampled_from(["hear", "believe", "restore"]), CLAIMS),
    st.tuples(st.sampled_from(["port_lost", "forget_at"]), st.sampled_from(PORTS)),
    st.tuples(st.just("switch_lost"), st.sampled_from([1, 2])),
    st.tuples(st.just("forget"), st.sampled_from(IPS)),
)
DECLARED = Fabric((Node("a", NodeKind.HOST, ip=IPS[0], mac=MACS[0]), Node("b", NodeKind.HOST, mac=MACS[1])), ())


@given(st.lists(STEPS, max_size=40), st.sampled_from([None, DECLARED]), st.integers(1, 6))
def test_indexes_agree_with_a_scan_whatever_happens(steps, declared, most) -> None:
    table = HostTable(declared, max_hosts=most)
    for now_s, (what, value) in enumerate(steps):
        before = {host.ip: host for host in table}
        version = table.version
        if what == "hear":
            table.hear(value, now_s)
        elif what == "believe":
            table.believe(value, before, now_s)
        elif what == "restore":
            table.restore(value.ip, value.mac, value.at)
        elif what == "forget":
            if table.find(value) is not None:
                table.forget(table.find(value))
        else:
            getattr(table, what)(value)
        hosts = list(table)
        assert len(table) == len(hosts) == len({host.ip for host in hosts}) == len({host.mac for host in hosts})
        assert len(hosts) <= max(most, 1)
        for host in hosts:
            assert table.find(host.ip) is host
            assert table.find_mac(host.mac) is host
        for port in PORTS:
            assert {host.ip: host for host in table.at(port)} == {host.ip: host for host in hosts if host.at == port}
            seen = [table.spoke_s(host.ip) for host in hosts if host.at == port]
            assert table.seen_s(port) == (max(seen) if seen else None)
        changed = table.take_changed()
        places = {host.ip: (host.mac, host.at) for host in hosts}
        assert {ip for ip in {*before, *places} if _place(before, ip) != places.get(ip)} <= changed
        assert (table.version > version) >= bool(changed)


def _place(hosts, ip):
    return (hosts[ip].mac, hosts[ip].at) if ip in hosts else None
