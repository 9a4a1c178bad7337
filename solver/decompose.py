"""Paths out of flows: a routing stores the flow towards each destination, a switch wants paths."""

from __future__ import annotations

import numpy as np

from solver.cycles import cancel_cycles
from solver.errors import SolverError
from solver.routing import PathFlow, Routing

_CRUMB = 1e-8
"""What arithmetic leaves of a demand, relative to the largest one."""


def paths(routing: Routing, demand_index: int) -> tuple[PathFlow, ...]:
    """The paths of one demand, the largest first; their rates add up to what is carried.

    Demands with the same destination share its flow in their order, so the answers for all of them fit
    together. There are at most as many paths as links.

    Raises
    ------
    SolverError
        The flows do not lead from source to target: the routing was not certified.
    """
    if routing.single_paths is not None:
        carried = float(routing.carried_bps[demand_index])
        return (PathFlow(routing.single_paths[demand_index], carried),)
    return _towards(routing, routing.demands[demand_index].target)[demand_index]


def all_paths(routing: Routing) -> tuple[tuple[PathFlow, ...], ...]:
    """The paths of every demand, in the order of the demands."""
    if routing.single_paths is not None:
        return tuple(paths(routing, index) for index in range(len(routing.demands)))
    found: dict[int, tuple[PathFlow, ...]] = {}
    for target in routing.targets:
        found |= _towards(routing, target)
    return tuple(found[index] for index in range(len(routing.demands)))


def _towards(routing: Routing, target: str) -> dict[int, tuple[PathFlow, ...]]:
    """Paths of all demands with this destination: flow decomposition (Ford and Fulkerson, 1962)."""
    fabric = routing.fabric
    number = {node.id: index for index, node in enumerate(fabric.nodes)}
    tails = [number[link.source] for link in fabric.links]
    heads = [number[link.target] for link in fabric.links]
    row = routing.flow_bps.tocsr()[[routing.targets.index(target)]].tocoo()
    flows = dict(zip(row.col.tolist(), np.asarray(row.data, dtype=np.float64).tolist(), strict=True))
    left = cancel_cycles(flows, tails, heads)
    leaving: dict[int, list[int]] = {}
    for link in sorted(left):
        leaving.setdefault(tails[link], []).append(link)
    crumb = _CRUMB * float(routing.carried_bps.max(initial=0.0))
    result: dict[int, tuple[PathFlow, ...]] = {}
    for index, demand in enumerate(routing.demands):
        if demand.target != target:
            continue
        missing = float(routing.carried_bps[index])
        found: list[tuple[list[int], float]] = []
        while missing > crumb or not found:
            walk: list[int] = []
            node = number[demand.source]
            while node != number[target]:
                options = [link for link in leaving.get(node, ()) if left[link] > 0]
                if not options:
                    break
                walk.append(max(options, key=left.__getitem__))
                node = heads[walk[-1]]
            if node != number[target]:
                if found and missing <= 100 * crumb:
                    break
                raise SolverError(f"the flow from {demand.source} to {target} ends at {fabric.nodes[node].id}")
            rate = min(missing, *(left[link] for link in walk))
            for link in walk:
                left[link] -= rate
            missing -= rate
            found.append((walk, rate))
        # What the crumbs leave uncarried goes to all paths alike.
        scale = float(routing.carried_bps[index]) / sum(rate for _, rate in found)
        found.sort(key=lambda entry: -entry[1])
        result[index] = tuple(
            PathFlow(tuple(fabric.links[link].id for link in walk), rate * scale) for walk, rate in found
        )
    return result
