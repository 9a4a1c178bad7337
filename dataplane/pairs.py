"""Planned pairs in rules and operations: what moves them, and what takes that back."""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.flips import Pair
from dataplane.operations import AddFlow, Operation, RemoveFlow
from dataplane.order import FlowChange
from dataplane.rules import FlowRule, SwitchRules, Table
from dataplane.update import Stage, StageKind


def plan_flips(stages: Iterable[Stage]) -> dict[str, tuple[FlowChange, ...]]:
    """What moves planned pairs, by switch."""
    found: dict[str, tuple[FlowChange, ...]] = {}
    for stage in stages:
        if stage.kind is StageKind.FLIP:
            for switch, operations in stage.operations.items():
                flips = [change for change in flow_changes(operations) if is_planned(change.flow)]
                if flips:
                    found[switch] = (*found.get(switch, ()), *flips)
    return found


def taking_back(have: SwitchRules, want: SwitchRules) -> list[FlowChange]:
    """What gives a switch the planned pairs that it had."""
    now, before = planned(have), planned(want)
    added = before - now
    keys = {flow.key for flow in added}
    return [
        *(AddFlow(flow) for flow in added),
        *(RemoveFlow(flow) for flow in now - before if flow.key not in keys),
    ]


def is_planned(flow: FlowRule) -> bool:
    """Whether a rule is one of a planned pair at its ingress."""
    return flow.table is Table.CLASSIFY and flow.match.ipv4_dst is not None


def planned(rules: SwitchRules) -> frozenset[FlowRule]:
    """The rules of planned pairs at their ingress."""
    return frozenset(flow for flow in rules.flows if is_planned(flow))


def flow_changes(operations: Iterable[Operation]) -> list[FlowChange]:
    """Those operations that are about flows."""
    return [operation for operation in operations if isinstance(operation, AddFlow | RemoveFlow)]


def is_in(change: FlowChange, rules: SwitchRules) -> bool:
    """Whether a switch with these rules has carried a change out."""
    if isinstance(change, AddFlow):
        return change.flow in rules.flows
    return change.flow not in rules.flows


def pair_of(flow: FlowRule) -> Pair:
    """The pair that a rule is for, by its addresses."""
    return (flow.match.ipv4_src or "", flow.match.ipv4_dst or "")
