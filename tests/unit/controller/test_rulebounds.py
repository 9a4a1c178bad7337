from __future__ import annotations

from dataclasses import replace

import pytest

from controller.framing import Violation
from controller.rulebounds import RULE_BOUNDS, RuleBounds, RulesRead
from controller.strays import StrayFlow, TablesRead
from dataplane.rules import Bucket, FlowRule, Group, GroupType, Match, Meter, Output, SwitchRules, Table

BOUNDS = RuleBounds(flows=3, groups=2, meters=2, parts=10)
STRAY = StrayFlow(0, 1, 0x4844 << 48, b"", None)


def flow(number: int, actions: int = 1) -> FlowRule:
    return FlowRule(Table.GUARD, number, Match(), (Output(1),) * actions)


def group(number: int, buckets: int = 1, actions: int = 1) -> Group:
    return Group(number, GroupType.SELECT, (Bucket((Output(1),) * actions),) * buckets)


def test_rules_up_to_the_bounds_are_kept_and_others_counted():
    read = RulesRead(BOUNDS, lambda: None)
    for number in range(2):
        read.flow(flow(number))
        read.flow(None)
    read.flow(STRAY)
    for number in range(2):
        read.group(group(number))
        read.group(None)
        read.meter(Meter(number, 1, 1))
        read.meter(None)

    meters = frozenset({Meter(0, 1, 1), Meter(1, 1, 1)})
    rules = SwitchRules(frozenset(map(flow, range(2))), frozenset(map(group, range(2))), meters)
    assert read.tables == TablesRead(rules, 2, frozenset({STRAY}))


def test_what_bears_our_mark_counts_as_ours():
    read = RulesRead(BOUNDS, lambda: None)
    read.group(7)
    read.meter(8)
    assert read.tables == TablesRead(SwitchRules(), 0, frozenset(), frozenset({7}), frozenset({8}))


@pytest.mark.parametrize(
    ("what", "take"),
    [
        ("4 flows, more than 3,", lambda read, number: read.flow(flow(number))),
        ("4 flows, more than 3,", lambda read, number: read.flow(replace(STRAY, priority=number))),
        ("3 groups, more than 2,", lambda read, number: read.group(group(number))),
        ("3 groups, more than 2,", lambda read, number: read.group(number)),
        ("3 meters, more than 2,", lambda read, number: read.meter(number)),
        ("3 meters, more than 2,", lambda read, number: read.meter(Meter(number, 1, 1))),
        ("actions and buckets, more than 10,", lambda read, number: read.flow(flow(number, actions=6))),
        ("actions and buckets, more than 10,", lambda read, number: read.group(group(number, buckets=6, actions=0))),
        ("actions and buckets, more than 10,", lambda read, number: read.group(group(number, actions=6))),
    ],
)
def test_a_switch_that_holds_more_than_is_ever_made_breaks_a_rule(what: str, take):
    read = RulesRead(BOUNDS, lambda: None)

    with pytest.raises(Violation, match=what) as broken:
        all(take(read, number) is None for number in range(10))
    assert broken.value.kind == "reply"
    assert "marked as ours" in str(broken.value)


def test_others_get_their_turn_after_each_rule_ours_or_not():
    rests: list[None] = []
    read = RulesRead(BOUNDS, lambda: rests.append(None))

    read.flow(flow(1))
    read.flow(None)
    read.group(None)
    read.meter(None)

    assert len(rests) == 4


def test_a_plan_is_measured_by_the_same_bounds():
    assert BOUNDS.excess(SwitchRules(frozenset(map(flow, range(3))))) is None
    assert BOUNDS.excess(SwitchRules(frozenset(map(flow, range(4))))) == "4 flows, more than 3,"
    assert BOUNDS.excess(SwitchRules(groups=frozenset(map(group, range(3))))) == "3 groups, more than 2,"
    meters = frozenset(Meter(number, 1, 1) for number in range(3))
    assert BOUNDS.excess(SwitchRules(meters=meters)) == "3 meters, more than 2,"
    crowded = SwitchRules(frozenset({flow(1, actions=3)}), frozenset({group(1, buckets=2, actions=3)}))
    assert BOUNDS.excess(crowded) == "11 actions and buckets, more than 10,"
    assert RULE_BOUNDS.flows == 32_768
