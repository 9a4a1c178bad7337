"""What others change of our rules is told and put right within seconds; what is theirs is left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from memory_fabric import FABRIC, World

from controller import audit
from controller.drift import Rule
from controller.service import JobState
from controller.strays import RemoveStray, RestoreGroup, StrayFlow
from dataplane.rules import FlowRule, Group, Match, Output, SwitchRules, Table
from dataplane.update import AddFlow, AddGroup, ChangeMeter, Operation, RemoveFlow
from workloads.job import Job

EVERYBODY = tuple(f"h{n}" for n in (1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 4, 8, 12, 16))
WITHIN_S = 8.0
"""Between the tampering and the healing, of the ten seconds that are promised."""


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state").up()
    world.core.submit_job(Job("r", EVERYBODY, 1 << 20))
    world.run(8)
    world.log.clear()
    yield world
    world.end()


def told(world: World, kind: str) -> list[str]:
    return [event.message for event in world.core.events() if event.kind == kind]


def labelled(world: World, dpid: int) -> FlowRule:
    """A rule by which planned packets are forwarded."""
    flows = (flow for flow in world.tables[dpid].flows if flow.match.mpls_label and flow.priority == 100)
    return min(flows, key=lambda flow: flow.cookie)


def changed(flow: FlowRule) -> StrayFlow:
    """As ``ovs-ofctl mod-flows`` leaves a flow: other actions, the same cookie and match."""
    return StrayFlow(int(flow.table), flow.priority, flow.cookie, b"m", flow.key)


def done(world: World) -> list[object]:
    return [operation for _, operation in world.log]


def test_rules_that_nobody_touched_are_read_and_left_alone(world: World) -> None:
    reads = 0

    def count() -> None:
        nonlocal reads
        reads += 1

    world.while_reading = count
    world.run(60)
    switches, rounds = len(world.tables), 60 / audit.EVERY_S
    assert switches * (rounds - 2) <= reads <= switches * (rounds + 1)
    assert world.log == []
    assert told(world, "rules-drifted") == []


def test_a_rule_that_was_deleted_is_put_back_alone(world: World) -> None:
    dpid = world.dpid("c1")
    before, flow = world.tables[dpid], labelled(world, dpid)
    world.tamper(dpid, flow)
    world.run(WITHIN_S)
    assert world.tables[dpid] == before
    assert done(world) == [AddFlow(flow)]
    (message,) = told(world, "rules-drifted")
    assert "c1" in message
    assert "1 missing, 0 altered, 0 never sent" in message


def test_a_rule_that_was_changed_is_replaced(world: World) -> None:
    dpid = world.dpid("c1")
    before, flow = world.tables[dpid], labelled(world, dpid)
    world.tamper(dpid, flow, changed(flow))
    world.run(WITHIN_S)
    assert (world.tables[dpid], world.strays[dpid]) == (before, set())
    assert done(world) == [AddFlow(flow)]
    assert "0 missing, 1 altered, 0 never sent" in told(world, "rules-drifted")[0]


def test_a_rule_whose_match_was_changed_is_put_back_before_the_changed_one_goes(world: World) -> None:
    dpid = world.dpid("c1")
    before, flow = world.tables[dpid], labelled(world, dpid)
    stray = replace(changed(flow), match=b"other", key=None)
    world.tamper(dpid, flow, stray)
    world.run(WITHIN_S)
    assert (world.tables[dpid], world.strays[dpid]) == (before, set())
    assert done(world) == [AddFlow(flow), RemoveStray(stray)]
    assert len(told(world, "rules-drifted")) == 1


def test_flows_under_our_mark_that_were_never_sent_go(world: World) -> None:
    dpid = world.dpid("c1")
    before = world.tables[dpid]
    genuine = FlowRule(Table.TRANSIT, 7, Match(in_port=1), (Output(2),))
    stray = StrayFlow(77, 1, genuine.cookie + 1, b"x", None)
    world.strays[dpid].add(stray)
    world.tables[dpid] = replace(before, flows=before.flows | {genuine})
    world.run(WITHIN_S)
    assert (world.tables[dpid], world.strays[dpid]) == (before, set())
    assert sorted(done(world), key=str) == [RemoveFlow(genuine), RemoveStray(stray)]


@pytest.mark.parametrize("readable", [True, False])
def test_a_group_that_was_changed_gets_its_content_back_and_no_flow_is_touched(world: World, readable: bool) -> None:
    dpid = world.dpid("e0-0")
    before = world.tables[dpid]
    group = min(before.groups, key=lambda group: group.id)
    if readable:
        world.tamper(dpid, group)
        other = Group(group.id, group.type, group.buckets[:1])
        world.tables[dpid] = replace(world.tables[dpid], groups=world.tables[dpid].groups | {other})
    else:
        world.tamper(dpid, group, group.id)
    world.run(WITHIN_S)
    assert (world.tables[dpid], world.strays[dpid]) == (before, set())
    assert done(world) == [RestoreGroup(group)]
    assert "0 missing, 1 altered" in told(world, "rules-drifted")[0]


def test_a_group_that_was_deleted_with_its_flows_is_back_with_them(world: World) -> None:
    dpid = world.dpid("e0-0")
    before = world.tables[dpid]
    group = min(before.groups, key=lambda group: group.id)
    users = {flow for flow in before.flows if any(getattr(act, "group_id", 0) == group.id for act in flow.actions)}
    assert users
    world.tables[dpid] = replace(before, groups=before.groups - {group}, flows=before.flows - users)
    world.run(WITHIN_S)
    assert world.tables[dpid] == before
    first, *others = done(world)
    assert first == AddGroup(group)
    assert {operation.flow for operation in others} == users


@pytest.mark.parametrize("readable", [True, False])
def test_a_meter_that_was_changed_gets_its_rate_back(world: World, readable: bool) -> None:
    dpid = world.dpid("e0-0")
    before = world.tables[dpid]
    meter = min(before.meters, key=lambda meter: meter.id)
    if readable:
        world.tamper(dpid, meter)
        world.tables[dpid] = replace(
            world.tables[dpid], meters=world.tables[dpid].meters | {replace(meter, rate_pps=1_000_000)}
        )
    else:
        world.tamper(dpid, meter, meter.id)
    world.run(WITHIN_S)
    assert (world.tables[dpid], world.strays[dpid]) == (before, set())
    assert done(world) == [ChangeMeter(meter)]


def test_all_rules_of_a_switch_are_back_in_an_order_in_which_nothing_is_let_in_too_early(world: World) -> None:
    dpid = world.dpid("e0-0")
    before = world.tables[dpid]
    world.tables[dpid] = SwitchRules()
    world.run(WITHIN_S)
    assert world.tables[dpid] == before
    tables = [operation.flow.table for operation in done(world) if isinstance(operation, AddFlow)]
    assert tables == sorted(tables, reverse=True)


def test_flows_of_others_are_left_alone_and_told_of_once_for_each_number(world: World) -> None:
    world.foreign = 3
    world.run(30)
    assert len([message for message in told(world, "foreign-rules") if "has 3 flows" in message]) == len(world.tables)
    assert len(told(world, "foreign-rules")) == len(world.tables)
    world.foreign = 0
    world.run(30)
    assert len(told(world, "foreign-rules")) == 2 * len(world.tables)
    assert world.log == []


def test_while_plans_change_all_the_time_nothing_is_undone_and_drift_is_healed(world: World) -> None:
    for switch in world.switches.values():
        switch.commit_s = 0.2
    world.switches[world.dpid("e3-1")].commit_s = 1.0
    for turn in range(12):
        world.core.submit_job(Job(f"j{turn}", ("h2", "h6", "h10", "h14")[: 2 + turn % 3], 1 << 20))
        world.run(1.7)
        world.core.remove_job(f"j{turn}")
        world.run(0.9)
    world.run(10)
    assert told(world, "rules-drifted") == []
    flow = labelled(world, world.dpid("c1"))
    world.tamper(world.dpid("c1"), flow)
    for turn in range(6):
        world.core.submit_job(Job(f"k{turn}", ("h2", "h6"), 1 << 20))
        world.run(1.5)
    assert len(told(world, "rules-drifted")) == 1
    assert world.lost(world.planned_pairs()) == {}


def test_what_a_switch_says_in_other_words_is_told_once_and_left_so(world: World) -> None:
    dpid = world.dpid("c1")
    flow = labelled(world, dpid)
    stray = replace(changed(flow), match=b"its own words", key=None)
    apply = world.apply

    def in_its_words(at: int, operations: object) -> None:
        apply(at, operations)
        if at == dpid and flow in world.tables[dpid].flows:
            world.tamper(dpid, flow, stray)

    world.apply = in_its_words
    world.tamper(dpid, flow, stray)
    world.run(60)
    assert world.strays[dpid] == {stray}
    assert len(told(world, "rules-drifted")) == 1
    assert len(told(world, "rules-otherwise")) == 1
    assert done(world) == [AddFlow(flow)]


def test_a_switch_that_refuses_to_be_put_right_is_planned_round(world: World) -> None:
    dpid = world.dpid("c1")
    flow = labelled(world, dpid)
    world.switches[dpid].refuses = lambda operations: (
        "TABLE_FULL" if any(getattr(each, "flow", None) == flow for each in operations) else None
    )
    world.tamper(dpid, flow)
    world.run(40)
    assert world.lost(world.planned_pairs()) == {}
    assert world.core.jobs()[0].state is JobState.ACTIVE
    assert "rule-refused" in {event.kind for event in world.core.events()}


def test_a_switch_that_does_not_answer_keeps_no_other_from_being_looked_at(world: World) -> None:
    for name in ("c1", "c2", "c3"):
        world.switches[world.dpid(name)].read_s = 1e6
    flow = labelled(world, world.dpid("c4"))
    world.tamper(world.dpid("c4"), flow)
    world.run(WITHIN_S)
    assert flow in world.tables[world.dpid("c4")].flows


def test_a_restarted_daemon_sends_nothing_that_is_there_and_removes_what_was_changed_meanwhile(world: World) -> None:
    dpid = world.dpid("c1")
    rules, flow = world.installed(), labelled(world, dpid)
    world.end()
    world.log.clear()
    stray = StrayFlow(2, 3, flow.cookie + 1, b"x", None)
    world.tamper(dpid, flow, changed(flow), stray)
    world.start()
    world.connect()
    world.run(15)
    assert world.installed() == rules
    assert done(world) == [AddFlow(flow), RemoveStray(stray)]


@pytest.mark.parametrize("kind", ["group", "meter"])
@pytest.mark.parametrize("restart", [False, True], ids=["channel", "restart"])
def test_what_was_changed_behind_our_back_is_replaced_when_the_switch_is_back(
    world: World, kind: str, restart: bool
) -> None:
    dpid = world.dpid("e0-0")
    before = world.tables[dpid]
    rule = min(before.groups if kind == "group" else before.meters, key=lambda rule: rule.id)
    if restart:
        world.end()
        world.tamper(dpid, rule, rule.id)
        world.start()
        world.connect()
    else:
        world.disconnect(dpid, "closed")
        world.tamper(dpid, rule, rule.id)
        world.run(1)
        world.reconnect(dpid)
    world.run(40)
    assert world.strays[dpid] == set()
    assert {(group.type, group.buckets) for group in world.tables[dpid].groups} == {
        (group.type, group.buckets) for group in before.groups
    }
    assert world.tables[dpid].meters == before.meters
    assert told(world, "switch-left") == []
    assert world.core.jobs()[0].state is JobState.ACTIVE


def refusing_once(world: World, dpid: int, rule: Rule) -> list[bool]:
    """A switch says no to a rule, the first time; by time, whether an installation was under way."""
    refused: list[bool] = []

    def refuses(operations: Sequence[Operation]) -> str | None:
        rules = [getattr(each, "flow", getattr(each, "meter", None)) for each in operations]
        if refused or rule not in rules:
            return None
        refused.append(world.core._installer.busy)
        return "TABLE_FULL"

    world.switches[dpid].refuses = refuses
    return refused


def test_a_meter_that_a_switch_refused_once_is_tried_again(world: World) -> None:
    dpid = world.dpid("e0-0")
    before = world.tables[dpid]
    meter = min(before.meters, key=lambda meter: meter.id)
    refused = refusing_once(world, dpid, meter)
    world.tamper(dpid, meter)
    world.run(40)
    assert refused == [False]
    assert world.tables[dpid] == before


def test_a_rule_that_a_switch_refused_once_while_others_were_updated_is_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path / "state").up()
    world.run(8)
    dpid, slow = world.dpid("c1"), world.dpid("a3-1")
    flow = min((flow for flow in world.tables[dpid].flows if flow.table is Table.DEFAULT), key=lambda flow: flow.cookie)
    refused = refusing_once(world, dpid, flow)
    world.switches[slow].commit_s = 8
    world.cut(min(link.id for link in FABRIC.links if (link.source, link.target) == ("a3-1", "c4")))
    world.run(0.5)
    world.tamper(dpid, flow)
    world.run(8)
    assert refused == [True]
    if dpid not in world.connected:
        world.reconnect(dpid)
    world.run(40)
    assert flow in world.tables[dpid].flows
    world.end()
