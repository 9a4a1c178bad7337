"""Cuts: what must cross a set of links against what they carry, as bounds on the share and as reasons to give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.errors import Infeasible
from solver.network import Floats, Network
from topologies.fabric import NodeKind

_MARGIN = 1e-9
_ROUNDS = 4096
"""Candidate node sets looked at together: bounds the memory."""


@dataclass(frozen=True)
class Cut:
    """The links that leave a set of nodes, what they carry and what must leave the set, in bit/s."""

    links: NDArray[np.intp]
    capacity_bps: float
    demand_bps: float

    @property
    def share(self) -> float:
        """No common share of the demands above this crosses the cut."""
        return self.capacity_bps / self.demand_bps


def narrowest(network: Network, allowed_bps: Floats, prices: Floats | None = None) -> Cut | None:
    """The cut with the least capacity for its demand, among those worth a look.

    These are around each node, each switch with its hosts and each pod, both ways; and, given prices,
    the nodes farther than some distance from a destination: an optimal dual of one commodity is such a
    cut (Ford and Fulkerson), and where several jam in one place the levels find it too.

    Returns
    -------
    Cut or None
        None where no demand crosses any of them.
    """
    tails = network.tails
    heads = _node_of_vertex(network)[network.heads]
    sources, targets, rates = _demand_arrays(network)
    best: Cut | None = None
    for inside in _candidates(network, prices):
        demand = (inside[:, sources] & ~inside[:, targets]) @ rates
        crossing = inside[:, tails] & ~inside[:, heads]
        capacity = crossing @ allowed_bps
        share = np.divide(capacity, demand, out=np.full(len(demand), np.inf), where=demand > 0)
        if not len(share):
            continue
        pick = int(np.argmin(share))
        if np.isfinite(share[pick]) and (best is None or share[pick] < best.share * (1 - _MARGIN)):
            best = Cut(np.flatnonzero(crossing[pick]), float(capacity[pick]), float(demand[pick]))
    return best


def infeasibility(network: Network, allowed_bps: Floats, prices: Floats) -> Infeasible:
    """The reason why demands do not fit: a violated cut, or else the prices as weights.

    Parameters
    ----------
    prices : array, shape (links,)
        Prices that prove that the largest share is below 1.
    """
    links = network.fabric.links
    cut = narrowest(network, allowed_bps, prices)
    if cut is not None and cut.share < 1 - _MARGIN:
        return Infeasible(tuple(links[i].id for i in cut.links.tolist()), cut.capacity_bps, cut.demand_bps)
    scaled = prices / prices.max()
    used = np.flatnonzero(scaled > 1e-9)
    demand_bps = crossing_demand(network, scaled)
    weights = tuple(float(scaled[index]) for index in used.tolist())
    return Infeasible(
        tuple(links[index].id for index in used.tolist()), float(allowed_bps @ scaled), demand_bps, weights
    )


def crossing_demand(network: Network, weights: Floats) -> float:
    """``sum_k r_k dist_w(s_k, t_k)``."""
    away = network.distances(weights)
    offered = network.supply > 0
    return float((network.supply[offered] * away[offered]).sum())


def _candidates(network: Network, prices: Floats | None) -> Iterator[NDArray[np.bool_]]:
    nodes = network.fabric.nodes
    groups = np.vstack([np.eye(len(nodes), dtype=bool), _switches_with_hosts(network), _pods(network)])
    for begin in range(0, len(groups), _ROUNDS):
        inside = groups[begin : begin + _ROUNDS]
        yield inside
        yield ~inside
    if prices is None:
        return
    away = network.distances(prices)[:, : len(nodes)]
    here = _node_of_vertex(network)[network.target_vertices]
    for row, target in enumerate(here.tolist()):
        distance = away[row].copy()
        distance[target] = 0.0
        finite = distance[np.isfinite(distance)]
        levels = np.unique(np.round(finite / (finite.max(initial=0.0) or 1.0), 7))[:-1] * (finite.max(initial=0.0))
        slack = 1e-6 * finite.max(initial=0.0)
        yield distance[None, :] > levels[:, None] + slack


def _switches_with_hosts(network: Network) -> NDArray[np.bool_]:
    nodes = network.fabric.nodes
    index = {node.id: number for number, node in enumerate(nodes)}
    leaves: dict[str, list[int]] = {}
    for link in network.fabric.links:
        if network.fabric.node_by_id[link.source].kind is NodeKind.HOST:
            leaves.setdefault(link.target, [index[link.target]]).append(index[link.source])
    return _rows(list(leaves.values()), len(nodes))


def _pods(network: Network) -> NDArray[np.bool_]:
    nodes = network.fabric.nodes
    pods: dict[int, list[int]] = {}
    for number, node in enumerate(nodes):
        if node.pod is not None:
            pods.setdefault(node.pod, []).append(number)
    return _rows(list(pods.values()), len(nodes))


def _rows(members: list[list[int]], width: int) -> NDArray[np.bool_]:
    rows = np.zeros((len(members), width), dtype=bool)
    for row, numbers in zip(rows, members, strict=True):
        row[numbers] = True
    return rows


def _node_of_vertex(network: Network) -> NDArray[np.intp]:
    nodes = network.fabric.nodes
    hosts = [number for number, node in enumerate(nodes) if node.kind is NodeKind.HOST]
    return np.concatenate([np.arange(len(nodes)), np.array(hosts, dtype=np.intp)])


def _demand_arrays(network: Network) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    rows, vertices = np.nonzero(network.supply)
    ends = _node_of_vertex(network)[network.target_vertices]
    return vertices, ends[rows], network.supply[rows, vertices]
