"""The verifier finds what is broken: each test breaks good rules in one way."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.pipeline import RuleError, SwitchPipeline
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    FlowRule,
    Group,
    GroupType,
    Match,
    Output,
    RuleSet,
    SetLabel,
    SwitchRules,
    Table,
)
from dataplane.testing import ways
from dataplane.verifier import VerificationError, verify
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId
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


def takes(flow: FlowRule, address: str) -> bool:
    """Whether a default rule takes packets to an address, wherever they come in."""
    match = flow.match
    if flow.table is not Table.DEFAULT or match.in_port is not None or match.ipv4_dst is None:
        return False
    return IPv4Address(address) in IPv4Network(match.ipv4_dst)


H16 = K4.node_by_id["h16"].ip or ""


def test_good_rules_pass_with_every_pair_counted() -> None:
    report = verify(K4, GOOD, PATHS)
    assert (report.pairs, report.planned) == (240, 1)


def test_a_missing_route_is_a_black_hole() -> None:
    broken = change(PLAIN, "c1", lambda flow: None if takes(flow, H16) else flow)
    with pytest.raises(VerificationError, match="is dropped at c1 by the default rule of priority 0 for any packet"):
        verify(K4, broken)


def test_four_switches_that_pass_a_packet_round_are_a_loop() -> None:
    broken: RuleSet = PLAIN
    for switch, port in (("a0-0", 2), ("e0-1", 4), ("a0-1", 1)):
        out = (Output(port),)
        broken = change(broken, switch, lambda flow, out=out: replace(flow, actions=out) if takes(flow, H16) else flow)
    with pytest.raises(VerificationError, match="loops through"):
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


def test_only_the_pairs_asked_for_and_the_planned_ones_are_looked_at() -> None:
    ((*_, core, _, _, _),) = ways(K4, PLAIN, "h1", "h16")
    broken = change(PLAIN, core.node, lambda flow: None if takes(flow, H16) else flow)
    assert verify(K4, broken, pairs={("h1", "h2"), ("h2", "h1")}).pairs == 2
    with pytest.raises(VerificationError, match=f"dropped at {core.node}"):
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


def test_rules_that_only_a_failure_breaks_are_found_by_letting_every_cable_fail() -> None:
    group = next(group for group in GOOD["c1"].groups if group.type is GroupType.FAST_FAILOVER)
    alone = replace(group, buckets=group.buckets[:1])
    broken = {**GOOD, "c1": replace(GOOD["c1"], groups=GOOD["c1"].groups - {group} | {alone})}
    assert verify(K4, broken, PATHS).pairs == 240
    with pytest.raises(VerificationError, match=r"dropped at c1 by .* while .* are down"):
        verify(K4, broken, PATHS, failures=True)


def test_a_planned_packet_that_leaves_a_failed_link_with_the_label_of_nothing_is_found() -> None:
    (group,) = GOOD["e0-0"].groups - PLAIN["e0-0"].groups - {_spread("e0-0")}
    lost = replace(group.buckets[1], actions=(SetLabel(77), *group.buckets[1].actions[1:]))
    broken_group = replace(group, buckets=(group.buckets[0], lost))
    broken = {**GOOD, "e0-0": replace(GOOD["e0-0"], groups=GOOD["e0-0"].groups - {group} | {broken_group})}
    assert verify(K4, broken, PATHS).planned == 1
    with pytest.raises(VerificationError, match=r"h1 → h16 is dropped .* while .*e0-0:4 are down"):
        verify(K4, broken, PATHS, failures=True)


def _spread(switch: str) -> Group:
    return next(group for group in GOOD[switch].groups if group.type is GroupType.SELECT)


def test_a_link_asked_for_more_than_it_carries_is_found() -> None:
    with pytest.raises(VerificationError, match=r"planned paths ask h1:1 for 1.1e.07 bit/s, and it carries 1e.07"):
        verify(K4, GOOD, PATHS, rates_bps=[1.1e7])
    assert verify(K4, GOOD, PATHS, rates_bps=[7.5e6]).worst_link_utilisation == 0.75


def test_paths_and_rates_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="1 paths and 2 rates"):
        verify(K4, GOOD, PATHS, rates_bps=[1.0, 2.0])


def test_links_without_another_way_are_told_and_what_they_cut_off_is_excused() -> None:
    fabric = K4.without_links(
        end for link in K4.links if link.id.node == "e0-0" and link.id.port == 4 for end in (link.id, link.reverse_id)
    )
    report = verify(fabric, compile_rules(fabric, default=DefaultRouting.ECMP), failures=True)
    assert report.unprotected == (LinkId("e0-0", 3),)
    assert report.cut_off == 2 * 2 * 14
    assert report.failures == 31


def test_a_rule_that_sets_a_label_which_is_not_there_is_refused_though_it_concerns_nobody() -> None:
    rule = FlowRule(Table.DEFAULT, 1, Match(), (SetLabel(16),))
    strange = {**PLAIN, "e0-0": replace(PLAIN["e0-0"], flows=PLAIN["e0-0"].flows | {rule})}
    with pytest.raises(RuleError, match="e0-0 does SetLabel"):
        verify(K4, strange)


K2 = fat_tree(2, capacity_bps=1e7, delay_s=1e-6)


@pytest.mark.parametrize("match", [{"ip_proto": 6}, {"ip_proto": 17, "udp_dst": 4791}], ids=str)
def test_a_default_rule_that_loses_one_protocol_alone_is_found(match: dict[str, int]) -> None:
    rules = compile_rules(K2, default=DefaultRouting.ECMP)
    rule = FlowRule(Table.DEFAULT, 200, Match(eth_type=ETH_TYPE_IPV4, **match))
    strange = {**rules, "e0-0": replace(rules["e0-0"], flows=rules["e0-0"].flows | {rule})}
    with pytest.raises(VerificationError, match="dropped at e0-0 by the default rule of priority 200"):
        verify(K2, strange)
