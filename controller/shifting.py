"""What every planned pair puts on links before and after an update."""

from __future__ import annotations

from controller.service import PlannedPath, PlanStatus
from dataplane.flips import Move
from topologies.fabric import Fabric, LinkId


def moves(fabric: Fabric, before: PlanStatus | None, after: PlanStatus | None) -> tuple[Move, ...]:
    """The moves of all pairs that have a planned path in one of two plans, but for hosts without an address."""
    addresses = {node.id: node.ip for node in fabric.hosts if node.ip is not None}
    loads: dict[tuple[str, str], tuple[dict[LinkId, float], dict[LinkId, float]]] = {}
    for side, plan in enumerate((before, after)):
        for path in plan.paths if plan is not None else ():
            if path.source in addresses and path.target in addresses:
                _add(loads.setdefault((addresses[path.source], addresses[path.target]), ({}, {}))[side], path)
    return tuple(Move(source, target, *sides) for (source, target), sides in loads.items())


def _add(loads_bps: dict[LinkId, float], path: PlannedPath) -> None:
    for link in path.links:
        loads_bps[link] = loads_bps.get(link, 0.0) + path.rate_bps


def capacities(fabric: Fabric) -> dict[LinkId, float]:
    """Of links that have one, bits per second."""
    return {link.id: link.capacity_bps for link in fabric.links if link.capacity_bps is not None}
