"""A question as arrays: vertices, directed links and what must flow between them; what the engines see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from solver.demand import Demand
from topologies.errors import InputError
from topologies.fabric import Fabric

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Flow = csr_array[np.float64, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Instance:
    """Vertices and links as numbers, and demands between vertices.

    A host is two vertices, one that sends and one that receives, so that no path leads through it.

    Attributes
    ----------
    vertices : int
    tails, heads : array of int, shape (links,)
        Vertex where each link starts and ends; parallel links are separate.
    capacities_bps, delays_s : array of float, shape (links,)
        What each link carries (the whole of it), and its delay, or 1 for every link where one is unknown.
    allowed_bps : array of float, shape (links,)
        What may be used of each link: capacity times the allowed utilisation.
    target_vertices : array of int, shape (targets,)
        Destinations, each once: the rows of a flow.
    rows, origins, rates_bps : arrays, shape (demands,)
        Row of each demand's destination, vertex where it starts, and what it asks, above 0.
    """

    vertices: int
    tails: Ints
    heads: Ints
    capacities_bps: Floats
    delays_s: Floats
    allowed_bps: Floats
    target_vertices: Ints
    rows: Ints
    origins: Ints
    rates_bps: Floats

    @property
    def links(self) -> int:
        return len(self.tails)

    @property
    def targets(self) -> int:
        return len(self.target_vertices)

    def supply(self) -> Flow:
        """What each vertex offers towards each destination, shape (targets, vertices), bit/s."""
        summed = csr_array((self.rates_bps, (self.rows, self.origins)), shape=(self.targets, self.vertices))
        summed.sum_duplicates()
        return summed

    def towards(self, rows: Ints) -> Instance:
        """The demands to some of the destinations alone."""
        number = np.full(self.targets, -1, dtype=np.intp)
        number[rows] = np.arange(len(rows))
        mine = number[self.rows] >= 0
        return replace(
            self, target_vertices=self.target_vertices[rows], rows=number[self.rows[mine]],
            origins=self.origins[mine], rates_bps=self.rates_bps[mine],
        )  # fmt: skip

    def distances(self, weights: Floats) -> Floats:
        """Distance of each vertex to each destination under link weights, shape (targets, vertices)."""
        if not self.targets:
            return np.zeros((0, self.vertices))
        order = np.lexsort((weights, self.tails, self.heads))
        # Of parallel links only the lightest counts; csgraph would add them up.
        edge = self.heads[order] * self.vertices + self.tails[order]
        first = order[np.unique(edge, return_index=True)[1]]
        graph = csr_array(
            (weights[first], (self.heads[first], self.tails[first])), shape=(self.vertices, self.vertices)
        )
        return np.asarray(dijkstra(graph, indices=self.target_vertices), dtype=np.float64)


def loads_of(flow_bps: Flow) -> Floats:
    """Load on each link, shape (links,), bit/s."""
    return np.asarray(flow_bps.sum(axis=0), dtype=np.float64).ravel()


@dataclass(frozen=True, eq=False)
class Answer:
    """What an engine says of an instance; nothing of it counts before the certificate has seen it.

    Attributes
    ----------
    flow_bps : sparse array, shape (targets, links)
        Flow towards each destination on each link; conserved, without cycles.
    share : float
        The part of every demand that is carried.
    prices : array, shape (links,)
        Not negative; what proves the bound (`solver.certificate`).
    reason : str
        What was found, in a clause.
    exact : bool
        Whether the engine went on to the end.
    """

    flow_bps: Flow
    share: float
    prices: Floats
    reason: str
    exact: bool = True


def build(fabric: Fabric, demands: Sequence[Demand], max_utilisation: float = 1.0) -> Instance:
    """Number everything.

    Raises
    ------
    InputError
        A demand starts or ends at a node that the fabric does not have, or a link has no capacity.
    """
    at, hosts = fabric.node_index, np.flatnonzero(fabric.is_host)
    receives = np.arange(len(fabric.nodes))
    receives[hosts] = len(fabric.nodes) + np.arange(len(hosts))
    try:
        origins = np.array([at[demand.source] for demand in demands], dtype=np.intp)
        goals = receives[np.array([at[demand.target] for demand in demands], dtype=np.intp)]
    except KeyError as error:
        (name,) = error.args
        demand = next(demand for demand in demands if name in (demand.source, demand.target))
        raise InputError(
            f"demand {demand.source} → {demand.target} names {name!r}, which is not a node of the fabric; "
            "correct the name or add the node"
        ) from None
    _, first, numbers = np.unique(goals, return_index=True, return_inverse=True)
    order = np.argsort(first)
    row_of = np.empty(len(order), dtype=np.intp)
    row_of[order] = np.arange(len(order))
    known = all(link.delay_s is not None for link in fabric.links)
    return Instance(
        vertices=len(fabric.nodes) + len(hosts),
        tails=fabric.ends[0],
        heads=receives[fabric.ends[1]],
        capacities_bps=fabric.capacities_bps,
        delays_s=fabric.delays_s if known else np.ones(len(fabric.links)),
        allowed_bps=fabric.capacities_bps * max_utilisation,
        target_vertices=goals[first[order]],
        rows=row_of[numbers],
        origins=origins,
        rates_bps=np.array([demand.rate_bps for demand in demands], dtype=np.float64),
    )
