"""Where to draw each node: tiers as rows, pods side by side, every switch above the hosts it serves."""

from __future__ import annotations

from topologies.fabric import Fabric, Node, NodeKind
from topologies.shortest import distances


def tier_layout(fabric: Fabric) -> dict[str, tuple[float, float]]:
    """Positions of all nodes, x from 0 to 1 and y the tier (0: hosts).

    A node without a declared tier gets its hop distance from the nearest host. Each row keeps the
    fabric's order within pods and spreads over the full width, so that a fat-tree looks like its drawings.

    Returns
    -------
    dict of str to (float, float)
    """
    tiers = _tiers(fabric)
    rows: dict[int, list[Node]] = {}
    for node in fabric.nodes:
        rows.setdefault(tiers[node.id], []).append(node)
    positions: dict[str, tuple[float, float]] = {}
    for tier, row in rows.items():
        row.sort(key=lambda node: (node.pod is None, node.pod or 0))
        for index, node in enumerate(row):
            positions[node.id] = ((index + 0.5) / len(row), float(tier))
    return positions


def _tiers(fabric: Fabric) -> dict[str, int]:
    tiers = {node.id: node.tier for node in fabric.nodes if node.tier is not None}
    unknown = [node for node in fabric.nodes if node.tier is None]
    if not unknown:
        return tiers
    nearest: dict[str, int] = {}
    for host in fabric.hosts:
        for name, hops in distances(fabric, host.id).items():
            nearest[name] = min(hops, nearest.get(name, hops))
    for node in unknown:
        tiers[node.id] = 0 if node.kind is NodeKind.HOST else nearest.get(node.id, 1)
    return tiers
