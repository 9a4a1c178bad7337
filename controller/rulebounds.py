"""How many rules of ours one switch may hold: what says that it holds more is no switch that we have filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.framing import Violation
from controller.strays import StrayFlow, TablesRead
from dataplane.rules import AnyMeter, FlowRule, Group, SwitchRules


@dataclass(frozen=True, slots=True)
class RuleBounds:
    """The most of each kind; the hash in a cookie is no secret, so anybody can make flows that look like ours.

    Attributes
    ----------
    flows, groups, meters : int
        Entries on one switch, old and new ones of an update together.
    parts : int
        Actions of all flows, and buckets of all groups with their actions.
    """

    flows: int = 32_768
    groups: int = 8_192
    meters: int = 8_192
    parts: int = 1 << 18

    def excess(self, rules: SwitchRules) -> str | None:
        """What is too many in these rules, as ``40000 flows, more than 32768,``; None where they fit."""
        return (
            _excess("flows", len(rules.flows), self.flows)
            or _excess("groups", len(rules.groups), self.groups)
            or _excess("meters", len(rules.meters), self.meters)
            or _excess(_PARTS, sum(map(_flow_parts, rules.flows)) + sum(map(_group_parts, rules.groups)), self.parts)
        )


RULE_BOUNDS = RuleBounds()
_PARTS = "actions and buckets"


class RulesRead:
    """Rules that a switch reports, collected one by one.

    Parameters
    ----------
    rest : callable
        Called after each rule, to let others work.
    """

    def __init__(self, bounds: RuleBounds, rest: Callable[[], None]) -> None:
        self._bounds = bounds
        self._rest = rest
        self._parts = 0
        self._flows: set[FlowRule] = set()
        self._groups: set[Group] = set()
        self._meters: set[AnyMeter] = set()
        self._stray_flows: set[StrayFlow] = set()
        self._stray_groups: set[int] = set()
        self._stray_meters: set[int] = set()
        self._foreign = 0

    @property
    def tables(self) -> TablesRead:
        """All so far."""
        rules = SwitchRules(frozenset(self._flows), frozenset(self._groups), frozenset(self._meters))
        groups, meters = frozenset(self._stray_groups), frozenset(self._stray_meters)
        return TablesRead(rules, self._foreign, frozenset(self._stray_flows), groups, meters)

    def flow(self, flow: FlowRule | StrayFlow | None) -> None:
        """Take a flow; None is somebody else's. Like its siblings raises `Violation` where there are too many."""
        if flow is None:
            self._foreign += 1
        else:
            parts = 0
            if isinstance(flow, StrayFlow):
                self._stray_flows.add(flow)
            else:
                self._flows.add(flow)
                parts = _flow_parts(flow)
            self._hold("flows", len(self._flows) + len(self._stray_flows), self._bounds.flows, parts)
        self._rest()

    def group(self, group: Group | int | None) -> None:
        """Take a group, or its id where only that is ours; None is somebody else's."""
        if group is not None:
            parts = 0
            if isinstance(group, int):
                self._stray_groups.add(group)
            else:
                self._groups.add(group)
                parts = _group_parts(group)
            self._hold("groups", len(self._groups) + len(self._stray_groups), self._bounds.groups, parts)
        self._rest()

    def meter(self, meter: AnyMeter | int | None) -> None:
        """Take a meter, or its id where only that is ours; None is somebody else's."""
        if meter is not None:
            if isinstance(meter, int):
                self._stray_meters.add(meter)
            else:
                self._meters.add(meter)
            self._hold("meters", len(self._meters) + len(self._stray_meters), self._bounds.meters, 0)
        self._rest()

    def _hold(self, what: str, count: int, most: int, parts: int) -> None:
        self._parts += parts
        excess = _excess(what, count, most) or _excess(_PARTS, self._parts, self._bounds.parts)
        if excess is not None:
            raise Violation(
                "reply",
                f"holds {excess} that are marked as ours, and so many are never made; clear its tables if it is yours",
            )


def _excess(what: str, count: int, most: int) -> str | None:
    return f"{count} {what}, more than {most}," if count > most else None


def _flow_parts(flow: FlowRule) -> int:
    return len(flow.actions)


def _group_parts(group: Group) -> int:
    return sum(1 + len(bucket.actions) for bucket in group.buckets)
