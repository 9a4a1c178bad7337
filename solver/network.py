"""The fabric as arrays for the models: where links start and end, and which of them may serve a destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, dijkstra

from solver.demand import Demand
from topologies.errors import InputError
from topologies.fabric import Fabric, NodeKind

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_HOP = 1e-7
"""Weight of a hop beside the mean delay: among equal delays fewer hops win."""
_TIE = 1e-10
"""Paths whose weights differ by less, in mean delays, are equal."""


@dataclass(frozen=True)
class Network:
    """Vertices and links as numbers.

    A host is two vertices, one that sends and one that receives, so that no path leads through it.

    Attributes
    ----------
    tails, heads : array of int, shape (links,)
        Vertex where each link starts and ends.
    targets : tuple of str
        Destinations in order of their first demand.
    target_vertices : array of int, shape (targets,)
    supply : array of float, shape (targets, vertices)
        What each vertex offers towards each destination, bit/s.
    """

    fabric: Fabric
    demands: tuple[Demand, ...]
    vertices: int
    tails: Ints
    heads: Ints
    targets: tuple[str, ...]
    target_vertices: Ints
    supply: Floats

    @classmethod
    def build(cls, fabric: Fabric, demands: Sequence[Demand]) -> Network:
        """Number everything.

        Raises
        ------
        InputError
            A demand starts or ends at a node that the fabric does not have.
        """
        sends = {node.id: index for index, node in enumerate(fabric.nodes)}
        hosts = (node.id for node in fabric.nodes if node.kind is NodeKind.HOST)
        receives = sends | {host: len(sends) + index for index, host in enumerate(hosts)}
        for demand in demands:
            for end in (demand.source, demand.target):
                if end not in sends:
                    raise InputError(
                        f"demand {demand.source} → {demand.target} names {end!r}, which is not a node of the fabric; "
                        "correct the name or add the node"
                    )
        targets = tuple(dict.fromkeys(demand.target for demand in demands))
        rows = {target: row for row, target in enumerate(targets)}
        vertices = len(sends) + len(fabric.hosts)
        supply = np.zeros((len(targets), vertices))
        for demand in demands:
            supply[rows[demand.target], sends[demand.source]] += demand.rate_bps
        return cls(
            fabric, tuple(demands), vertices,
            np.array([sends[link.source] for link in fabric.links], dtype=np.intp),
            np.array([receives[link.target] for link in fabric.links], dtype=np.intp),
            targets, np.array([receives[target] for target in targets], dtype=np.intp), supply,
        )  # fmt: skip

    def distances(self, weights: Floats) -> Floats:
        """Distance of each vertex to each target under link weights, shape (targets, vertices)."""
        if not len(self.targets):
            return np.zeros((0, self.vertices))
        order = np.lexsort((weights, self.tails, self.heads))
        # Of parallel links only the lightest counts; csgraph would add them up.
        edge = self.heads[order] * self.vertices + self.tails[order]
        first = order[np.unique(edge, return_index=True)[1]]
        graph = csr_array(
            (weights[first], (self.heads[first], self.tails[first])), shape=(self.vertices, self.vertices)
        )
        return np.asarray(dijkstra(graph, indices=self.target_vertices), dtype=np.float64)

    def every_arc(self) -> Arcs:
        """All (destination, link) pairs that a loop-free path can use."""
        useful = np.ones((len(self.targets), len(self.tails)), dtype=bool)
        for row, target in enumerate(self.target_vertices):
            hosts_reached = self.heads >= len(self.fabric.nodes)
            useful[row] &= (self.heads == target) | ~hosts_reached
            starts = self.fabric.node_by_id[self.targets[row]].id
            useful[row] &= self.tails != self._sender(starts)
            idle_host = self._is_host & (self.supply[row] == 0)
            useful[row] &= ~idle_host[self.tails]
        return Arcs.of(useful)

    def shortest_arcs(self, delays: Floats) -> Arcs:
        """The (destination, link) pairs on delay-shortest paths of the demands; among equals fewer hops."""
        scale = float(delays.mean()) if delays.any() else 1.0
        return self.arcs_within(delays + _HOP * scale, _TIE * scale)

    def arcs_within(self, weights: Floats, slack: float) -> Arcs:
        """The (destination, link) pairs on paths of the demands whose every link is shortest up to a slack."""
        away = self.distances(weights)
        tight = weights + away[:, self.heads] <= away[:, self.tails] + slack
        tight &= np.isfinite(away[:, self.heads])
        for row in range(len(self.targets)):
            seen = self._reached(tight[row], np.flatnonzero(self.supply[row]))
            tight[row] &= seen[self.tails]
        return Arcs.of(tight)

    @property
    def _is_host(self) -> NDArray[np.bool_]:
        flags = np.zeros(self.vertices, dtype=bool)
        flags[: len(self.fabric.nodes)] = [node.kind is NodeKind.HOST for node in self.fabric.nodes]
        return flags

    def _sender(self, name: str) -> int:
        return next(index for index, node in enumerate(self.fabric.nodes) if node.id == name)

    def _reached(self, usable: NDArray[np.bool_], sources: Ints) -> NDArray[np.bool_]:
        """Vertices that a walk over usable links reaches from any of the sources."""
        links = np.flatnonzero(usable)
        root = self.vertices
        tails = np.concatenate([self.tails[links], np.full(len(sources), root)])
        heads = np.concatenate([self.heads[links], sources])
        graph = csr_array((np.ones(len(tails)), (tails, heads)), shape=(root + 1, root + 1))
        seen = np.zeros(root + 1, dtype=bool)
        seen[breadth_first_order(graph, root, return_predecessors=False)] = True
        return seen[:root]


@dataclass(frozen=True)
class Arcs:
    """The (destination, link) pairs that a model may use: its variables.

    Attributes
    ----------
    rows, links : array of int, shape (arcs,)
        Index of the destination and of the link.
    """

    rows: Ints
    links: Ints

    @classmethod
    def of(cls, usable: NDArray[np.bool_]) -> Arcs:
        rows, links = np.nonzero(usable)
        return cls(rows, links)
