"""Table budgets: what a switch has room for, what its rules take, and a refusal with the numbers where they do not fit.

An update holds what is new beside what is old, for a while: a budget that has to hold then, too, is half of the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dataplane.rules import RuleSet, SwitchRules, Table
from topologies.errors import HeddleError


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a switch may hold; None is no limit.

    Attributes
    ----------
    entries : int or None
        Flow entries in all tables together.
    tables : mapping of Table to int
        Flow entries of single tables.
    groups, meters : int or None
    labels : int or None
        Different MPLS labels that entries match.
    """

    entries: int | None = None
    tables: Mapping[Table, int] = field(default_factory=dict)
    groups: int | None = None
    meters: int | None = None
    labels: int | None = None


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budget of each switch: its own where it has one, else that of all."""

    every: Budget = Budget()
    by_switch: Mapping[str, Budget] = field(default_factory=dict)

    def of(self, switch: str) -> Budget:
        return self.by_switch.get(switch, self.every)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the rules of a switch take."""

    tables: Mapping[Table, int]
    groups: int
    meters: int
    labels: int

    @property
    def entries(self) -> int:
        return sum(self.tables.values())


class OverBudget(HeddleError):
    """Rules do not fit into a switch.

    Attributes
    ----------
    switch, what : str
        Where, and what there is too much of.
    needed, budget : int
    """

    def __init__(self, switch: str, what: str, needed: int, budget: int, others: int) -> None:
        self.switch, self.what, self.needed, self.budget = switch, what, needed, budget
        more = f"; {others} more budgets are exceeded" if others else ""
        super().__init__(f"switch {switch} needs {needed:,} {what}, its budget is {budget:,}{more}")


def usage(rules: SwitchRules) -> Usage:
    """Count."""
    tables = Counter(flow.table for flow in rules.flows)
    labels = {flow.match.mpls_label for flow in rules.flows} - {None}
    return Usage(tables, len(rules.groups), len(rules.meters), len(labels))


def check_budgets(rules: RuleSet, budgets: Budgets) -> None:
    """Refuse rules that some switch has no room for.

    Raises
    ------
    OverBudget
        It names the switch that lacks most, relative to its budget.
    """
    if budgets == Budgets():
        return
    over = [
        (needed / max(budget, 1), switch, what, needed, budget)
        for switch, own in sorted(rules.items())
        for what, needed, budget in _compared(usage(own), budgets.of(switch))
        if needed > budget
    ]
    if over:
        _, switch, what, needed, budget = max(over, key=lambda one: one[0])
        raise OverBudget(switch, what, needed, budget, len(over) - 1)


def _compared(used: Usage, budget: Budget) -> Iterator[tuple[str, int, int]]:
    """What is counted, how much of it is needed, and how much there may be."""
    for table, limit in budget.tables.items():
        yield f"entries in its {table.name.lower()} table", used.tables.get(table, 0), limit
    for what, needed, most in (
        ("flow entries", used.entries, budget.entries),
        ("groups", used.groups, budget.groups),
        ("meters", used.meters, budget.meters),
        ("labels", used.labels, budget.labels),
    ):
        if most is not None:
            yield what, needed, most
