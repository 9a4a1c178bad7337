"""How many rules of ours one switch may hold: what says that it holds more is no switch that we have filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.framing import Violation
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
        self.foreign = 0

    @property
    def rules(self) -> SwitchRules:
        """All of ours so far."""
        return SwitchRules(frozenset(self._flows), frozenset(self._groups), frozenset(self._meters))

    def flow(self, flow: FlowRule | None) -> None:
        """Take a flow; None is somebody else's. Like its siblings raises `Violation` where there are too many."""
        if flow is None:
            self.foreign += 1
        else:
            self._flows.add(flow)
            self._hold("flows", len(self._flows), self._bounds.flows, _flow_parts(flow))
        self._rest()

    def group(self, group: Group | None) -> None:
        """Take a group; None is somebody else's."""
        if group is not None:
            self._groups.add(group)
            self._hold("groups", len(self._groups), self._bounds.groups, _group_parts(group))
        self._rest()

    def meter(self, meter: AnyMeter | None) -> None:
        """Take a meter; None is somebody else's."""
        if meter is not None:
            self._meters.add(meter)
            self._hold("meters", len(self._meters), self._bounds.meters, 0)
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
