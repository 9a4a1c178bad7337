"""An update changes only what differs, and no packet meets half of it."""

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.pipeline import SwitchPipeline
from dataplane.rules import (
    GROUP_ID_BASE,
    GROUP_ID_END,
    METER_ID_BASE,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Match,
    Meter,
    Output,
    RuleSet,
    SwitchRules,
    Table,
    ToGroup,
)
from dataplane.spread import free_id
from dataplane.testing import free_labels, labelled_paths, ways
from dataplane.update import (
    AddFlow,
    AddGroup,
    ChangeMeter,
    RemoveFlow,
    RemoveGroup,
    Stage,
    apply_operations,
    apply_stage,
    difference,
    stages,
)
from solver.testing import fabrics
from topologies.fat_tree import fat_tree
from topologies.shortest import distances

K4 = fat_tree(4, capacity_bps=1e7, delay_s=1e-6)


@given(st.data())
@settings(max_examples=40)
def test_the_stages_lead_from_the_old_rules_to_the_new(data: st.DataObject) -> None:
    fabric = data.draw(fabrics())
    old = compile_rules(
        fabric, default=data.draw(st.sampled_from(DefaultRouting)), paths=data.draw(labelled_paths(fabric))
    )
    new = compile_rules(
        fabric, default=data.draw(st.sampled_from(DefaultRouting)), paths=data.draw(labelled_paths(fabric))
    )
    rules = old
    for stage in stages(old, new):
        rules = apply_stage(rules, stage)
    assert rules == new
    assert stages(new, new) == ()


@given(st.data())
@settings(max_examples=40)
def test_between_any_two_operations_every_pair_takes_a_whole_path_of_one_plan(data: st.DataObject) -> None:
    fabric = data.draw(fabrics(max_switches=5, max_hosts=4))
    default, next_default = data.draw(st.sampled_from(DefaultRouting)), data.draw(st.sampled_from(DefaultRouting))
    before = data.draw(labelled_paths(fabric))
    kept = [path for path in before if data.draw(st.booleans())]
    fresh = data.draw(labelled_paths(fabric))
    labels = free_labels(len(fresh), {path.label for path in before})
    pairs = {(path.source, path.target) for path in kept}
    after = kept + [
        type(path)(path.source, path.target, path.links, label)
        for path, label in zip(fresh, labels, strict=True)
        if (path.source, path.target) not in pairs
    ]
    old = compile_rules(fabric, default=default, paths=before)
    new = compile_rules(fabric, default=next_default, paths=after)
    hosts = [host.id for host in fabric.hosts]
    everyone = [(a, b) for a in hosts for b in hosts if a != b]
    allowed = {pair: ways(fabric, old, *pair) | ways(fabric, new, *pair) for pair in everyone}
    # A pair that enters or leaves the plan may meet default routing of either kind; one that stays in it may not.
    always = {(path.source, path.target) for path in before} & {(path.source, path.target) for path in after}
    by_default = [compile_rules(fabric, default=kind) for kind in (default, next_default)]
    for pair in everyone:
        if pair not in always:
            allowed[pair] |= ways(fabric, by_default[0], *pair) | ways(fabric, by_default[1], *pair)
    rules = old
    for stage in stages(old, new):
        # Switches of one stage proceed at their own pace: stop each of them anywhere.
        partial = {
            switch: apply_operations(rules[switch], operations[: data.draw(st.integers(0, len(operations)))])
            for switch, operations in stage.operations.items()
        }
        for pair in everyone:
            assert ways(fabric, {**rules, **partial}, *pair) <= allowed[pair]
        rules = apply_stage(rules, stage)


def _one_ahead_and_one_behind(rules: RuleSet, stage: Stage) -> Iterator[RuleSet]:
    """Where each switch in turn has carried out a stage before all others, and after all others."""
    for chosen in stage.operations:
        for ahead in (True, False):
            yield {
                switch: apply_operations(have, stage.operations.get(switch, ()))
                if (switch == chosen) is ahead
                else have
                for switch, have in rules.items()
            }


@given(st.data())
@settings(max_examples=60)
def test_planned_packets_cross_links_that_come_or_go_with_the_update(data: st.DataObject) -> None:
    whole = data.draw(fabrics(max_switches=5, max_hosts=4))
    switches = {node.id for node in whole.switches}
    there = data.draw(labelled_paths(whole))
    inner = sorted({link for path in there for link in path.links[1:-1]})
    chosen = data.draw(st.sets(st.sampled_from(inner), min_size=1)) if inner else set()
    gone = chosen | {whole.link_by_id[link].reverse_id for link in chosen}
    part = whole.without_links(gone)
    there = tuple(path for path in there if path.source in distances(part, path.target))
    drawn = data.draw(labelled_paths(part, [(path.source, path.target) for path in there]))
    labels = free_labels(len(drawn), {path.label for path in there})
    here = [replace(path, label=label) for path, label in zip(drawn, labels, strict=True)]
    # What is no link yet may look like a port for hosts.
    edge = {switch: frozenset(link.port for link in gone if link.node == switch) for switch in switches}
    without = compile_rules(part, default=DefaultRouting.ECMP, paths=here)
    mistaken = compile_rules(part, default=DefaultRouting.ECMP, paths=here, edge_ports=edge)
    along = compile_rules(whole, default=DefaultRouting.ECMP, paths=there)
    for rules, target in ((without, along), (along, without), (mistaken, along)):
        for stage in stages(rules, target):
            for between in _one_ahead_and_one_behind(rules, stage):
                for one, other in zip(here, there, strict=True):
                    assert ways(whole, between, one.source, one.target) <= {one.links, other.links}
            rules = apply_stage(rules, stage)
        assert rules == target


def test_a_rule_that_stays_is_not_touched() -> None:
    rules = compile_rules(K4, default=DefaultRouting.ECMP)
    nothing = difference(rules["e0-0"], rules["e0-0"])
    assert not any(getattr(nothing, name) for name in nothing.__slots__)


def test_groups_go_after_the_flows_that_use_them_and_come_before() -> None:
    ecmp = compile_rules(K4, default=DefaultRouting.ECMP)
    shortest = compile_rules(K4, default=DefaultRouting.SHORTEST)
    order = [operation for stage in stages(ecmp, shortest) for operation in stage.operations.get("e0-0", ())]
    kinds = [type(operation) for operation in order]
    assert kinds.index(RemoveGroup) > max(i for i, kind in enumerate(kinds) if kind in (AddFlow, RemoveFlow))
    back = [operation for stage in stages(shortest, ecmp) for operation in stage.operations.get("e0-0", ())]
    groups = [i for i, operation in enumerate(back) if type(operation).__name__ == "AddGroup"]
    assert max(groups) < min(i for i, operation in enumerate(back) if isinstance(operation, AddFlow))


def test_new_labels_are_everywhere_before_any_ingress_pushes_them() -> None:
    plain = compile_rules(K4, default=DefaultRouting.ECMP)
    (path,) = {way for way in ways(K4, plain, "h1", "h16") if way[2].port == 4 and way[1].port == 4}
    planned = compile_rules(K4, default=DefaultRouting.ECMP, paths=[LabelledPath("h1", "h16", path, 16)])
    first, second = stages(plain, planned)
    flows = [op.flow for ops in first.operations.values() for op in ops if isinstance(op, AddFlow)]
    assert {flow.table for flow in flows} == {Table.TRANSIT}
    assert {op.flow.table for ops in second.operations.values() for op in ops} == {Table.CLASSIFY}
    assert len(first.operations) == 5


@st.composite
def switches_with_clashing_ids(draw: st.DrawFn) -> SwitchRules:
    """Routes by a few groups whose ids come from so small a range that contents and ids hardly ever agree."""
    ports = draw(st.permutations([1, 2, 3]).map(lambda order: order[: draw(st.integers(0, 3))]))
    ids = draw(st.lists(st.integers(GROUP_ID_END - 2, GROUP_ID_END - 1), max_size=3))
    groups: dict[int, Group] = {}
    for port, group_id in zip(ports, ids, strict=False):
        free = free_id(group_id, groups.__contains__)
        groups[free] = Group(free, GroupType.SELECT, (Bucket((Output(port),), watch_port=port),))
    flows = {
        FlowRule(Table.DEFAULT, 5, Match(in_port=in_port), (ToGroup(draw(st.sampled_from(sorted(groups)))),))
        for in_port in draw(st.sets(st.integers(1, 4)))
        if groups
    }
    return SwitchRules(frozenset(flows), frozenset(groups.values()))


def _meaning(rules: SwitchRules) -> set[tuple[Match, tuple[Bucket, ...]]]:
    groups = {group.id: group.buckets for group in rules.groups}
    return {(flow.match, groups[flow.actions[0].group_id]) for flow in rules.flows}


@given(switches_with_clashing_ids(), switches_with_clashing_ids())
def test_a_group_id_never_changes_its_meaning(old: SwitchRules, new: SwitchRules) -> None:
    rules = old
    for stage in stages({"s1": old}, {"s1": new}):
        for operation in stage.operations["s1"]:
            if isinstance(operation, AddGroup):
                assert operation.group.id not in {group.id for group in rules.groups}
            rules = apply_operations(rules, [operation])
            SwitchPipeline("s1", rules)
            assert _meaning(rules) <= _meaning(old) | _meaning(new)
    assert _meaning(rules) == _meaning(new)
    assert {group.buckets for group in rules.groups} == {group.buckets for group in new.groups}


@given(switches_with_clashing_ids(), switches_with_clashing_ids())
def test_what_is_added_to_a_switch_keeps_what_it_has(old: SwitchRules, new: SwitchRules) -> None:
    keys = {flow.key for flow in old.flows}
    fresh = {flow for flow in new.flows if flow.key not in keys}
    change = difference(old, SwitchRules(old.flows | fresh, old.groups | new.groups))
    assert (change.replaced, change.remove_flows, change.remove_groups) == ((), (), ())
    after = apply_operations(old, change.additions())
    assert _meaning(after) == _meaning(old) | _meaning(replace(new, flows=frozenset(fresh)))


def test_ids_wrap_round_in_their_range() -> None:
    assert free_id(GROUP_ID_END - 1, {GROUP_ID_END - 1}.__contains__) == GROUP_ID_BASE


def test_a_meter_with_new_content_is_changed_in_place() -> None:
    old, new = Meter(METER_ID_BASE, 10, 10), Meter(METER_ID_BASE, 20, 20)
    (stage,) = stages({"s1": SwitchRules(meters=frozenset({old}))}, {"s1": SwitchRules(meters=frozenset({new}))})
    assert stage.operations == {"s1": (ChangeMeter(new),)}
