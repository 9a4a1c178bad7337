"""The least change from one rule set to another, in an order in which no packet meets half of it.

Two-phase update (Reitblatt et al., "Abstractions for network update", SIGCOMM 2012, section 5): new labels are
installed everywhere before any ingress pushes them, old ones go after no ingress does. What is forwarded hop by hop,
without a label, changes in the order of `dataplane.order`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dataplane.caps import keep_caps
from dataplane.clearing import admits_switch, clearing
from dataplane.operations import (
    AddFlow,
    AddGroup,
    AddMeter,
    ChangeMeter,
    Operation,
    RemoveFlow,
    RemoveGroup,
    RemoveMeter,
    Rest,
    apply_operations,
    no_rest,
    resting,
)
from dataplane.order import Change, FlowChange, in_turn, order_changes
from dataplane.rules import Action, AnyMeter, FlowRule, Group, RuleSet, SwitchRules, Table, ToGroup
from dataplane.spread import free_id
from topologies.fabric import Fabric

__all__ = [
    "AddFlow", "AddGroup", "AddMeter", "ChangeMeter", "Difference", "Operation", "RemoveFlow", "RemoveGroup",
    "RemoveMeter", "Rest", "Schedule", "Stage", "StageKind", "apply_operations", "apply_stage", "difference", "no_rest",
    "resting", "schedule", "stages",
]  # fmt: skip


class StageKind(StrEnum):
    """What a stage does.

    ``inner``: adds what no packet can meet yet. ``flip``: moves traffic. ``clearing``: takes away what no packet can
    meet any more.
    """

    INNER = "inner"
    FLIP = "flip"
    CLEARING = "clearing"


@dataclass(frozen=True, slots=True)
class Stage:
    """Operations per switch; every switch has answered its barrier before the next stage begins."""

    operations: Mapping[str, tuple[Operation, ...]]
    kind: StageKind = StageKind.FLIP


@dataclass(frozen=True, slots=True)
class Schedule:
    """An update in stages.

    Attributes
    ----------
    stages : tuple of Stage
        Only such as have operations.
    new : RuleSet
        The rules afterwards; groups may have other ids there than in what was asked for.
    needs : dict of Change to frozenset of Change
        Changes that must not be made where others failed.
    """

    stages: tuple[Stage, ...]
    new: RuleSet
    needs: dict[Change, frozenset[Change]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """What to do on one switch: rules in both sets are not mentioned.

    Attributes
    ----------
    replaced : tuple of FlowRule
        New content for keys that the switch has already.
    """

    add_meters: tuple[AnyMeter, ...]
    changed_meters: tuple[AnyMeter, ...]
    add_groups: tuple[Group, ...]
    add_flows: tuple[FlowRule, ...]
    replaced: tuple[FlowRule, ...]
    remove_flows: tuple[FlowRule, ...]
    remove_groups: tuple[Group, ...]
    remove_meters: tuple[AnyMeter, ...]

    def additions(self) -> tuple[Operation, ...]:
        """Meters, groups, then the flows that use them; nothing is replaced or removed."""
        return (
            *(AddMeter(meter) for meter in self.add_meters),
            *(AddGroup(group) for group in self.add_groups),
            *(AddFlow(flow) for flow in self.add_flows),
        )


_NOTHING = Difference((), (), (), (), (), (), (), ())


def difference(old: SwitchRules, new: SwitchRules, rest: Rest = no_rest) -> Difference:
    """Compare two rule sets of one switch; everything comes in a fixed order.

    A group or rate cap whose id has other content on the switch gets another id, so that neither is ever taken for the
    other.
    """
    if old == new:
        return _NOTHING
    new = _renumbered(old, new, rest)
    changed = _ordered(new.flows - old.flows, rest)
    gone = _ordered(old.flows - new.flows, rest)
    had = {flow.key for flow in resting(gone, rest)}
    keeps = {flow.key for flow in resting(changed, rest)}
    metered, stays = {meter.id for meter in old.meters}, {meter.id for meter in new.meters}
    fresh = sorted(new.meters - old.meters, key=lambda meter: meter.id)
    return Difference(
        tuple(meter for meter in fresh if meter.id not in metered),
        tuple(meter for meter in fresh if meter.id in metered),
        tuple(sorted(new.groups - old.groups, key=lambda group: group.id)),
        tuple(flow for flow in resting(changed, rest) if flow.key not in had),
        tuple(flow for flow in resting(changed, rest) if flow.key in had),
        tuple(flow for flow in resting(gone, rest) if flow.key not in keeps),
        tuple(sorted(old.groups - new.groups, key=lambda group: group.id)),
        tuple(
            sorted((meter for meter in old.meters - new.meters if meter.id not in stays), key=lambda meter: meter.id)
        ),
    )


def stages(
    old: RuleSet,
    new: RuleSet,
    rest: Rest = no_rest,
    *,
    fabric: Fabric | None = None,
    before: Fabric | None = None,
    rounds: Mapping[tuple[str, str], int] | None = None,
) -> tuple[Stage, ...]:
    """The stages of a `schedule`."""
    return schedule(old, new, rest, fabric=fabric, before=before, rounds=rounds).stages


def schedule(
    old: RuleSet,
    new: RuleSet,
    rest: Rest = no_rest,
    *,
    fabric: Fabric | None = None,
    before: Fabric | None = None,
    rounds: Mapping[tuple[str, str], int] | None = None,
    clears: bool = True,
) -> Schedule:
    """The order of an update; without a stage where nothing changes.

    1. New meters and groups, and new rules that no packet can meet yet: transit by new labels, detours, ports that now
       lead to switches.
    2. What traffic meets at its ingress, and default routing, in as many rounds as these need.
    3. Old labels and ports that led to switches go, then old groups and meters; the caller waits before this stage
       until packets with old labels have drained.

    Parameters
    ----------
    old, new : RuleSet
        A switch that is missing in one has no rules there.
    rest : callable, optional
        Called now and then.
    fabric : Fabric, optional
        Where the ports of the new rules lead. Without it default routing changes in one round, in which packets may
        go round or get lost.
    before : Fabric, optional
        The same for the old rules, where it has links that are no more.
    rounds : mapping of (str, str) to int, optional
        In which round each planned pair flips, by the addresses of source and target; those that are missing flip in
        round 0.
    clears : bool
        Whether the last stage is wanted; an update finds out what can go when it comes to that.
    """
    every = sorted(old.keys() | new.keys())
    old = {switch: old.get(switch, SwitchRules()) for switch in every}
    new = {switch: _renumbered(old[switch], new.get(switch, SwitchRules()), rest) for switch in every}
    changes = {switch: difference(old[switch], new[switch], rest) for switch in every}
    hop_by_hop = {switch: _hop_by_hop(change) for switch, change in changes.items()}
    order = order_changes(old, new, hop_by_hop, fabric, before, rest)
    flips = {switch: _at_ingress(change, rounds or {}, rest) for switch, change in changes.items()}
    count = max((len(order.rounds), *(max(found, default=-1) + 1 for found in flips.values())), default=0)
    found = [Stage({switch: _inner(change, rest) for switch, change in changes.items()}, StageKind.INNER)]
    for number in range(count):
        hops = order.rounds[number] if number < len(order.rounds) else {}
        found.append(
            Stage({switch: (*flips[switch].get(number, ()), *hops.get(switch, ())) for switch in every}, StageKind.FLIP)
        )
    if clears:
        moved = old
        for stage in found:
            moved = apply_stage(moved, stage, rest)
        found.append(Stage(clearing(moved, new, rest=rest), StageKind.CLEARING))
    kept = (
        replace(stage, operations={switch: ops for switch, ops in stage.operations.items() if ops}) for stage in found
    )
    return Schedule(tuple(stage for stage in kept if stage.operations), new, order.needs)


def _inner(change: Difference, rest: Rest) -> tuple[Operation, ...]:
    """What no packet can meet yet."""
    return (
        *(AddMeter(meter) for meter in change.add_meters),
        *(ChangeMeter(meter) for meter in change.changed_meters),
        *(AddGroup(group) for group in change.add_groups),
        *(AddFlow(flow) for flow in resting(change.replaced, rest) if admits_switch(flow)),
        *(
            AddFlow(flow)
            for flow in resting(change.add_flows, rest)
            if flow.table is Table.TRANSIT or admits_switch(flow)
        ),
    )


def _hop_by_hop(change: Difference) -> list[FlowChange]:
    """What decides over packets by destination, or by a label that keeps its way and gets another fallback."""
    return [
        *(AddFlow(flow) for flow in change.replaced if flow.table >= Table.TRANSIT),
        *(AddFlow(flow) for flow in change.add_flows if flow.table is Table.DEFAULT),
        *(RemoveFlow(flow) for flow in change.remove_flows if flow.table is Table.DEFAULT),
    ]


def _at_ingress(
    change: Difference, rounds: Mapping[tuple[str, str], int], rest: Rest
) -> dict[int, tuple[Operation, ...]]:
    """What packets meet where they come in, by round."""
    changes: list[FlowChange] = [
        AddFlow(flow) for flow in resting((*change.replaced, *change.add_flows), rest) if _is_ingress(flow)
    ]
    # A pair that loses its plan must fall back to default routing before its label goes.
    changes += (RemoveFlow(flow) for flow in resting(change.remove_flows, rest) if _is_ingress(flow))
    found: dict[int, list[FlowChange]] = {}
    for flip in changes:
        match = flip.flow.match
        pair = (match.ipv4_src or "", match.ipv4_dst or "")
        number = rounds.get(pair, 0) if flip.flow.table is Table.CLASSIFY else 0
        found.setdefault(number, []).append(flip)
    return {number: tuple(in_turn(flips)) for number, flips in found.items()}


def _is_ingress(flow: FlowRule) -> bool:
    return flow.table <= Table.CLASSIFY and not admits_switch(flow)


def apply_stage(rules: RuleSet, stage: Stage, rest: Rest = no_rest) -> dict[str, SwitchRules]:
    """The rules of all switches after a stage."""
    return {
        switch: apply_operations(rules.get(switch, SwitchRules()), operations, rest)
        if (operations := stage.operations.get(switch))
        else rules[switch]
        for switch in rules.keys() | stage.operations.keys()
    }


def _renumbered(old: SwitchRules, new: SwitchRules, rest: Rest) -> SwitchRules:
    """The new rules, with ids for their groups and rate caps that do not mean something else in the old ones."""
    new = keep_caps(old, new, rest)
    fresh = new.groups - old.groups
    content = {group.id: group for group in old.groups} if fresh else {}
    if content.keys().isdisjoint(group.id for group in fresh):
        return new
    known = {(group.type, group.buckets): group.id for group in resting(old.groups, rest)}
    taken = content.keys() | {group.id for group in new.groups}
    names: dict[int, int] = {}
    for group in sorted(new.groups, key=lambda group: group.id):
        if content.get(group.id, group) != group:
            names[group.id] = known.get((group.type, group.buckets)) or free_id(group.id, taken.__contains__)
            taken.add(names[group.id])

    def renamed(flow: FlowRule) -> FlowRule:
        stays = all(content.get(used) in new.groups for used in _groups(flow))
        if flow in old.flows and stays:
            return flow
        actions: list[Action] = [
            ToGroup(names.get(action.group_id, action.group_id)) if isinstance(action, ToGroup) else action
            for action in flow.actions
        ]
        return replace(flow, actions=tuple(actions))

    groups = (
        replace(group, id=names[group.id]) if content.get(group.id, group) != group else group for group in new.groups
    )
    return SwitchRules(frozenset(map(renamed, resting(new.flows, rest))), frozenset(groups), new.meters)


def _groups(flow: FlowRule) -> Iterator[int]:
    return (action.group_id for action in flow.actions if isinstance(action, ToGroup))


def _ordered(flows: AbstractSet[FlowRule], rest: Rest) -> list[FlowRule]:
    """By table, falling priority and cookie; as one number each, which sorts several times as fast as three."""
    listed = list(flows)
    keys = [flow.table << 80 | (0xFFFF - flow.priority) << 64 | flow.cookie for flow in resting(listed, rest)]
    return [listed[place] for place in sorted(range(len(listed)), key=keys.__getitem__)]
