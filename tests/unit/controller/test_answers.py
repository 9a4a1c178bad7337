"""Answers arrive as they were sent, however little of them travels."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from controller.answers import Lengthener, Shortener
from controller.planning import PlanAnswer, PlanRequest
from controller.service import PlannedPath, PlanStatus
from dataplane.compiler import DefaultRouting
from dataplane.detours import Tunnel
from dataplane.rules import Bucket, FlowRule, Group, GroupType, Match, Meter, Output, RuleSet, SwitchRules, Table
from solver.routing import Objective
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree

Short = TypeVar("Short")

FLOWS = tuple(FlowRule(Table.TRANSIT, 100, Match(mpls_label=label), (Output(1),)) for label in range(16, 22))
GROUPS = tuple(Group(number, GroupType.SELECT, (Bucket((Output(number),)),)) for number in range(1, 4))
METERS = tuple(Meter(number, 10, 10) for number in range(1, 3))


def subsets(items: tuple) -> st.SearchStrategy:
    return st.frozensets(st.sampled_from(items))


RULES = st.builds(SwitchRules, subsets(FLOWS), subsets(GROUPS), subsets(METERS))
RULE_SETS: st.SearchStrategy[RuleSet] = st.dictionaries(st.sampled_from(["s1", "s2", "s3"]), RULES)


def travelled(short: Short) -> Short:
    return pickle.loads(pickle.dumps(short))  # noqa: S301


PATHS = tuple(
    PlannedPath("j", "h1", f"h{n}", 15 + n, (LinkId("h1", 1), LinkId("s1", n)), rate_bps)
    for n in range(2, 6)
    for rate_bps in (1e9, 2e9)
)
PLANS = st.none() | st.builds(
    PlanStatus, st.integers(1, 9), st.just(1), st.just("min-delay"), *[st.just(0.5)] * 6, st.just("e"), st.just("r"),
    st.lists(st.sampled_from(PATHS), unique=True).map(tuple),
)  # fmt: skip


@given(st.lists(st.tuples(RULE_SETS, PLANS), max_size=5))
def test_every_answer_arrives_whole(sent: list[tuple[RuleSet, PlanStatus | None]]) -> None:
    shortener, lengthener = Shortener(), Lengthener()
    for rules, plan in sent:
        answer = PlanAnswer(rules, plan, {"j": "why"})
        assert lengthener.lengthen(travelled(shortener.shorten(answer))) == answer


@given(PLANS, PLANS)
def test_every_request_arrives_whole(first: PlanStatus | None, other: PlanStatus | None) -> None:
    shortener, lengthener = Shortener(), Lengthener()
    got = lengthener.lengthen(travelled(shortener.shorten(PlanAnswer({}, first))))
    for plan, travels in ((got.plan, first is None), (other, True), (None, True)):
        request = PlanRequest(Fabric((), ()), {}, (), DefaultRouting.ECMP, 0.95, Objective.MIN_DELAY, active=plan)
        short = travelled(lengthener.short_request(request))
        assert shortener.whole_request(short) == request
        assert (short.request.active == plan) is (travels or plan is None)


def test_of_fabrics_and_paths_only_differences_travel() -> None:
    shortener, lengthener = Shortener(), Lengthener()
    whole = fat_tree(4, capacity_bps=1e9, delay_s=1e-6)
    cable = next(link for link in whole.links if link.source.startswith("a") and link.target.startswith("c"))
    less = whole.without_links([cable.id, cable.reverse_id], version=7)
    other = replace(whole, links=(replace(whole.links[0], capacity_bps=2e9), *whole.links[1:]))
    detours = {Tunnel((LinkId("s1", 1), LinkId("s2", 1)), 0x0800): 99}
    plans = [
        PlanStatus(1, 1, "min-delay", *[0.5] * 6, "e", "r", paths)
        for paths in (PATHS[::2], (PATHS[0], PATHS[3], PATHS[6]))
    ]
    answers = [
        lengthener.lengthen(travelled(shortener.shorten(PlanAnswer({}, plan, detours=detours)))) for plan in plans
    ]
    assert [answer.plan for answer in answers] == plans
    asked = PlanRequest(whole, {}, (), DefaultRouting.ECMP, 0.95, Objective.MIN_DELAY, active=answers[1].plan)
    asked = replace(asked, detours=answers[1].detours)
    sizes = []
    for fabric, solved_on in ((whole, None), (less, whole), (less, less), (whole, less), (other, whole)):
        request = replace(asked, fabric=fabric, solved_on=solved_on)
        short = lengthener.short_request(request)
        sizes.append(len(pickle.dumps(short)))
        got = shortener.whole_request(travelled(short))
        assert (got, got.fabric.version) == (request, fabric.version)
    assert sizes[1] < sizes[0] / 10


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
    flow = pickle.loads(pickle.dumps(FLOWS[0]))  # noqa: S301
    assert hash(flow) == hash(FLOWS[0])
    assert flow in set(FLOWS)
