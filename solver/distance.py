"""Distances between the ends of demands under link weights: what the independent check needs of graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from solver.demand import Demand
from solver.errors import CertificateError
from solver.routing import Path, PathFlows
from topologies.fabric import Fabric

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_CHUNK = 512
"""Destinations looked at together: bounds the memory."""


@dataclass(frozen=True, eq=False)
class Allowed:
    """The paths that demands may take.

    Attributes
    ----------
    max_hops : int or None
        Links of a path at most, access links included; None for any number.
    paths : mapping of (source, target) to paths, or None
        The choice of each pair; None for all paths.
    """

    max_hops: int | None = None
    paths: Mapping[tuple[str, str], Sequence[Path]] | None = None

    def check(self, fabric: Fabric, demands: Sequence[Demand], flows: PathFlows) -> None:
        """Refuse paths that were not to be taken.

        Raises
        ------
        CertificateError
            A path is too long, or not among those of its demand.
        """
        if self.max_hops is not None and np.any(np.diff(flows.starts) > self.max_hops):
            raise CertificateError(f"a path has more than {self.max_hops} links; the routing is not used, report it")
        if self.paths is None:
            return
        ids = [link.id for link in fabric.links]
        for path, owner in enumerate(flows.owners.tolist()):
            demand = demands[owner]
            taken = tuple(ids[link] for link in flows.of(path).tolist())
            if taken not in self.paths.get((demand.source, demand.target), ()):
                raise CertificateError(
                    f"a path of {demand.source} → {demand.target} is not among those given; it is not used, report it"
                )


def demand_distances(
    fabric: Fabric, sources: Ints, targets: Ints, weights: Floats, allowed: Allowed | None = None
) -> Floats:
    """Distance from each demand's source to its target, shape (demands,); infinite where there is no path.

    Parameters
    ----------
    sources, targets : array of int, shape (demands,)
        Positions in ``fabric.nodes``.
    weights : array, shape (links,)
        Not negative.
    """
    if not len(sources):
        return np.zeros(0)
    if allowed is not None and allowed.paths is not None:
        return _over_given(fabric, sources, targets, weights, allowed)
    starts, ends, size = _vertices(fabric)
    if allowed is not None and allowed.max_hops is not None:
        return _within_hops(starts, ends, size, sources, _arrivals(fabric, targets), weights, allowed.max_hops)
    # A host with one cable has one way out and one way in: only the switches are left to search.
    leaving, arriving = (np.bincount(side, minlength=len(fabric.nodes)) for side in fabric.ends)
    switch = ~fabric.is_host
    is_up = fabric.is_host[fabric.ends[0]] & (leaving[fabric.ends[0]] == 1) & switch[fabric.ends[1]]
    is_down = fabric.is_host[fabric.ends[1]] & (arriving[fabric.ends[1]] == 1) & switch[fabric.ends[0]]
    up, down = (np.full(len(fabric.nodes), -1, dtype=np.intp) for _ in range(2))
    up[fabric.ends[0][is_up]] = np.flatnonzero(is_up)
    down[fabric.ends[1][is_down]] = np.flatnonzero(is_down)
    out, into = up[sources], down[targets]
    begin = np.where(out >= 0, starts_to(ends, out), sources)
    goal = np.where(into >= 0, starts_to(starts, into), _arrivals(fabric, targets))
    fixed = np.where(out >= 0, weights[out], 0.0) + np.where(into >= 0, weights[into], 0.0)
    rest = np.flatnonzero(~(is_up | is_down))
    # Vertices that free links join both ways are one vertex: distances stay the same.
    free = rest[weights[rest] == 0]
    joined = csr_array((np.ones(len(free), dtype=np.int8), (starts[free], ends[free])), shape=(size, size))
    parts, labels = connected_components(joined, directed=True, connection="strong")
    part_of: Ints = labels.astype(np.intp)
    begin, goal, tails, heads = part_of[begin], part_of[goal], part_of[starts[rest]], part_of[ends[rest]]
    graph = _lightest(heads, tails, weights[rest], parts)
    found = np.empty(len(sources))
    goals, row_of = np.unique(goal, return_inverse=True)
    order = np.argsort(row_of, kind="stable")
    bounds = np.searchsorted(row_of[order], np.arange(0, len(goals) + _CHUNK, _CHUNK))
    for chunk, first in enumerate(range(0, len(goals), _CHUNK)):
        mine = order[bounds[chunk] : bounds[chunk + 1]]
        away = np.atleast_2d(dijkstra(graph, indices=goals[first : first + _CHUNK]))
        found[mine] = away[row_of[mine] - first, begin[mine]]
    total: Floats = found + fixed
    return total


def starts_to(side: Ints, links: Ints) -> Ints:
    """The vertex on one side of each link; anything where there is no link (-1)."""
    return side[np.maximum(links, 0)]


def _vertices(fabric: Fabric) -> tuple[Ints, Ints, int]:
    """Where links start and end when a host that sends and a host that receives are two vertices."""
    nodes = len(fabric.nodes)
    ends = fabric.ends[1] + nodes * fabric.is_host[fabric.ends[1]]
    return fabric.ends[0], ends, 2 * nodes


def _arrivals(fabric: Fabric, targets: Ints) -> Ints:
    arrivals: Ints = targets + len(fabric.nodes) * fabric.is_host[targets]
    return arrivals


def _lightest(tails: Ints, heads: Ints, weights: Floats, size: int) -> csr_array[np.float64, tuple[int, int]]:
    """The graph with the lightest of parallel links; a weight of 0 stays an edge."""
    keys = tails * size + heads
    order = np.lexsort((weights, keys))
    first = order[np.unique(keys[order], return_index=True)[1]]
    return csr_array((weights[first], (tails[first], heads[first])), shape=(size, size))


def _within_hops(
    starts: Ints, ends: Ints, size: int, sources: Ints, arrivals: Ints, weights: Floats, hops: int
) -> Floats:
    """Distances over at most so many links (Bellman and Ford, one round a link)."""
    order = np.argsort(starts, kind="stable")
    tails, first = np.unique(starts[order], return_index=True)
    found = np.empty(len(sources))
    goals, row_of = np.unique(arrivals, return_inverse=True)
    for begin in range(0, len(goals), _CHUNK):
        chunk = goals[begin : begin + _CHUNK]
        away = np.full((len(chunk), size), np.inf)
        away[np.arange(len(chunk)), chunk] = 0.0
        for _ in range(hops):
            through = (weights + away[:, ends])[:, order]
            shorter = away.copy()
            shorter[:, tails] = np.minimum(away[:, tails], np.minimum.reduceat(through, first, axis=1))
            if np.array_equal(shorter, away):
                break
            away = shorter
        mine = np.flatnonzero((row_of >= begin) & (row_of < begin + len(chunk)))
        found[mine] = away[row_of[mine] - begin, sources[mine]]
    return found


def _over_given(fabric: Fabric, sources: Ints, targets: Ints, weights: Floats, allowed: Allowed) -> Floats:
    position = {link.id: number for number, link in enumerate(fabric.links)}
    choice = allowed.paths or {}
    most = allowed.max_hops if allowed.max_hops is not None else len(fabric.links)
    found = np.full(len(sources), np.inf)
    for index, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        for path in choice.get((fabric.nodes[source].id, fabric.nodes[target].id), ()):
            if len(path) <= most:
                found[index] = min(found[index], float(sum(weights[position[link]] for link in path)))
    return found
