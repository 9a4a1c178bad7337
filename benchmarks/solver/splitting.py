"""Equal splitting over all hop-shortest ways: what hashing comes to with very many small flows."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from benchmarks.solver.instances import Recipe


def worst_link(recipe: Recipe) -> float:
    """Utilisation of the worst link when each switch splits what it has for a destination equally; 1 is full."""
    fabric, demands = recipe.build()
    (tails, heads), at, nodes = fabric.ends, fabric.node_index, len(fabric.nodes)
    goals = np.array([at[demand.target] for demand in demands])
    targets, rows = np.unique(goals, return_inverse=True)
    hops = csr_array((np.ones(len(tails)), (heads, tails)), shape=(nodes, nodes))
    away = dijkstra(hops, unweighted=True, indices=targets)
    at_node = np.zeros_like(away)
    np.add.at(at_node, (rows, [at[demand.source] for demand in demands]), [demand.rate_bps for demand in demands])
    row, link = np.nonzero(away[:, heads] < away[:, tails])
    ways = np.zeros_like(away)
    np.add.at(ways, (row, tails[link]), 1.0)
    loads = np.zeros(len(tails))
    # What is farthest goes on first, so that each switch has all that it will have.
    for distance in np.unique(away[np.isfinite(away) & (away > 0)])[::-1]:
        now = away[row, tails[link]] == distance
        part, over = row[now], link[now]
        moved = at_node[part, tails[over]] / ways[part, tails[over]]
        np.add.at(loads, over, moved)
        np.add.at(at_node, (part, heads[over]), moved)
    return float((loads / fabric.capacities_bps).max())
