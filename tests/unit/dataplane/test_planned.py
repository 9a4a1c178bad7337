"""The rules of planned paths, switch by switch: where packets go, and where else when the link is dead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.pipeline import Emission, Packet, SwitchPipeline, ipv4_packet
from dataplane.rules import PORT_IN_PORT, FlowRule, PopLabel, PushLabel, RuleSet, Table
from dataplane.testing import assert_planned, identity
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=1e7)


def path(source: str, target: str, links: str, label: int) -> LabelledPath:
    return LabelledPath(source, target, tuple(map(LinkId.parse, links.split())), label)


OVER_C1 = path("h1", "h16", "h1:1 e0-0:3 a0-0:3 c1:4 a3-0:2 e3-1:2", 77)
BESIDE = path("h3", "h16", "h3:1 e0-1:3 a0-0:3 c1:4 a3-0:2 e3-1:2", 77)
LOCAL = path("h1", "h2", "h1:1 e0-0:2", 78)


def sent(rules: RuleSet, switch: str, in_port: int, packet: Packet, dead: set[int]) -> Emission:
    (alternative,) = SwitchPipeline(switch, rules[switch]).process(packet, in_port, dead)
    (emission,) = alternative
    return emission


def labelled(fabric: Fabric, label: int) -> Packet:
    return replace(ipv4_packet(identity(fabric, "h1"), identity(fabric, "h16")), labels=(label,))


def transit(rules: RuleSet, switch: str) -> list[FlowRule]:
    return [rule for rule in rules[switch].flows if rule.table is Table.TRANSIT and rule.match.mpls_label == 77]


def test_the_ingress_marks_the_pair_and_nothing_else() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP, paths=[OVER_C1])
    (rule,) = [rule for rule in rules["e0-0"].flows if rule.table is Table.CLASSIFY and rule.match.ipv4_dst]
    assert (rule.match.ipv4_src, rule.match.ipv4_dst) == ("10.0.0.2", "10.3.1.3")
    assert (rule.actions, rule.goto) == ((PushLabel(77),), Table.TRANSIT)


def test_a_pair_at_one_switch_needs_no_label() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP, paths=[LOCAL])
    assert_planned(K4, rules, [LOCAL])
    assert not any(isinstance(action, PushLabel) for rule in rules["e0-0"].flows for action in rule.actions)


def test_paths_that_share_a_label_share_the_rules_of_what_they_have_in_common() -> None:
    one = compile_rules(K4, default=DefaultRouting.ECMP, paths=[OVER_C1])
    both = compile_rules(K4, default=DefaultRouting.ECMP, paths=[OVER_C1, BESIDE])
    assert_planned(K4, both, [OVER_C1, BESIDE])
    changed = {name for name in one if one[name] != both[name]}
    assert changed == {"e0-1"}


def test_where_the_next_link_is_dead_packets_lose_the_label_and_take_another_port_of_default_routing() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP, paths=[OVER_C1])
    emission = sent(rules, "a0-0", 1, labelled(K4, 77), dead={3})
    assert (emission.port, emission.packet.labels) == (4, ())


def test_where_default_routing_has_no_other_port_they_change_to_the_label_of_the_detour() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP, paths=[OVER_C1])
    alive, lost = (sent(rules, "c1", 1, labelled(K4, 77), dead) for dead in (set(), {4}))
    assert (alive.port, alive.packet.labels) == (4, (77,))
    assert len(lost.packet.labels) == 1
    assert lost.packet.labels != (77,)


def test_a_detour_that_begins_where_packets_came_from_says_so() -> None:
    """A core's way round towards pod 3 begins in the next pod, pod 0: what comes from there has to go back."""
    rules = compile_rules(K4, default=DefaultRouting.ECMP, paths=[OVER_C1])
    matches = {rule.match.in_port: rule for rule in transit(rules, "c1")}
    assert matches.keys() == {None, 1}
    (group_id,) = [action.group_id for action in matches[1].actions]
    (group,) = [group for group in rules["c1"].groups if group.id == group_id]
    assert group.buckets[1].actions[-1].port == PORT_IN_PORT
    assert group.buckets[1].watch_port == 1


def test_the_egress_takes_the_label_off() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP, paths=[OVER_C1])
    (rule,) = transit(rules, "e3-1")
    assert isinstance(rule.actions[0], PopLabel)


def test_one_label_with_two_ways_out_of_a_switch_is_refused() -> None:
    other = path("h3", "h16", "h3:1 e0-1:3 a0-0:4 c2:4 a3-0:2 e3-1:2", 77)
    with pytest.raises(InputError, match="label 77 marks two ways: h1 → h16 and h3 → h16"):
        compile_rules(K4, default=DefaultRouting.ECMP, paths=[OVER_C1, other])
