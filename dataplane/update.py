"""The least change from one rule set to another, in an order in which no packet meets half of it.

Two-phase update (Reitblatt et al., "Abstractions for network update", SIGCOMM 2012, section 5): new labels are
installed everywhere before any ingress pushes them, old ones go after no ingress does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from dataplane.rules import Action, AnyMeter, FlowRule, Group, RuleSet, SwitchRules, Table, ToGroup
from dataplane.spread import free_id

T = TypeVar("T")

Rest = Callable[[], None]
"""Called now and then in long work, so that whoever does it among others can let them go on."""
_BETWEEN_RESTS = 64


def no_rest() -> None:
    """Work without a break."""


@dataclass(frozen=True, slots=True)
class AddMeter:
    """Add a meter."""

    meter: AnyMeter


@dataclass(frozen=True, slots=True)
class ChangeMeter:
    """Give a meter of the same id new content; flows keep using it."""

    meter: AnyMeter


@dataclass(frozen=True, slots=True)
class AddGroup:
    """Add a group."""

    group: Group


@dataclass(frozen=True, slots=True)
class AddFlow:
    """Add a flow; it takes the place of one with the same key (OpenFlow 1.3.5, section 6.4)."""

    flow: FlowRule


@dataclass(frozen=True, slots=True)
class RemoveFlow:
    """Remove exactly this flow."""

    flow: FlowRule


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """Remove a group that no flow uses any more: with it would go every flow that does."""

    group: Group


@dataclass(frozen=True, slots=True)
class RemoveMeter:
    """Remove a meter that no flow uses any more."""

    meter: AnyMeter


Operation: TypeAlias = AddMeter | ChangeMeter | AddGroup | AddFlow | RemoveFlow | RemoveGroup | RemoveMeter


@dataclass(frozen=True, slots=True)
class Stage:
    """Operations per switch; every switch has answered its barrier before the next stage begins."""

    operations: Mapping[str, tuple[Operation, ...]]


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


def difference(old: SwitchRules, new: SwitchRules, rest: Rest = no_rest) -> Difference:
    """Compare two rule sets of one switch; everything comes in a fixed order.

    A group whose id has other content on the switch gets another id, so that neither is ever taken for the other.
    """
    new = _renumbered(old, new, rest)
    had = {flow.key for flow in resting(old.flows, rest)}
    keeps = {flow.key for flow in resting(new.flows, rest)}
    changed = _ordered(new.flows - old.flows, rest)
    metered, stays = {meter.id for meter in old.meters}, {meter.id for meter in new.meters}
    fresh = sorted(new.meters - old.meters, key=lambda meter: meter.id)
    return Difference(
        tuple(meter for meter in fresh if meter.id not in metered),
        tuple(meter for meter in fresh if meter.id in metered),
        tuple(sorted(new.groups - old.groups, key=lambda group: group.id)),
        tuple(flow for flow in resting(changed, rest) if flow.key not in had),
        tuple(flow for flow in resting(changed, rest) if flow.key in had),
        tuple(flow for flow in resting(_ordered(old.flows - new.flows, rest), rest) if flow.key not in keeps),
        tuple(sorted(old.groups - new.groups, key=lambda group: group.id)),
        tuple(
            sorted((meter for meter in old.meters - new.meters if meter.id not in stays), key=lambda meter: meter.id)
        ),
    )


def stages(old: RuleSet, new: RuleSet, rest: Rest = no_rest) -> tuple[Stage, ...]:
    """The order of an update; empty where nothing changes.

    1. New meters and groups, and new rules that no packet can meet yet or that only add reachability: transit
       by new labels, default routes to new hosts, ports that now lead to switches.
    2. What traffic meets at its ingress: guard and classify rules, and rules with new content.
    3. Old flows go, ports that led to switches included; the caller waits before this stage until packets with
       old labels have drained.
    4. Old groups and meters go.

    Parameters
    ----------
    old, new : RuleSet
        A switch that is missing in one has no rules there.
    rest : callable, optional
        Called now and then.
    """
    changes = {
        switch: difference(old.get(switch, SwitchRules()), new.get(switch, SwitchRules()), rest)
        for switch in sorted(old.keys() | new.keys())
    }
    inner: dict[str, tuple[Operation, ...]] = {
        switch: (
            *(AddMeter(meter) for meter in change.add_meters),
            *(ChangeMeter(meter) for meter in change.changed_meters),
            *(AddGroup(group) for group in change.add_groups),
            *(AddFlow(flow) for flow in resting(change.replaced, rest) if _admits_switch(flow)),
            *(AddFlow(flow) for flow in resting(change.add_flows, rest) if _is_inner(flow)),
        )
        for switch, change in changes.items()
    }
    ingress: dict[str, tuple[Operation, ...]] = {
        switch: (
            *(AddFlow(flow) for flow in resting(change.replaced, rest) if not _admits_switch(flow)),
            *(AddFlow(flow) for flow in resting(change.add_flows, rest) if not _is_inner(flow)),
            # A pair that loses its plan must fall back to default routing before its label goes.
            *(RemoveFlow(flow) for flow in resting(change.remove_flows, rest) if not _is_inner(flow)),
        )
        for switch, change in changes.items()
    }
    old_flows: dict[str, tuple[Operation, ...]] = {
        switch: tuple(RemoveFlow(flow) for flow in resting(change.remove_flows, rest) if _is_inner(flow))
        for switch, change in changes.items()
    }
    unused: dict[str, tuple[Operation, ...]] = {
        switch: (
            *(RemoveGroup(group) for group in change.remove_groups),
            *(RemoveMeter(meter) for meter in change.remove_meters),
        )
        for switch, change in changes.items()
    }
    found = (
        Stage({switch: ops for switch, ops in stage.items() if ops}) for stage in (inner, ingress, old_flows, unused)
    )
    return tuple(stage for stage in found if stage.operations)


def _admits_switch(flow: FlowRule) -> bool:
    """Whether a guard rule lets in what another switch sends: it asks for no host's address."""
    return flow.table is Table.GUARD and flow.goto is not None and flow.match.eth_src is None


def _is_inner(flow: FlowRule) -> bool:
    """Whether only packets that some ingress has already let in can meet a rule."""
    return flow.table >= Table.TRANSIT or _admits_switch(flow)


def apply_operations(rules: SwitchRules, operations: Sequence[Operation], rest: Rest = no_rest) -> SwitchRules:
    """The rules of a switch after it has carried out operations."""
    flows = {flow.key: flow for flow in resting(rules.flows, rest)}
    groups = {group.id: group for group in rules.groups}
    meters = {meter.id: meter for meter in rules.meters}
    for operation in resting(operations, rest):
        match operation:
            case AddMeter(meter) | ChangeMeter(meter):
                meters[meter.id] = meter
            case AddGroup(group):
                groups[group.id] = group
            case AddFlow(flow):
                flows[flow.key] = flow
            case RemoveFlow(flow):
                flows.pop(flow.key, None)
            case RemoveGroup(group):
                groups.pop(group.id, None)
            case RemoveMeter(meter):
                meters.pop(meter.id, None)
    return SwitchRules(
        frozenset(resting(flows.values(), rest)),
        frozenset(resting(groups.values(), rest)),
        frozenset(resting(meters.values(), rest)),
    )


def apply_stage(rules: RuleSet, stage: Stage) -> RuleSet:
    """The rules of all switches after a stage."""
    return {
        switch: apply_operations(rules.get(switch, SwitchRules()), stage.operations.get(switch, ()))
        for switch in rules.keys() | stage.operations.keys()
    }


def resting(items: Iterable[T], rest: Rest) -> Iterator[T]:
    """The items, with a rest now and then."""
    for number, item in enumerate(items):
        if number % _BETWEEN_RESTS == 0:
            rest()
        yield item


def _renumbered(old: SwitchRules, new: SwitchRules, rest: Rest) -> SwitchRules:
    """The new rules, with ids for their groups that do not mean something else in the old ones."""
    content = {group.id: group for group in old.groups}
    known = {(group.type, group.buckets): group.id for group in resting(old.groups, rest)}
    taken = content.keys() | {group.id for group in new.groups}
    names: dict[int, int] = {}
    for group in sorted(new.groups, key=lambda group: group.id):
        if content.get(group.id, group) != group:
            names[group.id] = known.get((group.type, group.buckets)) or free_id(group.id, taken.__contains__)
            taken.add(names[group.id])
    if not names:
        return new

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
