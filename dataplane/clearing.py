"""What is taken away once traffic has moved: labels that nobody puts on packets any more, and what served only them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from dataplane.operations import Operation, RemoveFlow, RemoveGroup, RemoveMeter, Rest, no_rest, resting
from dataplane.rules import (
    PORT_IN_PORT,
    FlowRule,
    Group,
    Output,
    PushLabel,
    RuleSet,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)

BEFORE_ALL = 1000
"""Added to the priority of a rule that is put before others for a while."""


def admits_switch(flow: FlowRule) -> bool:
    """Whether a guard rule lets in what another switch sends: it asks for no host's address."""
    return flow.table is Table.GUARD and flow.goto is not None and flow.match.eth_src is None


def sends_back(flow: FlowRule) -> bool:
    """Whether a rule is for packets that were under way while their cable's ends changed which way they send."""
    return flow.table is Table.DEFAULT and flow.priority >= BEFORE_ALL and flow.actions == (Output(PORT_IN_PORT),)


def labels_put_on(flow: FlowRule, groups: Mapping[int, Group]) -> Iterator[int]:
    """Labels that a rule gives to packets, by itself or by its groups, fallbacks included."""
    for action in flow.actions:
        if isinstance(action, PushLabel | SetLabel):
            yield action.label
        elif isinstance(action, ToGroup) and action.group_id in groups:
            for bucket in groups[action.group_id].buckets:
                yield from (inner.label for inner in bucket.actions if isinstance(inner, PushLabel | SetLabel))


def labels_of(rules: SwitchRules) -> frozenset[int]:
    """Labels that a switch puts on packets or forwards on."""
    groups = {group.id: group for group in rules.groups}
    matched = {flow.match.mpls_label for flow in rules.flows if flow.match.mpls_label is not None}
    return frozenset(matched.union(*(labels_put_on(flow, groups) for flow in rules.flows if flow.actions)))


def labels_pushed(rules: SwitchRules) -> frozenset[int]:
    """Labels that a switch puts on packets that have none."""
    groups = {group.id: group for group in rules.groups}
    bare = (flow for flow in rules.flows if flow.actions and flow.match.mpls_label is None)
    return frozenset(label for flow in bare for label in labels_put_on(flow, groups))


def labelled_only(rules: SwitchRules) -> SwitchRules:
    """The rules that forward on labels, and their groups."""
    return SwitchRules(frozenset(flow for flow in rules.flows if flow.match.mpls_label is not None), rules.groups)


def ports_of(flow: FlowRule, rules: SwitchRules) -> frozenset[int]:
    """Ports by which a rule may send packets, fallbacks included."""
    used = {action.group_id for action in flow.actions if isinstance(action, ToGroup)}
    ways = [flow.actions]
    ways += (bucket.actions for group in rules.groups if group.id in used for bucket in group.buckets)
    return frozenset(action.port for way in ways for action in way if isinstance(action, Output))


def needed_labels(in_force: Iterable[SwitchRules], kept: AbstractSet[int] = frozenset()) -> frozenset[int]:
    """Labels that packets can have.

    Parameters
    ----------
    in_force : iterable of SwitchRules
        By which switches may be working.
    kept : set of int
        Labels that are needed in any case.
    """
    turns_into: dict[int, set[int]] = {}
    reached = set(kept)
    for rules in in_force:
        groups = {group.id: group for group in rules.groups}
        for flow in rules.flows:
            if not flow.actions:
                continue
            if flow.match.mpls_label is None:
                reached.update(labels_put_on(flow, groups))
            else:
                turns_into.setdefault(flow.match.mpls_label, set()).update(labels_put_on(flow, groups))
    stack = list(reached)
    while stack:
        for label in turns_into.get(stack.pop(), set()) - reached:
            reached.add(label)
            stack.append(label)
    return frozenset(reached)


def clearing(
    have: RuleSet,
    goal: RuleSet,
    *,
    in_force: Iterable[SwitchRules] | None = None,
    ports: bool = True,
    rest: Rest = no_rest,
) -> dict[str, tuple[Operation, ...]]:
    """What goes on each switch: of transit rules those that are not wanted and that no packet can meet.

    Parameters
    ----------
    have, goal : RuleSet
        What the switches have, and what they shall have in the end.
    in_force : iterable of SwitchRules, optional
        By which all switches may be working, where that is not the goal: a label that one of them puts on packets stays
        everywhere.
    ports : bool
        Whether rules go that let in what other switches send.
    rest : callable, optional
        Called now and then.
    """
    extra = {
        switch: _unwanted(rules, goal.get(switch, SwitchRules()), ports=ports, rest=rest)
        for switch, rules in have.items()
    }
    needed = frozenset[int]()
    if in_force is not None:
        kept = (rules.flows - extra[switch] for switch, rules in have.items())
        wanted = {flow.match.mpls_label for flows in kept for flow in flows if flow.match.mpls_label is not None}
        needed = needed_labels(in_force, wanted)
    return {
        switch: operations
        for switch, rules in have.items()
        if (operations := _gone(rules, goal.get(switch, SwitchRules()), extra[switch], needed, rest))
    }


def _unwanted(rules: SwitchRules, goal: SwitchRules, *, ports: bool, rest: Rest) -> frozenset[FlowRule]:
    extra = rules.flows - goal.flows
    if not extra:
        return extra
    keys = {flow.key for flow in goal.flows - rules.flows}
    return frozenset(
        flow
        for flow in resting(extra, rest)
        if (flow.table is Table.TRANSIT or sends_back(flow) or (ports and admits_switch(flow))) and flow.key not in keys
    )


def _gone(
    rules: SwitchRules, goal: SwitchRules, extra: AbstractSet[FlowRule], needed: AbstractSet[int], rest: Rest
) -> tuple[Operation, ...]:
    flows = [flow for flow in extra if flow.match.mpls_label not in needed]
    spare_groups = rules.groups - goal.groups
    kept = goal.meters | {meter for meter in rules.meters if meter.id in {meter.id for meter in goal.meters}}
    spare_meters = rules.meters - kept
    if not flows and not spare_groups and not spare_meters:
        return ()
    stay = rules.flows.difference(flows) if spare_groups or spare_meters else frozenset()
    used = {action.group_id for flow in resting(stay, rest) for action in flow.actions if isinstance(action, ToGroup)}
    metered = {flow.meter_id for flow in stay}
    flows.sort(key=lambda flow: (flow.table, flow.priority, flow.cookie))
    return (
        *(RemoveFlow(flow) for flow in flows),
        *(RemoveGroup(group) for group in sorted(spare_groups, key=lambda group: group.id) if group.id not in used),
        *(RemoveMeter(meter) for meter in sorted(spare_meters, key=lambda meter: meter.id) if meter.id not in metered),
    )
