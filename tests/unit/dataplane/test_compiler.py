"""Compiled rules deliver: planned pairs by their paths, all others by default routing, nothing forged at all."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.compiler import DefaultRouting, LabelledPath, TableCompiler, compile_rules
from dataplane.matching import prefix_range
from dataplane.pipeline import Emission, Packet, arp_packet, ipv4_packet
from dataplane.rules import ETH_TYPE_LLDP, ETH_TYPE_MPLS, GROUP_ID_BASE, PORT_CONTROLLER, Match, Table
from dataplane.spread import BUCKETS, deal, select_group
from dataplane.testing import assert_delivers, assert_planned, identity, labelled_paths, ways
from dataplane.verifier import Network, verify
from solver.testing import fabrics
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=1e7, delay_s=1e-6)


@given(st.data(), st.sampled_from(DefaultRouting))
@settings(max_examples=60)
def test_planned_pairs_take_their_path_and_all_others_arrive_once(data: st.DataObject, default: DefaultRouting) -> None:
    fabric = data.draw(fabrics())
    paths = data.draw(labelled_paths(fabric))
    rules = compile_rules(fabric, default=default, paths=paths)
    assert_planned(fabric, rules, paths)
    assert_delivers(fabric, rules)
    assert verify(fabric, rules, paths).planned == len(paths)


@given(fabrics())
@settings(max_examples=40)
def test_shortest_routing_leaves_one_way_for_every_pair(fabric: Fabric) -> None:
    rules = compile_rules(fabric, default=DefaultRouting.SHORTEST)
    for source in fabric.hosts:
        for target in fabric.hosts:
            if source is not target:
                assert len(ways(fabric, rules, source.id, target.id)) == 1


def test_ecmp_offers_all_four_paths_between_pods_of_a_k4_fat_tree() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP)
    cores = {way[3].node for way in ways(K4, rules, "h1", "h16")}
    assert len(ways(K4, rules, "h1", "h16")) == 4
    assert cores == {"c1", "c2", "c3", "c4"}


def test_equal_hashes_in_every_switch_spread_evenly_over_all_four_paths() -> None:
    """Open vSwitch takes the bucket of the same index in every switch."""
    rules = compile_rules(K4, default=DefaultRouting.ECMP)
    for source, leaf in ((host.id, K4.access_link(host.id).target) for host in K4.hosts):
        for target in (host for host in K4.hosts if host.pod != K4.node_by_id[source].pod):
            taken: Counter[tuple[int, int]] = Counter()
            for bucket in range(BUCKETS):
                up = _port_of_bucket(rules[leaf], target.ip, bucket)
                spine = K4.link_by_id[LinkId(leaf, up)].target
                taken[up, _port_of_bucket(rules[spine], target.ip, bucket)] += 1
            assert set(taken.values()) == {BUCKETS // 4}


def _port_of_bucket(rules, ip: str, bucket: int) -> int:
    matching = [flow for flow in rules.flows if flow.table is Table.DEFAULT and _covers(flow.match, ip)]
    flow = max(matching, key=lambda flow: flow.priority)
    (group,) = [group for group in rules.groups if group.id == flow.actions[0].group_id]
    assert group.buckets[bucket].watch_port == group.buckets[bucket].actions[0].port
    return group.buckets[bucket].watch_port


def _covers(match: Match, ip: str) -> bool:
    if match.ipv4_dst is None or match.in_port is not None:
        return False
    start, size = prefix_range(match.ipv4_dst)
    return start <= prefix_range(ip)[0] < start + size


@given(st.integers(1, 64), st.integers(1, 10), st.integers(1, 2**64 - 1))
def test_every_next_hop_gets_its_share_of_the_buckets(next_hops: int, distance: int, dpid: int) -> None:
    dealt = Counter(deal(next_hops, distance, dpid))
    assert len(dealt) == next_hops
    assert max(dealt.values()) - min(dealt.values()) <= 1


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]), st.integers(1, 9), st.integers(1, 2**32))
def test_neighbouring_distances_choose_independently(here: int, there: int, distance: int, dpid: int) -> None:
    joint = Counter(zip(deal(here, distance, dpid), deal(there, distance - 1, dpid + 7), strict=True))
    assert set(joint.values()) == {BUCKETS // (here * there)}


def test_a_bucket_whose_port_is_dead_is_left() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP)
    leaf = K4.access_link("h1").target
    dead = LinkId(leaf, 3)
    taken = ways(K4, rules, "h1", "h16", failed=frozenset({dead}))
    assert taken
    assert all(dead not in way for way in taken)


def test_a_forged_source_or_a_label_from_a_host_is_dropped() -> None:
    path = LabelledPath(
        "h1", "h16", next(iter(ways(K4, compile_rules(K4, default=DefaultRouting.SHORTEST), "h1", "h16"))), 77
    )
    network = Network(K4, compile_rules(K4, default=DefaultRouting.ECMP, paths=[path]))
    access = K4.access_link("h1")
    me, you = identity(K4, "h1"), identity(K4, "h16")
    forged = [
        ipv4_packet((you[0], me[1]), you),
        ipv4_packet((me[0], you[1]), you),
        Packet(me[0], you[0], ETH_TYPE_MPLS, me[1], you[1], labels=(77,)),
    ]
    for packet in forged:
        assert network.step(access.target, access.target_port, packet) == {()}


def test_a_switch_of_which_nothing_is_known_sends_lldp_up_and_drops_the_rest() -> None:
    rules = compile_rules(Fabric((Node("s1", NodeKind.SWITCH, dpid=1),), ()), default=DefaultRouting.ECMP)["s1"]
    punting = [flow for flow in rules.flows if flow.table is Table.GUARD and flow.actions]
    assert [flow.match for flow in punting] == [Match(eth_type=0x88CC)]
    assert punting[0].actions[0].port == PORT_CONTROLLER
    assert punting[0].meter_id in {meter.id for meter in rules.meters}


def test_hosts_that_know_each_other_resolve_without_the_controller_and_ask_it_for_unknown_ones() -> None:
    network = Network(K4, compile_rules(K4, default=DefaultRouting.ECMP))
    access, me = K4.access_link("h1"), identity(K4, "h1")
    you = identity(K4, "h16")
    claims = [arp_packet((me[0], you[1]), you[1]), arp_packet((you[0], me[1]), you[1])]

    def sent(packet: Packet) -> set[int]:
        outcomes = network.step(access.target, access.target_port, packet)
        return {emission.port for alternative in outcomes for emission in alternative}

    assert sent(arp_packet(me, you[1])) == {3, 4}
    assert sent(arp_packet(me, "10.99.0.1")) == {PORT_CONTROLLER}
    assert [sent(claim) for claim in claims] == [{PORT_CONTROLLER}] * 2


def test_an_edge_port_without_a_known_host_may_ask_the_controller_and_nothing_else() -> None:
    network = Network(K4, compile_rules(K4, default=DefaultRouting.ECMP, edge_ports={"e0-0": frozenset({9})}))
    me, you = identity(K4, "h1"), identity(K4, "h16")
    punt = {(Emission(PORT_CONTROLLER, question := arp_packet(me, you[1])),)}
    assert network.step("e0-0", 9, question) == punt
    refused = [ipv4_packet(me, you), Packet(me[0], you[0], 0x86DD), Packet(*me, ETH_TYPE_MPLS, labels=(16,))]
    assert [network.step("e0-0", 9, packet) for packet in refused] == [{()}] * 3


def test_groups_whose_hashes_agree_get_ids_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.default.select_group", lambda *key: replace(select_group(*key), id=GROUP_ID_BASE))
    whole = fat_tree(6, capacity_bps=1e7, delay_s=1e-6)
    lame = whole.without_links(link.id for link in whole.links if {link.source, link.target} == {"a1-0", "e1-0"})
    rules = compile_rules(lame, default=DefaultRouting.ECMP)
    assert [sorted(group.id - GROUP_ID_BASE for group in rules["e0-0"].groups)] == [[0, 1]]
    assert rules == compile_rules(lame, default=DefaultRouting.ECMP)
    assert len(ways(lame, rules, "h1", lame.hosts[9].id)) == 6
    assert verify(lame, rules, pairs={("h1", lame.hosts[9].id)}).pairs == 1


def test_every_packet_that_goes_to_the_controller_is_metered() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP, edge_ports={"e0-0": frozenset({1, 2, 9})})
    for switch in rules.values():
        for flow in switch.flows:
            if flow.table is Table.GUARD and any(
                getattr(action, "port", None) == PORT_CONTROLLER for action in flow.actions
            ):
                assert flow.meter_id is not None


def test_lldp_of_every_port_with_a_cable_or_a_host_has_a_meter_of_its_own() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP, edge_ports={"e0-0": frozenset({9})})["e0-0"]
    meter_of = {flow.match.in_port: flow.meter_id for flow in rules.flows if flow.match.eth_type == ETH_TYPE_LLDP}
    assert meter_of.keys() == {None, 1, 2, 3, 4, 9}
    assert len(set(meter_of.values())) == 6
    assert set(meter_of.values()) == {meter.id for meter in rules.meters}


def test_the_same_input_gives_the_same_rules() -> None:
    assert compile_rules(K4, default=DefaultRouting.ECMP) == compile_rules(K4, default=DefaultRouting.ECMP)


@pytest.mark.parametrize(
    ("links", "complaint"),
    [
        ("h1:1 e0-0:3 e0-0:2", "breaks at e0-0:2"),
        ("h1:1 e0-0:99 e0-0:2", "breaks at e0-0:99"),
        ("h1:1 e0-0:2", "ends at h2"),
        ("", "ends at h1"),
    ],
)
def test_a_broken_path_is_refused_by_the_link_where_it_breaks(links: str, complaint: str) -> None:
    path = LabelledPath("h1", "h16", tuple(LinkId.parse(link) for link in links.split()), 16)
    with pytest.raises(InputError, match=complaint):
        compile_rules(K4, default=DefaultRouting.ECMP, paths=[path])


def test_two_paths_with_one_label_to_two_hosts_are_refused() -> None:
    rules = compile_rules(K4, default=DefaultRouting.SHORTEST)
    paths = [LabelledPath(a, b, next(iter(ways(K4, rules, a, b))), 16) for a, b in pairwise(("h1", "h5", "h9"))]
    with pytest.raises(InputError, match="label 16 marks two ways: h1 → h5 and h5 → h9"):
        compile_rules(K4, default=DefaultRouting.ECMP, paths=paths)


@given(st.data())
def test_a_compiler_that_is_kept_makes_what_a_fresh_one_makes(data: st.DataObject) -> None:
    fabric = data.draw(fabrics())
    compiler = TableCompiler(fabric, DefaultRouting.ECMP)
    for _ in range(3):
        drawn = data.draw(labelled_paths(fabric))
        # Few labels, so that one comes back for another host.
        paths = [replace(path, label=16 + number) for number, path in enumerate(drawn)]
        assert compiler.compile(paths).rules == compile_rules(fabric, default=DefaultRouting.ECMP, paths=paths)
