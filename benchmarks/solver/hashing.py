"""ECMP over whole arrays of flows: how full hashing makes the worst link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from benchmarks.solver.instances import Recipe
from solver.demand import Demand
from topologies.fabric import Fabric

SEEDS = 20


def worst_links(recipe: Recipe, seeds: int = SEEDS) -> dict[int, float]:
    """Utilisation of the worst link under hashing, for each seed of the hash."""
    hashing = Hashing.of(*recipe.build())
    return {seed: float(hashing.utilisations(seed).max()) for seed in range(seeds)}


@dataclass(frozen=True, slots=True, eq=False)
class Hashing:
    """Flows between hosts that take, at each switch, any of the hop-shortest ways on: ideal ECMP, unpolarised.

    Attributes
    ----------
    out : array of int, shape (nodes, most links of a node)
        Links to switches that leave each node, -1 where there are no more.
    away : array, shape (targets, nodes)
        Hops from each node to each switch with a target.
    heads : array of int, shape (links,)
    capacities_bps, fixed_bps : array, shape (links,)
        Capacity, and the load on the links of hosts, which hashing does not change.
    rows, goals, origins, rates_bps : arrays, shape (flows,)
        Row of each flow in ``away``, its last and its first switch, and what it sends.
    """

    out: NDArray[np.intp]
    away: NDArray[np.float64]
    heads: NDArray[np.intp]
    capacities_bps: NDArray[np.float64]
    fixed_bps: NDArray[np.float64]
    rows: NDArray[np.intp]
    goals: NDArray[np.intp]
    origins: NDArray[np.intp]
    rates_bps: NDArray[np.float64]

    @classmethod
    def of(cls, fabric: Fabric, demands: Sequence[Demand]) -> Hashing:
        """Number everything; each host has one cable."""
        nodes, at = len(fabric.nodes), fabric.node_index
        tails, heads = fabric.ends
        up, down = np.full(nodes, -1, dtype=np.intp), np.full(nodes, -1, dtype=np.intp)
        up[tails], down[heads] = np.arange(len(tails)), np.arange(len(heads))
        first = up[[at[demand.source] for demand in demands]]
        last = down[[at[demand.target] for demand in demands]]
        rates_bps = np.array([demand.rate_bps for demand in demands])
        ends = np.concatenate([first, last])
        inner = np.flatnonzero(~(fabric.is_host[tails] | fabric.is_host[heads]))
        order = inner[np.argsort(tails[inner], kind="stable")]
        counts = np.bincount(tails[order], minlength=nodes)
        out = np.full((nodes, counts.max()), -1, dtype=np.intp)
        out[tails[order], np.arange(len(order)) - (np.cumsum(counts) - counts)[tails[order]]] = order
        goals = tails[last]
        targets, rows = np.unique(goals, return_inverse=True)
        backwards = csr_array((np.ones(len(order)), (heads[order], tails[order])), shape=(nodes, nodes))
        return cls(
            out, dijkstra(backwards, unweighted=True, indices=targets), heads, fabric.capacities_bps,
            np.bincount(ends, np.concatenate([rates_bps, rates_bps]), len(tails)).astype(np.float64),
            rows, goals, heads[first], rates_bps,
        )  # fmt: skip

    def utilisations(self, seed: int) -> NDArray[np.float64]:
        """Load over capacity of each link, shape (links,)."""
        random = np.random.default_rng(seed)
        loads, node = self.fixed_bps.copy(), self.origins.copy()
        while len(moving := np.flatnonzero(node != self.goals)):
            links = self.out[node[moving]]
            here = self.away[self.rows[moving], node[moving]]
            nearer = (links >= 0) & (self.away[self.rows[moving, None], self.heads[links]] < here[:, None])
            drawn = np.where(nearer, random.random(nearer.shape), -1.0).argmax(axis=1)
            taken = links[np.arange(len(moving)), drawn]
            loads += np.bincount(taken, weights=self.rates_bps[moving], minlength=len(loads))
            node[moving] = self.heads[taken]
        return loads / self.capacities_bps
