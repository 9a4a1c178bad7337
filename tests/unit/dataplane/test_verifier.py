"""The verifier finds what is broken: each test breaks good rules in one way."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.pipeline import RuleError, SwitchPipeline
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    FlowRule,
    Match,
    Output,
    RuleSet,
    SwitchRules,
    Table,
)
from dataplane.testing import ways
from dataplane.verifier import VerificationError, verify
from topologies.errors import InputError
from topologies.fabric import Fabric
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=1e7, delay_s=1e-6)
PLAIN = compile_rules(K4, default=DefaultRouting.SHORTEST)
PATH = LabelledPath("h1", "h16", sorted(ways(K4, compile_rules(K4, default=DefaultRouting.ECMP), "h1", "h16"))[-1], 99)
PATHS = [PATH]
GOOD = compile_rules(K4, default=DefaultRouting.ECMP, paths=PATHS)


def change(rules: RuleSet, switch: str, edit: Callable[[FlowRule], FlowRule | None]) -> RuleSet:
    flows = frozenset(new for flow in rules[switch].flows if (new := edit(flow)) is not None)
    assert flows != rules[switch].flows
    return {**rules, switch: replace(rules[switch], flows=flows)}


def test_good_rules_pass_with_every_pair_counted() -> None:
    report = verify(K4, GOOD, PATHS)
    assert (report.pairs, report.planned) == (240, 1)


def test_a_missing_route_is_a_black_hole() -> None:
    broken = change(PLAIN, "c1", lambda flow: None if flow.match.ipv4_dst == "10.3.1.3" else flow)
    with pytest.raises(
        VerificationError, match="h16 is dropped at c1 by the default rule of priority 0 for any packet"
    ):
        verify(K4, broken)


def test_four_switches_that_pass_a_packet_round_are_a_loop() -> None:
    broken: RuleSet = PLAIN
    for switch, port in (("a0-0", 2), ("e0-1", 4), ("a0-1", 1)):
        out = (Output(port),)
        broken = change(
            broken,
            switch,
            lambda flow, out=out: replace(flow, actions=out) if flow.match.ipv4_dst == "10.3.1.3" else flow,
        )
    with pytest.raises(VerificationError, match="h16 loops through"):
        verify(K4, broken)


def test_a_route_to_the_wrong_host_is_found() -> None:
    broken = change(
        PLAIN, "e3-1", lambda flow: replace(flow, actions=(Output(1),)) if flow.match.ipv4_dst == "10.3.1.3" else flow
    )
    with pytest.raises(VerificationError, match="delivered to h15"):
        verify(K4, broken)


def test_a_copy_is_found() -> None:
    broken = change(
        PLAIN,
        "e3-1",
        lambda flow: replace(flow, actions=(Output(1), Output(2))) if flow.match.ipv4_dst == "10.3.1.3" else flow,
    )
    with pytest.raises(VerificationError, match="copied at e3-1"):
        verify(K4, broken)


def test_a_planned_pair_on_another_path_is_found() -> None:
    other = LabelledPath("h1", "h16", sorted(ways(K4, PLAIN, "h1", "h16"))[0], 99)
    assert other.links != PATH.links
    with pytest.raises(VerificationError, match="as planned"):
        verify(K4, GOOD, [other])


def test_a_missing_transit_rule_is_found() -> None:
    broken = change(GOOD, PATH.links[2].node, lambda flow: None if flow.match.mpls_label == 99 else flow)
    with pytest.raises(VerificationError, match="h1 → h16 is dropped"):
        verify(K4, broken, PATHS)


def test_an_open_guard_is_found() -> None:
    broken = change(GOOD, "e0-0", lambda flow: replace(flow, goto=Table.CLASSIFY) if flow.priority == 110 else flow)
    with pytest.raises(
        VerificationError, match=r"forged packet gets past e0-0 by the guard rule of priority 110 for in_port=1"
    ):
        verify(K4, broken, PATHS)


H1, H7 = K4.node_by_id["h1"], K4.node_by_id["h7"]


@pytest.mark.parametrize(
    "hole",
    [
        Match(in_port=1, eth_type=ETH_TYPE_IPV4, eth_src=H1.mac, ipv4_src=H7.ip),
        Match(in_port=1, eth_type=ETH_TYPE_IPV4, eth_src=H7.mac, ipv4_src=H1.ip),
        Match(in_port=1, eth_type=ETH_TYPE_IPV4, ipv4_src=H1.ip),
        Match(in_port=1, eth_type=ETH_TYPE_ARP, eth_src=H1.mac, arp_spa=H7.ip, arp_sha=H1.mac),
        Match(in_port=1, eth_type=ETH_TYPE_ARP, eth_src=H1.mac, arp_spa=H1.ip),
        Match(in_port=1, eth_type=ETH_TYPE_MPLS, eth_src=H1.mac),
        Match(in_port=9, eth_type=ETH_TYPE_IPV4),
        Match(eth_type=ETH_TYPE_IPV4, eth_src=H1.mac, ipv4_src=H1.ip),
    ],
    ids=str,
)
def test_a_guard_that_lets_in_more_than_the_host_at_a_port_is_found(hole: Match) -> None:
    rule = FlowRule(Table.GUARD, 205, hole, goto=Table.DEFAULT)
    open_rules = {**GOOD, "e0-0": replace(GOOD["e0-0"], flows=GOOD["e0-0"].flows | {rule})}
    with pytest.raises(VerificationError, match="gets past e0-0 by the guard rule of priority 205"):
        verify(K4, open_rules, PATHS)


@given(st.data())
@settings(max_examples=30)
def test_no_route_can_be_missing_unnoticed(data: st.DataObject) -> None:
    switch = data.draw(st.sampled_from(sorted(GOOD)))
    routes = [flow for flow in GOOD[switch].flows if flow.table > Table.GUARD and flow.priority == 100]
    gone = data.draw(st.sampled_from(sorted(routes, key=str)))
    with pytest.raises(VerificationError, match=f" at {switch} "):
        verify(K4, change(GOOD, switch, lambda flow: None if flow == gone else flow), PATHS)


def test_only_the_pairs_asked_for_and_the_planned_ones_are_looked_at() -> None:
    broken = change(PLAIN, "c1", lambda flow: None if flow.match.ipv4_dst == "10.3.1.3" else flow)
    assert verify(K4, broken, pairs={("h1", "h2"), ("h2", "h1")}).pairs == 2
    with pytest.raises(VerificationError, match="dropped at c1"):
        verify(K4, broken, pairs={("h1", "h16")})
    assert verify(K4, GOOD, PATHS, pairs=()).pairs == 1


def test_a_planned_pair_that_cannot_be_looked_at_is_not_called_proved() -> None:
    nodes = tuple(replace(node, mac=None) if node.id == "h16" else node for node in K4.nodes)
    with pytest.raises(VerificationError, match="planned pair h1 → h16"):
        verify(Fabric(nodes, K4.links), {**PLAIN, "e3-1": SwitchRules()}, PATHS, pairs=())


def test_a_path_of_a_host_without_addresses_is_refused() -> None:
    nodes = tuple(replace(node, mac=None) if node.id == "h16" else node for node in K4.nodes)
    with pytest.raises(InputError, match="needs the mac of h16"):
        compile_rules(Fabric(nodes, K4.links), default=DefaultRouting.ECMP, paths=PATHS)


def test_a_field_without_the_ethernet_type_that_has_it_is_refused() -> None:
    rule = FlowRule(Table.DEFAULT, 5, Match(ipv4_dst="10.0.0.1"), (Output(1),))
    with pytest.raises(RuleError, match="ipv4_dst needs eth_type=0x0800"):
        SwitchPipeline("s1", SwitchRules(frozenset({rule})))


def test_rules_that_a_switch_may_read_in_two_ways_are_refused() -> None:
    flows = frozenset(
        {
            FlowRule(Table.DEFAULT, 5, Match(eth_type=0x800), (Output(1),)),
            FlowRule(Table.DEFAULT, 5, Match(in_port=1), (Output(2),)),
        }
    )
    with pytest.raises(RuleError, match="two rules of one priority"):
        SwitchPipeline("s1", SwitchRules(flows))


def test_rules_with_one_key_and_two_contents_are_refused() -> None:
    flows = frozenset(FlowRule(Table.DEFAULT, 5, Match(in_port=1), (Output(port),)) for port in (2, 3))
    with pytest.raises(RuleError, match="two rules with one key"):
        SwitchPipeline("s1", SwitchRules(flows))


def test_a_rule_that_names_a_missing_group_is_refused() -> None:
    without = {**GOOD, "e0-0": replace(GOOD["e0-0"], groups=frozenset())}
    with pytest.raises(RuleError, match="e0-0 has no group"):
        verify(K4, without, PATHS)
