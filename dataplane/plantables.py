"""What planned paths have in the tables of all switches. From plan to plan only rules of paths that change are made.

Paths share rules, and rules share groups and meters, so all are counted: what nothing needs any more goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

from dataplane.ingress import CapTable, ingress_rules
from dataplane.planned import LabelledPath, PlannedTable, check_path, egress_rule
from dataplane.routes import Routes
from dataplane.rules import AnyMeter, FlowRule, SwitchRules, ToGroup
from dataplane.spread import GroupTable
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId


@dataclass(frozen=True, slots=True)
class Unplanned:
    """The rules of one switch without any plan, and what makes those of plans."""

    flows: frozenset[FlowRule]
    groups: GroupTable
    meters: frozenset[AnyMeter]
    planned: PlannedTable


class PlanTables:
    """All switches of one fabric.

    Parameters
    ----------
    unplanned : mapping of str to Unplanned
        By switch.
    """

    def __init__(self, fabric: Fabric, routes: Routes, unplanned: Mapping[str, Unplanned]) -> None:
        self._fabric = fabric
        self._leaf_number = routes.number
        self._arrivals = {link.id: link.target_port for link in fabric.links}
        self._tables = {name: _Table(own) for name, own in unplanned.items()}
        self._rules: dict[str, SwitchRules] = {}
        self._labels = _LabelTrees()
        self._paths: tuple[LabelledPath, ...] = ()
        # Beside the paths, in their order: what each has in switches behind its first.
        self._onward: list[_Rules] = []
        self._marking: dict[tuple[str, str], tuple[_Table, tuple[FlowRule, ...]]] = {}

    def change_to(self, paths: Sequence[LabelledPath]) -> dict[str, SwitchRules]:
        """All rules of all switches with other paths; a switch in which nothing changes keeps the same object.

        After an error the tables are not to be used again.

        Raises
        ------
        InputError
            A path is broken, two have the same label and no common way, or those of a pair do not make a split.
        """
        former, onward = self._paths, self._onward
        stays = [one is other or one == other for one, other in zip(former, paths, strict=False)]
        stays += [False] * (max(len(former), len(paths)) - len(stays))
        left: dict[LabelledPath, list[_Rules]] = {}
        for path, rules, same in zip(former, onward, stays, strict=False):
            if not same:
                left.setdefault(path, []).append(rules)
        self._onward = [rules for rules, _ in zip(onward, paths, strict=False)]
        self._onward += [()] * (len(paths) - len(self._onward))
        come = []
        for place, path in enumerate(paths):
            if not stays[place]:
                if left.get(path):
                    self._onward[place] = left[path].pop()
                else:
                    come.append((place, path))
        gone = [(path, rules) for path, made in left.items() for rules in made]
        pairs = {(path.source, path.target) for path, _ in gone} | {(path.source, path.target) for _, path in come}
        for pair in pairs & self._marking.keys():
            table, marks = self._marking.pop(pair)
            table.remove(marks)
        for path, rules in gone:
            self._labels.remove(path)
            for table, made in rules:
                table.remove(made)
        for place, path in come:
            check_path(self._fabric, path)
            self._labels.add(path)
            self._onward[place] = tuple(self._made(path))
        self._mark(pairs, paths)
        self._paths = tuple(paths)
        for name, table in self._tables.items():
            # What left and came back is no change.
            if table.is_changed and (rules_now := table.rules()) != self._rules.get(name):
                self._rules[name] = rules_now
        return dict(self._rules)

    def _made(self, path: LabelledPath) -> Iterable[tuple[_Table, tuple[FlowRule, ...]]]:
        """Add what a path has behind its first switch's classify table."""
        egress = path.links[-1]
        if len(path.links) == 2:
            return
        table = self._tables[egress.node]
        made: tuple[FlowRule, ...] = (egress_rule(path.label, egress.port),)
        table.add(made)
        yield table, made
        leaf = self._leaf_number[egress.node]
        arriving = path.links[0]
        for link in path.links[1:-1]:
            table = self._tables[link.node]
            made = table.planned.rules(path.label, link.port, self._arrivals[arriving], leaf, table.groups)
            table.add(made)
            yield table, made
            arriving = link

    def _mark(self, pairs: AbstractSet[tuple[str, str]], paths: Sequence[LabelledPath]) -> None:
        """Give pairs the rules of their first switch."""
        together: dict[tuple[str, str], list[LabelledPath]] = {}
        for path in paths if pairs else ():
            if (pair := (path.source, path.target)) in pairs:
                together.setdefault(pair, []).append(path)
        for pair, ways in together.items():
            table = self._tables[ways[0].links[1].node]
            marks = tuple(ingress_rules(self._fabric, ways, table.groups, table.caps))
            table.add(marks)
            self._marking[pair] = table, marks


class _Table:
    """The rules of one switch, each with how many paths or pairs need it."""

    def __init__(self, unplanned: Unplanned) -> None:
        self._unplanned = unplanned
        self._lasting = frozenset(group.id for group in unplanned.groups.groups())
        self._needed: dict[FlowRule, int] = {}
        self._holders: dict[ToGroup | int, int] = {}
        self.planned = unplanned.planned
        self.groups = GroupTable(unplanned.groups)
        self.caps = CapTable()
        self.is_changed = True

    def add(self, rules: Iterable[FlowRule]) -> None:
        for rule in rules:
            count = self._needed.get(rule, 0)
            self._needed[rule] = count + 1
            if not count:
                self.is_changed = True
                for held in _held(rule):
                    self._holders[held] = self._holders.get(held, 0) + 1

    def remove(self, rules: Iterable[FlowRule]) -> None:
        for rule in rules:
            count = self._needed[rule] - 1
            if count:
                self._needed[rule] = count
                continue
            self.is_changed = True
            del self._needed[rule]
            for held in _held(rule):
                self._let_go(held)

    def _let_go(self, held: ToGroup | int) -> None:
        self._holders[held] -= 1
        if self._holders[held]:
            return
        del self._holders[held]
        if isinstance(held, int):
            self.caps.drop(held)
        elif held.group_id not in self._lasting:
            self.groups.drop(held.group_id)

    def rules(self) -> SwitchRules:
        self.is_changed = False
        flows = self._unplanned.flows.union(self._needed)
        return SwitchRules(flows, self.groups.groups(), self._unplanned.meters | self.caps.meters())


_Rules: TypeAlias = tuple[tuple[_Table, tuple[FlowRule, ...]], ...]
"""Rules of one path, by switch."""


def _held(rule: FlowRule) -> Iterable[ToGroup | int]:
    """The groups and the meter that a rule needs."""
    for action in rule.actions:
        if isinstance(action, ToGroup):
            yield action
    if rule.meter_id is not None:
        yield rule.meter_id


class _LabelTrees:
    """That all paths with one label go to one host, and out of a switch by one link."""

    def __init__(self) -> None:
        self._paths: dict[int, list[LabelledPath]] = {}
        self._ways: dict[tuple[int, str], list[LinkId]] = {}

    def add(self, path: LabelledPath) -> None:
        others = self._paths.setdefault(path.label, [])
        clashes = bool(others) and others[0].target != path.target
        for link in path.links[1:]:
            ways = self._ways.setdefault((path.label, link.node), [])
            clashes |= bool(ways) and ways[0] != link
            ways.append(link)
        if clashes:
            raise InputError(
                f"label {path.label} marks two ways: {others[0].source} → {others[0].target} and "
                f"{path.source} → {path.target}"
            )
        others.append(path)

    def remove(self, path: LabelledPath) -> None:
        self._paths[path.label].remove(path)
        for link in path.links[1:]:
            self._ways[path.label, link.node].pop()
