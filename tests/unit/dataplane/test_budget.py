"""Budgets are counted as a switch counts, and what exceeds them is refused with the numbers."""

from __future__ import annotations

import pytest

from dataplane.budget import Budget, Budgets, OverBudget, check_budgets, usage
from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.rules import ETH_TYPE_MPLS, FlowRule, Match, Output, SwitchRules, Table
from topologies.fabric import LinkId
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=1e7)
RULES = compile_rules(K4, default=DefaultRouting.ECMP)


def switch_with(entries: int, labels: int = 0) -> SwitchRules:
    flows = [FlowRule(Table.DEFAULT, number, Match(in_port=1), (Output(2),)) for number in range(entries)]
    flows += [
        FlowRule(Table.TRANSIT, priority, Match(eth_type=ETH_TYPE_MPLS, mpls_label=label), (Output(2),))
        for label in range(labels)
        for priority in (100, 150)
    ]
    return SwitchRules(frozenset(flows))


def test_entries_are_counted_by_table_and_labels_once() -> None:
    used = usage(switch_with(10, labels=3))
    assert dict(used.tables) == {Table.DEFAULT: 10, Table.TRANSIT: 6}
    assert (used.entries, used.labels, used.groups, used.meters) == (16, 3, 0, 0)


def test_without_budgets_everything_fits() -> None:
    check_budgets({"s1": switch_with(100_000)}, Budgets())


def test_what_is_over_is_refused_with_switch_table_and_numbers() -> None:
    rules = {"e0-0": switch_with(1234), "e0-1": switch_with(1000)}
    budgets = Budgets(Budget(tables={Table.DEFAULT: 1000}))
    with pytest.raises(OverBudget, match=r"e0-0 needs 1,234 entries in its default table, its budget is 1,000$"):
        check_budgets(rules, budgets)


def test_the_switch_that_lacks_most_is_named_and_the_others_are_counted() -> None:
    rules = {"a": switch_with(30), "b": switch_with(90), "c": switch_with(11)}
    with pytest.raises(OverBudget, match="switch b needs 90 flow entries, its budget is 10; 2 more budgets") as caught:
        check_budgets(rules, Budgets(Budget(entries=10)))
    assert (caught.value.switch, caught.value.needed, caught.value.budget) == ("b", 90, 10)


def test_a_budget_of_its_own_stands_in_for_that_of_all() -> None:
    rules = {"a": switch_with(30), "b": switch_with(90)}
    check_budgets(rules, Budgets(Budget(entries=30), {"b": Budget(entries=90)}))
    check_budgets(rules, Budgets(by_switch={"a": Budget(labels=0)}))


@pytest.mark.parametrize("what", ["entries", "groups", "meters", "labels"])
def test_every_kind_has_room_for_exactly_its_budget(what: str) -> None:
    links = tuple(map(LinkId.parse, ("h1:1", "e0-0:3", "a0-0:3", "c1:4", "a3-0:2", "e3-1:2")))
    path = LabelledPath("h1", "h16", links, 77)
    rules = compile_rules(K4, default=DefaultRouting.ECMP, paths=[path])
    needed = {switch: getattr(usage(own), what) for switch, own in rules.items()}
    check_budgets(rules, Budgets(by_switch={switch: Budget(**{what: count}) for switch, count in needed.items()}))
    with pytest.raises(OverBudget, match=f"switch a0-0 needs {needed['a0-0']} (flow )?{what}, "):
        check_budgets(rules, Budgets(by_switch={"a0-0": Budget(**{what: needed["a0-0"] - 1})}))
