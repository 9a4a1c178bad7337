"""Hop-shortest paths towards a node: distances and next hops, hosts never in between."""

from __future__ import annotations

from collections import deque

from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId, NodeKind


def distances(fabric: Fabric, target: str) -> dict[str, int]:
    """Hops from every node that reaches the target to it.

    Hosts other than the target end packets, so no path leads through them.

    Returns
    -------
    dict of str to int
        0 for the target; nodes that cannot reach it are absent.

    Raises
    ------
    InputError
        No such node.
    """
    if target not in fabric.node_by_id:
        raise InputError(f"{target!r} is not a node of the fabric; see 'heddle hosts' and 'heddle switches'")
    arriving, nodes = fabric.links_to, fabric.node_by_id
    hops = {target: 0}
    frontier = deque([target])
    while frontier:
        node = frontier.popleft()
        for link in arriving.get(node, ()):
            if link.source in hops:
                continue
            hops[link.source] = hops[node] + 1
            if nodes[link.source].kind is NodeKind.SWITCH:
                frontier.append(link.source)
    return hops


def next_hops(fabric: Fabric, target: str) -> dict[str, tuple[LinkId, ...]]:
    """The links on hop-shortest paths towards the target, per node that reaches it.

    Returns
    -------
    dict of str to tuple of LinkId
        Sorted by port, parallel links each for itself; the target itself is absent. The first link of
        each tuple is what plain shortest-path routing takes.

    Raises
    ------
    InputError
        No such node.
    """
    hops = distances(fabric, target)
    chosen: dict[str, list[LinkId]] = {}
    for link in fabric.links:
        transit = link.target == target or fabric.node_by_id[link.target].kind is NodeKind.SWITCH
        if transit and link.target in hops and hops.get(link.source) == hops[link.target] + 1:
            chosen.setdefault(link.source, []).append(link.id)
    return {node: tuple(sorted(links, key=lambda link: link.port)) for node, links in chosen.items()}
