"""A switch read after a change is read as from nothing, and what stays is not looked at again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.addresses import AddressSpace, cuts
from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.fates import Unreadable
from dataplane.pipeline import RuleError, SwitchPipeline
from dataplane.reading import SwitchReading
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
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
from dataplane.testing import labelled_paths, mutated
from solver.testing import fabrics


@st.composite
def changes(draw: st.DrawFn) -> tuple[RuleSet, RuleSet]:
    """Rules of a fabric before and after something changed."""
    fabric = draw(fabrics(max_switches=4, max_hosts=4))
    before = compile_rules(fabric, default=DefaultRouting.ECMP, paths=draw(labelled_paths(fabric)))
    after = compile_rules(fabric, default=DefaultRouting.SHORTEST, paths=draw(labelled_paths(fabric)))
    if draw(st.booleans()):
        after = draw(mutated(draw(st.sampled_from([before, after]))))
    return before, after


def outcome(name: str, rules: SwitchRules, before: SwitchPipeline | None = None) -> object:
    """The tables that some rules make, or the kind of error."""
    try:
        pipeline = SwitchPipeline(name, rules, before)
    except RuleError:
        return RuleError
    tables = {
        table: {(shape.priority, shape.masks): shape.rules for shape in shapes}
        for table, shapes in pipeline.tables.items()
    }
    falling = all(
        [shape.priority for shape in shapes] == sorted((shape.priority for shape in shapes), reverse=True)
        for shapes in pipeline.tables.values()
    )
    return tables, falling


@given(changes())
@settings(max_examples=60)
def test_tables_after_a_change_are_those_made_from_nothing(drawn: tuple[RuleSet, RuleSet]) -> None:
    before, after = drawn
    for name in before:
        old = SwitchPipeline(name, before[name])
        was = {table: list(shapes) for table, shapes in old.tables.items()}
        assert outcome(name, after[name], old) == outcome(name, after[name])
        assert outcome(name, before[name]) == outcome(name, before[name], old)
        assert old.tables == was


def test_a_table_in_which_nothing_changed_is_the_same_list() -> None:
    old = SwitchPipeline("s1", SwitchRules(frozenset({rule(1), rule(2, table=Table.TRANSIT)})))
    new = SwitchPipeline("s1", SwitchRules(frozenset({rule(1), rule(3, table=Table.TRANSIT)})), old)
    assert new.tables[Table.GUARD] is old.tables[Table.GUARD]
    assert new.tables[Table.TRANSIT] is not old.tables[Table.TRANSIT]


def rule(priority: int, table: Table = Table.GUARD) -> FlowRule:
    return FlowRule(table, priority, Match(in_port=1))


def test_a_rule_that_stays_while_its_group_or_meter_goes_is_refused() -> None:
    group = Group(5, GroupType.SELECT, (Bucket((Output(1),)),))
    stays = FlowRule(Table.GUARD, 1, Match(), (ToGroup(5),), meter_id=6)
    whole = SwitchRules(frozenset({stays}), frozenset({group}), frozenset({Meter(6, 1, 1)}))
    old = SwitchPipeline("s1", whole)
    for lacking in (replace(whole, groups=frozenset()), replace(whole, meters=frozenset())):
        with pytest.raises(RuleError, match="s1 has no"):
            SwitchPipeline("s1", lacking, old)


def told(reading: SwitchReading, space: AddressSpace) -> object:
    """All that is read of a switch, in terms that two readings share; or that it cannot be read."""

    def fates(doing: int, *, labelled: bool) -> object:
        return [reading.fates.of(doing, kind, labelled=labelled) for kind in (ETH_TYPE_IPV4, ETH_TYPE_ARP)]

    try:
        routes = reading.routes(space)
        return (
            {(port, label): fates(reading.switched(label, port), labelled=True) for label in LABELS for port in PORTS},
            {
                (port, kind): reading.admitted(port, kind, None)
                for port in PORTS
                for kind in (ETH_TYPE_IPV4, ETH_TYPE_MPLS)
            },
            {(entry.eth_type, entry.atoms, str(fates(entry.doing, labelled=False))) for entry in routes.general},
            {port: {(entry.eth_type, entry.atoms) for entry in entries} for port, entries in routes.by_port.items()},
            reading.targets,
            reading.default_cuts,
            set(reading.admitting),
            [reading.is_passed_on(kind) for kind in (ETH_TYPE_IPV4, ETH_TYPE_ARP)],
        )
    except Unreadable:
        return Unreadable


LABELS, PORTS = (16, 17, 1 << 19, (1 << 20) - 1, (1 << 20) - 2), (1, 2, 3, 4)


@given(changes())
@settings(max_examples=60)
def test_a_switch_is_read_after_a_change_as_from_nothing(drawn: tuple[RuleSet, RuleSet]) -> None:
    before, after = drawn
    for name in before:
        try:
            old, fresh = SwitchReading(name, before[name]), SwitchReading(name, after[name])
        except RuleError:
            continue
        needed = old.default_cuts | fresh.default_cuts
        space = AddressSpace(needed.union(*(cuts(address) for address in old.targets | fresh.targets)))
        told(old, space)
        assert told(SwitchReading(name, after[name], old), space) == told(fresh, space)


def test_labels_that_changed_are_told() -> None:
    def labelled(label: int, port: int) -> FlowRule:
        return FlowRule(Table.TRANSIT, 5, Match(eth_type=ETH_TYPE_MPLS, mpls_label=label), (Output(port),))

    def after(*flows: FlowRule) -> frozenset[int] | None:
        return SwitchReading("s1", SwitchRules(frozenset(flows)), old).labels_changed_since(old)

    old = SwitchReading("s1", SwitchRules(frozenset({labelled(16, 1), labelled(17, 1)})))
    assert after(labelled(16, 1), labelled(17, 1), rule(3)) == frozenset()
    assert after(labelled(16, 2), labelled(17, 1)) == {16}
    assert after(labelled(17, 1), labelled(18, 1)) == {16, 18}
    assert after(labelled(16, 1), labelled(17, 1), rule(0, Table.TRANSIT)) is None
