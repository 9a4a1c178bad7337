"""Planned routing: the ingress leaf pushes a path's label, transit forwards on it, the egress leaf pops it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataplane.rules import (
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    Action,
    FlowRule,
    Match,
    Output,
    PopLabel,
    PushLabel,
    Role,
    Table,
)
from solver.routing import Path
from topologies.errors import InputError
from topologies.fabric import Fabric

_PLANNED, _MISS = 100, 0


@dataclass(frozen=True, slots=True)
class LabelledPath:
    """One host pair's path and the label that marks its packets.

    Attributes
    ----------
    source, target : str
        Hosts.
    links : Path
        From the source host to the target host, both access links included.
    label : int
        MPLS label, 16 to 2^20 - 1, unique among the paths in force.
    """

    source: str
    target: str
    links: Path
    label: int


def misses() -> Iterator[FlowRule]:
    """What becomes of packets that no plan covers: default routing, or nothing for an unknown label."""
    yield FlowRule(Table.CLASSIFY, _MISS, Match(), goto=Table.DEFAULT, role=Role.CLASSIFY)
    yield FlowRule(Table.TRANSIT, _MISS, Match(), role=Role.TRANSIT)


def path_flows(fabric: Fabric, path: LabelledPath) -> Iterator[tuple[str, FlowRule]]:
    """Switch and rule, from the ingress leaf on.

    Raises
    ------
    InputError
        The path is not one from its source to its target through switches of the fabric.
    """
    check_path(fabric, path)
    source, target = fabric.node_by_id[path.source], fabric.node_by_id[path.target]
    pair = Match(eth_type=ETH_TYPE_IPV4, ipv4_src=source.ip, ipv4_dst=target.ip)
    labelled = Match(eth_type=ETH_TYPE_MPLS, mpls_label=path.label)
    ingress, *transit = path.links[1:]
    if not transit:
        yield ingress.node, FlowRule(Table.CLASSIFY, _PLANNED, pair, (Output(ingress.port),), role=Role.CLASSIFY)
        return
    push: tuple[Action, ...] = (PushLabel(path.label),)
    yield ingress.node, FlowRule(Table.CLASSIFY, _PLANNED, pair, push, Table.TRANSIT, role=Role.CLASSIFY)
    for link in path.links[1:-1]:
        yield link.node, FlowRule(Table.TRANSIT, _PLANNED, labelled, (Output(link.port),), role=Role.TRANSIT)
    egress = path.links[-1]
    yield egress.node, FlowRule(Table.TRANSIT, _PLANNED, labelled, (PopLabel(), Output(egress.port)), role=Role.TRANSIT)


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
