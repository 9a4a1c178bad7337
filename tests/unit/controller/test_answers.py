"""Answers arrive as they were sent, however little of them travels."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from controller.answers import Lengthener, ShortAnswer, Shortener
from controller.planning import PlanAnswer
from dataplane.rules import Bucket, FlowRule, Group, GroupType, Match, Meter, Output, RuleSet, SwitchRules, Table

FLOWS = tuple(FlowRule(Table.TRANSIT, 100, Match(mpls_label=label), (Output(1),)) for label in range(16, 22))
GROUPS = tuple(Group(number, GroupType.SELECT, (Bucket((Output(number),)),)) for number in range(1, 4))
METERS = tuple(Meter(number, 10, 10) for number in range(1, 3))


def subsets(items: tuple) -> st.SearchStrategy:
    return st.frozensets(st.sampled_from(items))


RULES = st.builds(SwitchRules, subsets(FLOWS), subsets(GROUPS), subsets(METERS))
RULE_SETS: st.SearchStrategy[RuleSet] = st.dictionaries(st.sampled_from(["s1", "s2", "s3"]), RULES)


def travelled(short: ShortAnswer) -> ShortAnswer:
    return pickle.loads(pickle.dumps(short))


@given(st.lists(RULE_SETS, max_size=5))
def test_every_answer_arrives_whole(sent: list[RuleSet]) -> None:
    shortener, lengthener = Shortener(), Lengthener()
    for rules in sent:
        answer = PlanAnswer(rules, None, {"j": "why"})
        assert lengthener.lengthen(travelled(shortener.shorten(answer))) == answer


def test_what_stays_does_not_travel_and_stays_the_same_object() -> None:
    shortener, lengthener = Shortener(), Lengthener()
    rules = {"s1": SwitchRules(frozenset(FLOWS)), "s2": SwitchRules(frozenset(FLOWS[:1]))}
    first = lengthener.lengthen(travelled(shortener.shorten(PlanAnswer(rules, None))))
    less = SwitchRules(frozenset(FLOWS[1:]), frozenset(GROUPS))
    short = shortener.shorten(PlanAnswer({"s1": less, "s2": SwitchRules(frozenset(FLOWS[:1]))}, None))
    assert set(short.changes) == {"s1"}
    assert short.changes["s1"].gone == SwitchRules(frozenset(FLOWS[:1]))
    assert short.changes["s1"].come == SwitchRules(groups=frozenset(GROUPS))
    second = lengthener.lengthen(travelled(short))
    assert second.rules["s1"] == less
    assert second.rules["s2"] is first.rules["s2"]


def test_a_rule_that_has_travelled_is_found_among_its_equals() -> None:
    assert hash(FLOWS[0]) == hash(pickle.loads(pickle.dumps(FLOWS[0])))
    assert pickle.loads(pickle.dumps(FLOWS[0])) in set(FLOWS)
