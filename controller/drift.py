"""What a switch holds against what it should hold, and the least that puts it right."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

from controller.strays import Mend, RemoveStray, RestoreGroup, TablesRead
from dataplane.rules import AnyMeter, FlowRule, Group, GroupType, Meter, SwitchRules
from dataplane.update import (
    AddFlow,
    AddGroup,
    AddMeter,
    ChangeMeter,
    RemoveFlow,
    RemoveGroup,
    RemoveMeter,
    Rest,
    no_rest,
    resting,
)

Rule: TypeAlias = FlowRule | Group | AnyMeter


@dataclass(frozen=True, slots=True)
class Drift:
    """How a switch's rules differ from those it should have.

    Attributes
    ----------
    restored : frozenset of FlowRule, Group, Meter or RateCap
        What was missing or altered, and is put back.
    altered : int
        How many of these the switch has with other content.
    extra : int
        What bears our mark and should not be there.
    mends : tuple of Mend
        What to do, in order: nothing is removed before what replaces it is there.
    """

    restored: frozenset[Rule]
    altered: int
    extra: int
    mends: tuple[Mend, ...]

    def __bool__(self) -> bool:
        return bool(self.mends)

    def __str__(self) -> str:
        return f"{len(self.restored) - self.altered} missing, {self.altered} altered, {self.extra} never sent"


def find_drift(
    wanted: SwitchRules, read: TablesRead, otherwise: AbstractSet[Rule] = frozenset(), rest: Rest = no_rest
) -> Drift:
    """Compare what a switch should hold with what it holds.

    A flow whose match was changed shows as one that is missing and one that was never sent, with the cookie of the
    first. That one stays until the first is there again: it may be the same, in the switch's own words.

    Parameters
    ----------
    otherwise : set of FlowRule, Group, Meter or RateCap
        Wanted rules that the switch has, but describes in other words.
    rest : callable, optional
        Called now and then.
    """
    flows = _Flows(wanted, read, otherwise, rest)
    groups = {group.id: group for group in read.rules.groups}
    group_ids, wanted_groups = groups.keys() | read.groups, {group.id: group for group in wanted.groups}
    lost_groups = [
        group
        for number, group in sorted(wanted_groups.items())
        if groups.get(number) != group and group not in otherwise
    ]
    meters = {meter.id: meter for meter in read.rules.meters}
    meter_ids, wanted_meters = meters.keys() | read.meters, {meter.id: meter for meter in wanted.meters}
    lost_meters = [
        meter
        for number, meter in sorted(wanted_meters.items())
        if meters.get(number) != meter and meter not in otherwise
    ]
    extra_groups, extra_meters = group_ids - wanted_groups.keys(), meter_ids - wanted_meters.keys()
    mends: list[Mend] = [
        *(ChangeMeter(meter) if meter.id in meter_ids else AddMeter(meter) for meter in lost_meters),
        *(RestoreGroup(group) if group.id in group_ids else AddGroup(group) for group in lost_groups),
        # From the last table to the first: no packet is let in before it is known where it goes.
        *(AddFlow(flow) for flow in sorted(flows.lost, key=lambda flow: (-flow.table, flow.cookie))),
        *(RemoveFlow(flow) for flow in flows.spare),
        *(RemoveStray(stray) for stray in flows.strays if stray.cookie not in flows.lost_cookies),
        *(RemoveGroup(groups.get(id_) or Group(id_, GroupType.SELECT, ())) for id_ in sorted(extra_groups)),
        *(RemoveMeter(meters.get(id_) or Meter(id_, 0, 0)) for id_ in sorted(extra_meters)),
    ]
    altered = flows.altered + sum(group.id in group_ids for group in lost_groups)
    altered += sum(meter.id in meter_ids for meter in lost_meters)
    extra = len(flows.spare) + len(flows.strays) + len(extra_groups) + len(extra_meters)
    return Drift(frozenset({*flows.lost, *lost_groups, *lost_meters}), altered, extra, tuple(mends))


class _Flows:
    """Flows that are missing, and those that should not be there by their keys."""

    def __init__(self, wanted: SwitchRules, read: TablesRead, otherwise: AbstractSet[Rule], rest: Rest) -> None:
        have = read.rules.flows
        self.lost = [flow for flow in resting(wanted.flows, rest) if flow not in have and flow not in otherwise]
        spare = [flow for flow in resting(have, rest) if flow not in wanted.flows]
        keys = {flow.key for flow in resting(wanted.flows, rest)} if spare or read.flows else set()
        described = {rule.cookie for rule in otherwise if isinstance(rule, FlowRule)}
        strays = [stray for stray in read.flows if stray.cookie not in described]
        taken = {flow.key for flow in spare} | {stray.key for stray in strays}
        self.altered = sum(flow.key in taken for flow in self.lost)
        self.spare = [flow for flow in spare if flow.key not in keys]
        self.strays = [stray for stray in strays if stray.key not in keys]
        self.lost_cookies = {flow.cookie for flow in self.lost}
