"""Planned routing: the ingress leaf pushes a path's label, transit forwards on it, the egress leaf pops it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from dataplane.default import DefaultTable
from dataplane.detours import Tunnel, out_of
from dataplane.rules import (
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    Action,
    FlowRule,
    Group,
    Match,
    Output,
    PopLabel,
    Role,
    SetLabel,
    Table,
)
from dataplane.spread import GroupTable, failover_group
from solver.routing import Path
from topologies.errors import InputError
from topologies.fabric import Fabric

_COMING_BACK, _PLANNED, _MISS = 150, 100, 0
_REMEMBERED = 65_536
"""Rules of one switch that are made before they are wanted again."""


@dataclass(frozen=True, slots=True)
class LabelledPath:
    """A host pair's path, or one of those that it is split over, and the label that marks its packets.

    Attributes
    ----------
    source, target : str
        Hosts.
    links : Path
        From the source host to the target host, both access links included.
    label : int
        MPLS label, 16 to 2^20 - 1. Paths to one host may share it, where each switch that they have in common sends it
        out by one link.
    share : float
        The part of the pair's traffic that takes this path, above 0; those of a pair's paths add up to 1.
    flows : int
        Flows of equal rate that the pair's traffic consists of.
    rate_cap_bps : float or None
        What the pair may send at most.
    """

    source: str
    target: str
    links: Path
    label: int
    share: float = 1.0
    flows: int = 1
    rate_cap_bps: float | None = None


def misses() -> Iterator[FlowRule]:
    """What becomes of packets that no plan covers: default routing, or nothing for an unknown label."""
    yield FlowRule(Table.CLASSIFY, _MISS, Match(), goto=Table.DEFAULT, role=Role.CLASSIFY)
    yield FlowRule(Table.TRANSIT, _MISS, Match(), role=Role.TRANSIT)


class PlannedTable:
    """The rules of planned paths on one switch.

    Where the next link of a path fails, its packets lose their label and join default routing, with the label of its
    detour where default routing has no other port there.

    Parameters
    ----------
    default : DefaultTable
        Of the same switch.
    labels : mapping of Tunnel to int
        Of detours.
    """

    def __init__(self, default: DefaultTable, labels: Mapping[Tunnel, int]) -> None:
        self._default = default
        self._labels = labels
        self._ways: dict[tuple[int, int | None, int], int | Group] = {}
        self._rules: dict[tuple[int, int, int, int], tuple[tuple[FlowRule, ...], tuple[Group, ...]]] = {}

    def rules(self, label: int, port: int, in_port: int, leaf: int, groups: GroupTable) -> tuple[FlowRule, ...]:
        """Forward what carries a label, comes in by a port and goes to a host at a leaf, out by a port.

        Paths may share the label, and come from elsewhere. The groups of the rules are taken in.
        """
        # A label that was given up may come back for a host at another leaf.
        known = self._rules.get((label, port, in_port, leaf))
        if known is not None and all(groups.use(group).group_id == group.id for group in known[1]):
            return known[0]
        ways = self._way(port, None, leaf), self._way(port, in_port, leaf)
        anywhere, here = (groups.use(way) if isinstance(way, Group) else Output(way) for way in ways)
        rules: tuple[FlowRule, ...] = (_transit(label, None, anywhere),)
        if here != anywhere:
            rules += (_transit(label, in_port, here),)
        used = tuple(way for way in ways if isinstance(way, Group))
        if all(groups.use(group).group_id == group.id for group in used):
            if len(self._rules) >= _REMEMBERED:
                self._rules.clear()
            self._rules[label, port, in_port, leaf] = rules, used
        return rules

    def _way(self, port: int, in_port: int | None, leaf: int) -> int | Group:
        """A port, or the group that knows what to do where it is dead."""
        way = self._ways.get((port, in_port, leaf))
        if way is None:
            fallback = self._fallback(port, in_port, leaf)
            way = self._ways[port, in_port, leaf] = port if fallback is None else failover_group(port, *fallback)
        return way

    def _fallback(self, port: int, in_port: int | None, leaf: int) -> tuple[tuple[Action, ...], int] | None:
        """What to do where a port is dead, and the port by which that leaves; None where nothing helps."""
        hop = self._default.hops.get(leaf)
        if hop is None:
            return None
        others = [other for other in hop.ports if other != port]
        if others:
            # The next one in turn, so that the paths of a switch do not all fall back on its first port.
            other = min(others, key=lambda other: (other < port, other))
            return (PopLabel(), out_of(other, in_port)), other
        if not hop.detour:
            return None
        way = hop.detour[0]
        leave: Action = PopLabel()
        if len(hop.detour) > 1:
            leave = SetLabel(self._labels[Tunnel(hop.detour, ETH_TYPE_IPV4)])
        return (leave, out_of(way.port, in_port)), way.port


@lru_cache(maxsize=65_536)
def _transit(label: int, in_port: int | None, action: Action) -> FlowRule:
    priority = _PLANNED if in_port is None else _COMING_BACK
    match = Match(in_port=in_port, eth_type=ETH_TYPE_MPLS, mpls_label=label)
    return FlowRule(Table.TRANSIT, priority, match, (action,), role=Role.TRANSIT)


@lru_cache(maxsize=65_536)
def egress_rule(label: int, port: int) -> FlowRule:
    """The rule of a path's last switch, which takes the label off."""
    match = Match(eth_type=ETH_TYPE_MPLS, mpls_label=label)
    return FlowRule(Table.TRANSIT, _PLANNED, match, (PopLabel(), Output(port)), role=Role.TRANSIT)


def check_path(fabric: Fabric, path: LabelledPath) -> None:
    """Refuse what is no simple path from source to target.

    Raises
    ------
    InputError
        It names the link where the path breaks.
    """
    at = path.source
    seen = {at}
    for link_id in path.links:
        link = fabric.link_by_id.get(link_id)
        if link is None or link.source != at or link.target in seen:
            raise InputError(
                f"the path {path.source} → {path.target} breaks at {link_id}: no such link leads on from {at}"
            )
        at = link.target
        seen.add(at)
    if at != path.target or len(path.links) < 2:
        raise InputError(f"the path {path.source} → {path.target} ends at {at}")
    for host in (path.source, path.target):
        node = fabric.node_by_id[host]
        if node.ip is None or node.mac is None:
            missing = "ip" if node.ip is None else "mac"
            raise InputError(f"the path {path.source} → {path.target} needs the {missing} of {host}; declare it")
