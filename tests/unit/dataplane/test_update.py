"""An update changes only what differs, and no packet meets half of it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.labels import allocate
from dataplane.rules import METER_ID_BASE, Meter, SwitchRules, Table
from dataplane.testing import labelled_paths, ways
from dataplane.update import (
    AddFlow,
    ChangeMeter,
    RemoveFlow,
    RemoveGroup,
    apply_operations,
    apply_stage,
    difference,
    stages,
)
from solver.testing import fabrics
from topologies.fat_tree import fat_tree

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
    default = data.draw(st.sampled_from(DefaultRouting))
    before = data.draw(labelled_paths(fabric))
    kept = [path for path in before if data.draw(st.booleans())]
    fresh = data.draw(labelled_paths(fabric))
    labels = allocate(len(fresh), {path.label for path in before})
    pairs = {(path.source, path.target) for path in kept}
    after = kept + [
        type(path)(path.source, path.target, path.links, label)
        for path, label in zip(fresh, labels, strict=True)
        if (path.source, path.target) not in pairs
    ]
    old, new = compile_rules(fabric, default=default, paths=before), compile_rules(fabric, default=default, paths=after)
    hosts = [host.id for host in fabric.hosts]
    everyone = [(a, b) for a in hosts for b in hosts if a != b]
    allowed = {pair: ways(fabric, old, *pair) | ways(fabric, new, *pair) for pair in everyone}
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
    assert {op.flow.table for ops in first.operations.values() for op in ops} == {Table.TRANSIT}
    assert {op.flow.table for ops in second.operations.values() for op in ops} == {Table.CLASSIFY}
    assert len(first.operations) == 5


def test_a_meter_with_new_content_is_changed_in_place() -> None:
    old, new = Meter(METER_ID_BASE, 10, 10), Meter(METER_ID_BASE, 20, 20)
    (stage,) = stages({"s1": SwitchRules(meters=frozenset({old}))}, {"s1": SwitchRules(meters=frozenset({new}))})
    assert stage.operations == {"s1": (ChangeMeter(new),)}
