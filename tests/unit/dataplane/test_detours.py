"""Whichever cable fails, all that are still connected reach each other, with one label at most."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.compiler import DefaultRouting, compile_rules, compile_tables
from dataplane.detours import Tunnel, label_tunnels, out_of, tunnel_flows
from dataplane.labels import LAST_LABEL, MAX_LABELS, LabelsExhausted
from dataplane.network import Network
from dataplane.pipeline import arp_packet, ipv4_packet
from dataplane.rules import ETH_TYPE_ARP, ETH_TYPE_IPV4, PORT_IN_PORT, Output, PopLabel, PushLabel, RuleSet, Table
from dataplane.testing import cables, fault, identity, labelled_paths
from solver.testing import fabrics
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=1e7)
MOST_HOPS = 64
"""The time to live that hosts give packets of theirs by default."""
WAY = LinkId("c1", 2), LinkId("a1-0", 4), LinkId("c2", 1)


@given(st.data(), st.sampled_from(DefaultRouting))
@settings(max_examples=60, deadline=None)
def test_after_any_one_cable_failed_every_pair_still_connected_is_reached(
    data: st.DataObject, default: DefaultRouting
) -> None:
    fabric = data.draw(fabrics())
    paths = data.draw(labelled_paths(fabric))
    rules = compile_rules(fabric, default=default, paths=paths)
    assert fault(fabric, rules, paths, failures=True) is None


@given(st.data(), st.sampled_from(DefaultRouting))
@settings(max_examples=40, deadline=None)
def test_no_packet_ever_carries_two_labels_or_takes_more_hops_than_it_may(
    data: st.DataObject, default: DefaultRouting
) -> None:
    fabric = data.draw(fabrics())
    paths = data.draw(labelled_paths(fabric))
    rules = compile_rules(fabric, default=default, paths=paths)
    for failed in (frozenset[LinkId](), *cables(fabric)):
        assert_bounded(fabric, rules, failed)


def assert_bounded(fabric: Fabric, rules: RuleSet, failed: frozenset[LinkId]) -> None:
    """At every step of every way of every host pair there is one label at most, and no way is too long."""
    network, switches = Network(fabric, rules, failed), {node.id for node in fabric.switches}
    for source in fabric.hosts:
        me = identity(fabric, source.id)
        for target in fabric.hosts:
            you = identity(fabric, target.id)
            for packet in (ipv4_packet(me, you), arp_packet(me, you[1])):
                access = fabric.access_link(source.id)
                reached, hops = {(access.target, access.target_port, packet)}, 0
                while reached:
                    hops += 1
                    assert hops <= MOST_HOPS
                    sent = {
                        (LinkId(switch, emission.port), emission.packet)
                        for switch, in_port, arrived in reached
                        for alternative in network.step(switch, in_port, arrived)
                        for emission in alternative
                    }
                    assert all(len(carried.labels) <= 1 for _, carried in sent)
                    ends = ((fabric.link_by_id.get(out), carried) for out, carried in sent if out not in failed)
                    reached = {
                        (link.target, link.target_port, carried)
                        for link, carried in ends
                        if link is not None and link.target in switches
                    }


def test_a_core_that_lost_its_link_into_a_pod_sends_packets_round_through_another_pod() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP)
    cable = next(each for each in cables(K4) if LinkId("c1", 1) in each)
    packet = ipv4_packet(identity(K4, "h16"), identity(K4, "h1"))
    ways = Network(K4, rules, cable).ways("h16", packet, "h1")
    nodes = [[link.node for link in way] for way in ways]
    over = [way for way in nodes if "c1" in way]
    assert over
    assert all(way[way.index("c1") + 1].startswith("a") and way[way.index("c1") + 2] == "c2" for way in over)


def test_the_last_switch_before_the_safe_one_takes_the_label_off() -> None:
    flows = dict(tunnel_flows(Tunnel(WAY, ETH_TYPE_ARP), 99))
    assert flows["a1-0"].actions == (Output(4),)
    assert flows["c2"].actions == (PopLabel(ETH_TYPE_ARP), Output(1))
    assert {flow.match.mpls_label for flow in flows.values()} == {99}


def test_what_goes_back_where_it_came_from_is_sent_by_the_port_that_says_so() -> None:
    assert out_of(3, 3) == Output(PORT_IN_PORT)
    assert out_of(3, None) == out_of(3, 4) == Output(3)


def test_detours_keep_their_labels_and_new_ones_get_the_highest_that_are_free() -> None:
    old, new = Tunnel(WAY, ETH_TYPE_IPV4), Tunnel(WAY, ETH_TYPE_ARP)
    labels = label_tunnels({old, new}, {old: 777, Tunnel(WAY[:2], ETH_TYPE_ARP): LAST_LABEL}, {LAST_LABEL - 1})
    assert labels == {old: 777, new: LAST_LABEL - 2}


def test_detours_take_no_more_than_the_upper_half_of_the_labels() -> None:
    taken = frozenset(islice(range(LAST_LABEL, 0, -1), MAX_LABELS))
    with pytest.raises(LabelsExhausted, match="no 1 labels free for detours"):
        label_tunnels({Tunnel(WAY, ETH_TYPE_ARP)}, {}, taken)


def test_compiled_once_more_with_its_own_detours_the_rules_are_the_same() -> None:
    first = compile_tables(K4, default=DefaultRouting.ECMP)
    again = compile_tables(K4, default=DefaultRouting.ECMP, detours=first.detours, taken=set(first.detours.values()))
    assert (again.rules, again.detours) == (first.rules, first.detours)
    pushed = {
        action.label
        for rules in first.rules.values()
        for group in rules.groups
        for bucket in group.buckets
        for action in bucket.actions
        if isinstance(action, PushLabel)
    }
    assert pushed == set(first.detours.values())


@pytest.mark.parametrize("k", [4, 6, 8])
def test_the_tables_of_a_fat_tree_grow_with_its_pods_and_edges_and_not_with_its_hosts(k: int) -> None:
    """Cores: a prefix for each pod. Below: one for each edge or host of their own, and few for all others."""
    fabric, half = fat_tree(k, capacity_bps=1e7), k // 2
    for name, switch in compile_rules(fabric, default=DefaultRouting.ECMP).items():
        matches = [flow.match for flow in switch.flows if flow.table is Table.DEFAULT and flow.match.ipv4_dst]
        plain = sum(match.in_port is None for match in matches)
        tier = fabric.node_by_id[name].tier
        assert plain <= {3: k, 2: half + 4, 1: half + 4}[tier or 0]
        assert len(matches) - plain <= {3: 2 * k, 2: 4 * k, 1: 0}[tier or 0]
        assert len(switch.groups) <= {3: 4 * k, 2: 2 * k + 1, 1: 1}[tier or 0]
