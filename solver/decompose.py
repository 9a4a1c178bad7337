"""Paths out of a routing: it stores the flow towards each destination, a switch wants paths."""

from __future__ import annotations

from solver.candidates import Links
from solver.instance import build
from solver.routing import PathFlow, PathFlows, Routing
from solver.splits import split_flows


def paths(routing: Routing, demand_index: int) -> tuple[PathFlow, ...]:
    """The paths of one demand, the largest first; their rates add up to what is carried.

    Demands with the same destination share its flow in their order, so the answers for all of them fit
    together. There are at most as many paths as links.

    Raises
    ------
    SolverError
        The flows do not lead from source to target: the routing was not certified.
    """
    if routing.path_flows is not None:
        return _chosen(routing, routing.path_flows)[demand_index]
    row = routing.targets.index(routing.demands[demand_index].target)
    instance = build(routing.fabric, routing.demands)
    found = split_flows(instance, routing.flow_bps, routing.carried_bps, [row])[demand_index]
    return _named(routing, found)


def all_paths(routing: Routing) -> tuple[tuple[PathFlow, ...], ...]:
    """The paths of every demand, in the order of the demands."""
    if routing.path_flows is not None:
        return _chosen(routing, routing.path_flows)
    instance = build(routing.fabric, routing.demands)
    return tuple(_named(routing, found) for found in split_flows(instance, routing.flow_bps, routing.carried_bps))


def _named(routing: Routing, found: list[tuple[Links, float]]) -> tuple[PathFlow, ...]:
    ids = routing.fabric.link_ids
    return tuple(PathFlow(tuple(ids[link] for link in walk), rate) for walk, rate in found)


def _chosen(routing: Routing, flows: PathFlows) -> tuple[tuple[PathFlow, ...], ...]:
    """The paths that the method itself chose."""
    ids = routing.fabric.link_ids
    found: list[list[PathFlow]] = [[] for _ in routing.demands]
    for path, (owner, rate) in enumerate(zip(flows.owners.tolist(), flows.rates_bps.tolist(), strict=True)):
        found[owner].append(PathFlow(tuple(ids[link] for link in flows.of(path).tolist()), rate))
    return tuple(tuple(sorted(some, key=lambda one: -one.rate_bps)) for some in found)
