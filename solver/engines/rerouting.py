"""One path for each demand on any graph, by moving demands off the fullest links one at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from solver.errors import SolverError
from solver.instance import Floats, Instance, Ints
from solver.paths import Paths
from solver.watch import Watch

_EQUAL = 1e-9
"""Relative difference between utilisations that arithmetic explains."""
_STEEP = 12.0
"""Power of a link's utilisation in its penalty: one link at the worst outweighs 4,000 at half of it."""
_TIE = 1e-7
"""Penalty of a link for its being on a path, relative to one at the worst utilisation: detours must pay."""
_HOP = 1e-6
"""Length of every hop, relative to the longest delay: of paths of one delay the fewest hops count."""
_REMEMBERED = 10_000_000
"""Distances kept at most: 320 MB."""
_PATIENCE = 60
"""Moves without a better worst link after which the search ends; each takes one shortest-path run."""


def improve(
    instance: Instance, paths: Paths, watch: Watch, *, goal: float = 0.0, seed: int = 0, patience: int = _PATIENCE
) -> Paths:
    """Lower the utilisation of the fullest links by rerouting one demand after the other.

    Parameters
    ----------
    instance : Instance
    paths : Paths
        Where to start.
    watch : Watch
        Ends the search.
    goal : float
        Worst utilisation of what is allowed that is good enough, such as a proven bound.
    seed : int
        Of the choice among demands on a fullest link.
    patience : int
        Moves in a row that may bring nothing.

    Returns
    -------
    Paths
        Never worse than those given: first by the worst utilisation, then by the number of links at it,
        then by the sum of the squares of all utilisations.

    Notes
    -----
    A demand leaves a link at the worst utilisation for the path of least penalty; the penalty of a link is
    the growth of a high power of its utilisation, so that the sum over links stands for the lexicographic
    order. Where nothing gains, a demand moves all the same and the link that it left is closed to it: this
    walks over plateaus, as tabu search does (Hertz and de Werra, Computing 39, 1987).
    """
    search = _Search(instance, paths)
    random = np.random.default_rng(seed)
    best, value = search.paths(), search.value()
    left = patience
    while left and value[0] > goal * (1 + _EQUAL) and not watch.expired():
        if not search.move(random):
            break
        left -= 1
        reached = search.value()
        if _less(reached, value):
            best, value, left = search.paths(), reached, patience
    return best


def shortest_first(instance: Instance, watch: Watch, seed: int = 0, *, given: Paths | None = None) -> Paths:
    """Give each demand, the largest first, the least loaded of its paths of least delay.

    Parameters
    ----------
    instance : Instance
    watch : Watch
        Once it has expired, demands still to come take any shortest path.
    seed : int
        Of the order among equal rates.
    given : Paths or None
        Demands that have links here keep them.

    Returns
    -------
    Paths
        Least loaded: the least sum of a high power of the utilisations after adding the demand.

    Raises
    ------
    SolverError
        A demand has no path.
    """
    demands = len(instance.rates_bps)
    chosen = [np.zeros(0, dtype=np.intp) if given is None else given.of(demand) for demand in range(demands)]
    walk = _ShortestWalk(instance, np.zeros(instance.links) if given is None else given.loads_bps(instance))
    order = np.lexsort((np.random.default_rng(seed).permutation(demands), -instance.rates_bps))
    for demand in order.tolist():
        if not len(chosen[demand]):
            chosen[demand] = np.array(walk.take(demand, 0.0 if watch.expired() else _STEEP), dtype=np.intp)
    starts = np.concatenate([[0], np.cumsum([len(path) for path in chosen], dtype=np.intp)])
    return Paths(starts, np.concatenate([np.zeros(0, dtype=np.intp), *chosen]))


class _Graph:
    """The vertices that paths may lead through, by numbers of their own, and how demands come to these and leave."""

    def __init__(self, instance: Instance) -> None:
        self._instance, tails, heads = instance, instance.tails, instance.heads
        sends = np.bincount(tails, minlength=instance.vertices) > 0
        receives = np.bincount(heads, minlength=instance.vertices) > 0
        through = sends & receives
        self.size = int(np.count_nonzero(through))
        self.number: Ints = np.where(through, np.cumsum(through) - 1, -1)
        self.tails: Ints = self.number[tails]
        self.heads: Ints = self.number[heads]
        inner = np.flatnonzero((self.tails >= 0) & (self.heads >= 0))
        self._between_hosts = np.flatnonzero((self.tails < 0) & (self.heads < 0))
        key = self.tails[inner] * self.size + self.heads[inner]
        order = np.argsort(key, kind="stable")
        # Parallel links are one arc, as heavy as the lightest of them: csgraph would add them up.
        self._links = inner[order]
        self._arcs, self._first = np.unique(key[order], return_index=True)
        self._columns = (self._arcs % max(self.size, 1)).astype(np.int32)
        self._rows = np.searchsorted(self._arcs, np.arange(self.size + 1) * self.size).astype(np.int32)
        self._by_tail, self._by_head = np.argsort(tails, kind="stable"), np.argsort(heads, kind="stable")
        self._from = np.searchsorted(tails[self._by_tail], np.arange(instance.vertices + 1))
        self._into = np.searchsorted(heads[self._by_head], np.arange(instance.vertices + 1))

    def arcs(self, weights: Floats) -> csr_array[np.float64, tuple[int, int]]:
        """The graph under link weights, all above 0."""
        lightest = np.minimum.reduceat(weights[self._links], self._first) if len(self._first) else np.zeros(0)
        return csr_array((lightest, self._columns, self._rows), shape=(self.size, self.size))

    def entries(self, origin: int) -> tuple[Ints, Ints]:
        """Links by which a demand leaves its origin, and numbers of their heads; link -1 at a switch itself."""
        if self.number[origin] >= 0:
            return np.array([-1]), self.number[[origin]]
        links = self._by_tail[self._from[origin] : self._from[origin + 1]]
        links = links[self.heads[links] >= 0]
        return links, self.heads[links]

    def exits(self, target: int) -> tuple[Ints, Ints]:
        """Links by which a demand reaches its target, and numbers of their tails; link -1 at a switch itself."""
        if self.number[target] >= 0:
            return np.array([-1]), self.number[[target]]
        links = self._by_head[self._into[target] : self._into[target + 1]]
        links = links[self.tails[links] >= 0]
        return links, self.tails[links]

    def direct(self, origin: int, target: int) -> Ints:
        """Links from one host to another without a switch between."""
        links = self._between_hosts
        both = (self._instance.tails[links] == origin) & (self._instance.heads[links] == target)
        return np.asarray(links[both], dtype=np.intp)

    def lightest(self, origin: int, target: int, weights: Floats) -> list[int] | None:
        """The path of least weight through switches; None where there is none of finite weight."""
        entries, heads = self.entries(origin)
        exits, tails = self.exits(target)
        if not (len(entries) and len(exits)):
            return None
        padded = np.append(weights, 0.0)
        distances, before = dijkstra(self.arcs(weights), indices=heads, return_predecessors=True)
        total = padded[entries][:, None] + distances[:, tails] + padded[exits]
        entry, out = divmod(int(total.argmin()), len(exits))
        if not np.isfinite(total[entry, out]):
            return None
        links, at = [int(exits[out])], int(tails[out])
        while at != heads[entry]:
            previous = int(before[entry, at])
            arc = int(np.searchsorted(self._arcs, previous * self.size + at))
            parallel = self._links[self._first[arc] : np.append(self._first, len(self._links))[arc + 1]]
            links.append(int(parallel[weights[parallel].argmin()]))
            at = previous
        links.append(int(entries[entry]))
        return [link for link in reversed(links) if link >= 0]


class _Search:
    """Paths that move, and how full they make the links."""

    def __init__(self, instance: Instance, paths: Paths) -> None:
        self._instance, self._graph = instance, _Graph(instance)
        lengths = np.diff(paths.starts)
        self._table = np.full((len(lengths), int(lengths.max(initial=0))), -1)
        self._table[np.arange(self._table.shape[1]) < lengths[:, None]] = paths.links
        self._targets = instance.target_vertices[instance.rows]
        self._loads_bps = paths.loads_bps(instance)
        self._stuck: set[tuple[int, int]] = set()

    def paths(self) -> Paths:
        used = self._table >= 0
        return Paths(np.concatenate([[0], np.cumsum(np.count_nonzero(used, axis=1))]), self._table[used])

    def value(self) -> tuple[float, int, float]:
        """Worst utilisation, number of links at it, sum of the squares: less is better."""
        fullness = self._loads_bps / self._instance.allowed_bps
        worst = float(fullness.max(initial=0.0))
        return worst, int(np.count_nonzero(fullness >= worst * (1 - _EQUAL))), float(fullness @ fullness)

    def move(self, random: np.random.Generator) -> bool:
        """Try to take a demand off a fullest link; False where that link can never be less full."""
        allowed = self._instance.allowed_bps
        fullness = self._loads_bps / allowed
        worst = float(fullness.max())
        link = int(random.choice(np.flatnonzero(fullness >= worst * (1 - _EQUAL))))
        users = np.flatnonzero((self._table == link).any(axis=1)).tolist()
        free = [user for user in users if (user, link) not in self._stuck]
        if not free:
            return False
        demand = int(random.choice(free))
        rate = float(self._instance.rates_bps[demand])
        old = self._table[demand][self._table[demand] >= 0]
        self._loads_bps[old] -= rate
        after = (self._loads_bps + rate) / allowed / worst
        weights = after**_STEEP - np.maximum(self._loads_bps / allowed / worst, 0.0) ** _STEEP
        weights = np.maximum(weights, 0.0) + _TIE
        weights[link] = np.inf
        new = self._graph.lightest(int(self._instance.origins[demand]), int(self._targets[demand]), weights)
        if new is None:
            self._stuck.add((demand, link))
        if new is None or after[new].max() > 1 + _EQUAL:
            self._loads_bps[old] += rate
            return True
        self._loads_bps[new] += rate
        missing = len(new) - self._table.shape[1]
        if missing > 0:
            self._table = np.pad(self._table, ((0, 0), (0, missing)), constant_values=-1)
        self._table[demand] = -1
        self._table[demand, : len(new)] = new
        return True


def _less(one: tuple[float, int, float], other: tuple[float, int, float]) -> bool:
    """Whether one value is better, rounding aside."""
    if abs(one[0] - other[0]) > _EQUAL * other[0]:
        return one[0] < other[0]
    return (one[1], one[2] * (1 + _EQUAL)) < (other[1], other[2])


@dataclass(frozen=True)
class _Way:
    """The shortest ways from everywhere to some switches that lead to targets.

    Attributes
    ----------
    left : list of float
        Length that remains from each switch; infinite where no way leads.
    steps : dict of int to list of (int, int)
        Links of shortest ways from a switch and their heads, as far as they were asked for.
    """

    left: list[float]
    steps: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


class _ShortestWalk:
    """Shortest paths by delay, the least loaded first; loads follow every path taken."""

    def __init__(self, instance: Instance, loads_bps: Floats) -> None:
        self._instance, self._graph = instance, _Graph(instance)
        longest = float(instance.delays_s.max(initial=0.0))
        weights = instance.delays_s + (longest * _HOP if longest else 1.0)
        # A link of -1 is the way from a switch to itself.
        self._lengths: list[float] = [*weights.tolist(), 0.0]
        self._allowed: list[float] = [*instance.allowed_bps.tolist(), np.inf]
        self._loads: list[float] = [*loads_bps.tolist(), 0.0]
        self._out: list[list[tuple[int, int]]] = [[] for _ in range(self._graph.size)]
        ends = zip(self._graph.tails.tolist(), self._graph.heads.tolist(), strict=True)
        for link, (tail, head) in enumerate(ends):
            if tail >= 0 and head >= 0:
                self._out[tail].append((link, head))
        self._back = csr_array(self._graph.arcs(weights).T)
        self._ways: dict[tuple[tuple[int, float], ...], _Way] = {}
        self._rate, self._power = 0.0, 0.0
        self._prices: dict[int, float] = {}

    def take(self, demand: int, power: float) -> list[int]:
        """The links of a demand's path, which are loaded with it from now on.

        Parameters
        ----------
        power : float
            Of the utilisation of each link, summed over the path; with 0 the loads do not matter.
        """
        instance = self._instance
        rate = float(instance.rates_bps[demand])
        origin, target = int(instance.origins[demand]), int(instance.target_vertices[instance.rows[demand]])
        if (rate, power) != (self._rate, self._power):
            self._rate, self._power = rate, power
            self._prices.clear()
        direct = self._graph.direct(origin, target).tolist()
        path = [min(direct, key=self._price)] if direct else self._least_loaded(origin, target)
        if path is None:
            raise SolverError(
                f"no path leads from vertex {origin} to vertex {target}; connect them or drop that demand"
            )
        for link in path:
            self._loads[link] += rate
            self._prices.pop(link, None)
        return path

    def _price(self, link: int) -> float:
        price = float(((self._loads[link] + self._rate) / self._allowed[link]) ** self._power)
        self._prices[link] = price
        return price

    def _least_loaded(self, origin: int, target: int) -> list[int] | None:
        starts = list(zip(*(ends.tolist() for ends in self._graph.entries(origin)), strict=True))
        ends: dict[int, list[int]] = {}
        for link, tail in zip(*(ends.tolist() for ends in self._graph.exits(target)), strict=True):
            ends.setdefault(tail, []).append(link)
        way = self._way(ends)
        left = way.left
        least = min((self._lengths[link] + left[head] for link, head in starts), default=math.inf)
        if least == math.inf:
            return None
        # Every step comes closer to the target: by falling distance, all ways to a vertex come before it.
        reached: dict[int, tuple[float, int, int]] = {}
        queue: list[tuple[float, int]] = []
        steps = [(link, head) for link, head in starts if self._lengths[link] + left[head] <= least * (1 + _EQUAL)]
        cost, vertex, best = 0.0, -1, (math.inf, -1, -1)
        while True:
            for link, head in steps:
                total = cost + (self._prices.get(link) or self._price(link))
                known = reached.get(head)
                if known is None:
                    heappush(queue, (-left[head], head))
                if known is None or total < known[0]:
                    reached[head] = (total, link, vertex)
            if not queue:
                break
            _, vertex = heappop(queue)
            cost = reached[vertex][0]
            for link in ends.get(vertex, ()):
                if self._lengths[link] <= left[vertex] * (1 + _EQUAL):
                    best = min(best, (cost + (self._prices.get(link) or self._price(link)), link, vertex))
            steps = self._steps(way, vertex)
        _, link, vertex = best
        links = [link]
        while vertex >= 0:
            _, link, vertex = reached[vertex]
            links.append(link)
        return [link for link in reversed(links) if link >= 0]

    def _steps(self, way: _Way, vertex: int) -> list[tuple[int, int]]:
        """Links on shortest ways from a switch on, with their heads."""
        steps = way.steps.get(vertex)
        if steps is None:
            left = way.left
            most = left[vertex] * (1 + _EQUAL)
            steps = [
                (link, head)
                for link, head in self._out[vertex]
                if left[head] < left[vertex] and self._lengths[link] + left[head] <= most
            ]
            way.steps[vertex] = steps
        return steps

    def _way(self, ends: dict[int, list[int]]) -> _Way:
        """The shortest ways to the target whose last links are given by their tails."""
        key = tuple(sorted((tail, min(self._lengths[link] for link in links)) for tail, links in ends.items()))
        if key not in self._ways:
            left = np.full(self._graph.size, np.inf)
            for tail, last in key:
                np.minimum(left, dijkstra(self._back, indices=[tail])[0] + last, out=left)
            if len(self._ways) * self._graph.size > _REMEMBERED:
                self._ways.clear()
            self._ways[key] = _Way(left.tolist())
        return self._ways[key]
