"""What a switch can be told to do with its rules, and what it has afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from dataplane.rules import AnyMeter, FlowRule, Group, SwitchRules

T = TypeVar("T")

Rest = Callable[[], None]
"""Called now and then in long work, so that whoever does it among others can let them go on."""
_BETWEEN_RESTS = 64


def no_rest() -> None:
    """Work without a break."""


def resting(items: Iterable[T], rest: Rest) -> Iterator[T]:
    """The items, with a rest now and then."""
    for number, item in enumerate(items):
        if number % _BETWEEN_RESTS == 0:
            rest()
        yield item


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


def apply_operations(rules: SwitchRules, operations: Sequence[Operation], rest: Rest = no_rest) -> SwitchRules:
    """The rules of a switch after it has carried out operations."""
    flows = _Flows(rules, operations, rest)
    groups = {group.id: group for group in rules.groups}
    meters = {meter.id: meter for meter in rules.meters}
    for operation in resting(operations, rest):
        match operation:
            case AddMeter(meter) | ChangeMeter(meter):
                meters[meter.id] = meter
            case AddGroup(group):
                groups[group.id] = group
            case AddFlow(flow):
                flows.put(flow)
            case RemoveFlow(flow):
                flows.drop(flow)
            case RemoveGroup(group):
                groups.pop(group.id, None)
            case RemoveMeter(meter):
                meters.pop(meter.id, None)
    return SwitchRules(flows.all(), frozenset(resting(groups.values(), rest)), frozenset(meters.values()))


class _Flows:
    """The flows of a switch under change. Keys are compared of those alone that may be meant: hashing one is dear."""

    def __init__(self, rules: SwitchRules, operations: Sequence[Operation], rest: Rest) -> None:
        meant = {_mark(op.flow) for op in resting(operations, rest) if isinstance(op, AddFlow | RemoveFlow)}
        self._before = rules.flows
        self._now = {flow.key: flow for flow in resting(rules.flows, rest) if meant and _mark(flow) in meant}
        self._touched = frozenset(self._now.values())

    def put(self, flow: FlowRule) -> None:
        self._now[flow.key] = flow

    def drop(self, flow: FlowRule) -> None:
        self._now.pop(flow.key, None)

    def all(self) -> frozenset[FlowRule]:
        return (self._before - self._touched).union(self._now.values())


def _mark(flow: FlowRule) -> tuple[object, ...]:
    match = flow.match
    addresses = match.ipv4_src, match.ipv4_dst, match.arp_tpa
    return (flow.table, flow.priority, match.in_port, match.mpls_label, addresses)
