"""Shortest-path trees towards many destinations at once, and the flow of all demands along them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from solver.errors import SolverError
from solver.instance import Floats, Instance, Ints


@dataclass(frozen=True, eq=False)
class Trees:
    """An instance prepared for many shortest-path questions under changing link weights.

    Attributes
    ----------
    instance : Instance
    supply_bps : array, shape (targets, vertices)
        What each vertex offers towards each destination.
    """

    instance: Instance
    supply_bps: Floats = field(init=False)
    _keys: Ints = field(init=False)
    _starts: Ints = field(init=False)
    _graph: csr_array[np.float64, tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        vertices = self.instance.vertices
        # Turned round: the paths lead to the destinations. Sorted, the keys are in the order of the graph's entries.
        keys = self.instance.heads * vertices + self.instance.tails
        pairs, starts = np.unique(np.sort(keys), return_index=True)
        graph = csr_array((np.ones(len(pairs)), (pairs // vertices, pairs % vertices)), shape=(vertices, vertices))
        for name, value in (
            ("supply_bps", self.instance.supply().toarray()), ("_keys", keys), ("_starts", starts), ("_graph", graph)
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def crossing_demand(self, weights: Floats) -> float:
        """``sum_k r_k dist(origin_k, target_k)`` under link weights, shape (links,), in bit/s times their unit.

        Raises
        ------
        SolverError
            A demand has no path.
        """
        self._weigh(weights)
        away = np.asarray(dijkstra(self._graph, indices=self.instance.target_vertices), dtype=np.float64)
        return float(self._reached(away, self.supply_bps).ravel() @ self.supply_bps.ravel())

    def flows(self, weights: Floats, rows: Ints) -> Floats:
        """All demands of some destinations on one shortest path each, which form a tree per destination.

        Parameters
        ----------
        weights : array, shape (links,)
            Above 0.
        rows : array of int
            The destinations.

        Returns
        -------
        array, shape (rows, links)
            Bit/s.

        Raises
        ------
        SolverError
            A demand has no path.

        Notes
        -----
        Loads add up from the leaves: pairs of (destination, vertex) are taken by their number of hops, the
        farthest first, all destinations together. With 754 destinations of 754 vertices that is 0.16 s, of
        which scipy's shortest paths are a half.
        """
        lightest = self._weigh(weights)
        instance, count, vertices = self.instance, len(rows), self.instance.vertices
        away, parents = dijkstra(
            self._graph, indices=instance.target_vertices[rows], return_predecessors=True
        )  # fmt: skip
        carried = self.supply_bps[rows]
        self._reached(away, carried)
        inner = parents >= 0
        own = np.arange(count * vertices)
        onward = np.where(inner, parents + (np.arange(count) * vertices)[:, None], own.reshape(count, vertices)).ravel()
        hops = _hops(inner.ravel(), onward)
        order = np.argsort(hops, kind="stable")
        cuts = np.searchsorted(hops[order], np.arange(1, int(hops.max(initial=0)) + 2))
        load = carried.ravel()
        for first, last in zip(cuts[-2::-1].tolist(), cuts[:0:-1].tolist(), strict=True):
            layer = order[first:last]
            np.add.at(load, onward[layer], load[layer])
        row, vertex = np.nonzero(inner)
        place = np.searchsorted(self._keys[lightest], parents[row, vertex] * vertices + vertex)
        flow = np.zeros((count, instance.links))
        flow[row, lightest[place]] = load.reshape(count, vertices)[row, vertex]
        return flow

    def _weigh(self, weights: Floats) -> Ints:
        """Put weights on the graph; the lightest link of each pair of vertices, in the order of the entries."""
        lightest = np.lexsort((weights, self._keys))[self._starts]
        self._graph.data[:] = weights[lightest]
        return lightest

    @staticmethod
    def _reached(away: Floats, supply_bps: Floats) -> Floats:
        """The distances where something is offered, 0 elsewhere."""
        needed = np.where(supply_bps > 0, away, 0.0)
        if not np.isfinite(needed).all():
            raise SolverError("a demand without a path reached the solver; report it")
        return needed


def _hops(inner: np.typing.NDArray[np.bool_], onward: Ints) -> np.typing.NDArray[np.int16]:
    """Hops from each entry to the root of its tree, by doubling how far each looks ahead."""
    hops = inner.astype(np.int16)
    while True:
        further = hops[onward]
        if not further.any():
            return hops
        hops = hops + further
        onward = onward[onward]
