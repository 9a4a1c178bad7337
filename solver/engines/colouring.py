"""One path for each of many equal demands on a Clos network, by edge colouring: one flow a link where that can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from solver.clos import Clos, Unsuitable, recognise
from solver.edge_colouring import colour
from solver.engines.rerouting import improve, shortest_first
from solver.instance import Floats, Instance, Ints
from solver.paths import Paths
from solver.watch import Watch

_EQUAL = 1e-9
"""Relative difference between rates, or utilisations, that arithmetic explains."""
_STEEP = 8.0
"""How many times as much a link costs with one flow more on it: above the 4 links between leaves of a fat-tree."""
_NOISE = 1e-3
"""Relative; breaks ties between paths at random, so that repeated moves do not go in circles."""
_ROUNDS, _MOVES = 3, 1_000
"""How long flows may move off overfull links without getting these fewer: 1,000 moves take 0.1 s."""


_ORDERS, _FEW, _FEW_MOVES = 30, 2_000, 8
"""Further orders of the flows that are tried, up to how many flows, and how long flows may move in each."""


def one_path_each(instance: Instance, watch: Watch, *, seed: int = 0) -> Paths | Unsuitable:
    """Choose a path for each demand so that the fullest link carries as little as possible.

    Parameters
    ----------
    instance : Instance
        Its demands ask for equal rates, between leaves of a folded Clos or hosts that hang on them.
    watch : Watch
        Ends the repairs early; the colouring itself is always finished.
    seed : int
        Of the repairs.

    Returns
    -------
    Paths or Unsuitable
        Paths go up and down once, without detours unless links failed. Without failures the fullest link
        from or to a leaf carries ``ceil(flows of the busiest leaf / its uplinks)`` flows, the least
        possible; for a (partial) permutation of the hosts of a Clos of full bisection no link carries two.

    Raises
    ------
    SolverError
        Failed links leave a demand no path at all.

    Notes
    -----
    The planes above the leaves, with parallel links each for itself, are the colours of the flows between
    leaves; within each plane the same again between its leaves, for all planes at once. Flows that met
    a missing link then take the path whose links are least full, and overfull links pass flows on.

    References
    ----------
    D. König, Mathematische Annalen 77, 1916. D. de Werra, "Balanced schedules", INFOR 9, 1971. F. K. Hwang,
    "Control algorithms for rearrangeable Clos networks", IEEE Transactions on Communications 31, 1983.
    """
    rates = instance.rates_bps
    if not len(rates):
        return Paths(np.zeros(1, dtype=np.intp), np.zeros(0, dtype=np.intp))
    if np.ptp(rates) > _EQUAL * rates[0]:
        return Unsuitable("the demands ask for different rates")
    clos = recognise(instance)
    if isinstance(clos, Unsuitable):
        return clos
    flows = _Flows(instance, clos)
    least = flows.least()
    random = np.random.default_rng(seed)
    every = np.arange(len(rates))
    # Where a link is missing it matters which flows share its plane: another order shares them otherwise, and
    # is found sooner than a way from a bad sharing to a good one.
    orders = [every, *(random.permutation(every) for _ in range(_ORDERS if len(rates) <= _FEW else 0))]
    for number, order in enumerate(orders):
        flows.colour(order)
        last = number + 1 == len(orders)
        if flows.repair(least, watch, random, _MOVES if last else _FEW_MOVES) or watch.expired():
            break
    paths = flows.paths()
    if flows.broken.any():
        paths = shortest_first(instance, watch, seed, given=paths)
    if paths.worst(instance) > least * (1 + _EQUAL) and not watch.expired():
        return improve(instance, paths, watch, goal=least, seed=seed)
    return paths


class _Flows:
    """The links that each flow takes, and how full these are.

    Attributes
    ----------
    ups, downs : array of int, shape (tiers, demands)
        Link of each flow in each tier; -1 where it needs none or has none yet.
    broken : array of bool, shape (demands,)
        Flows without a whole path.
    """

    def __init__(self, instance: Instance, clos: Clos) -> None:
        self._instance, self._clos = instance, clos
        targets = instance.target_vertices[instance.rows]
        self._sources, self._targets = clos.leaf_of[instance.origins], clos.leaf_of[targets]
        self._enter = _access(instance.origins, instance.tails, clos.levels[0])
        self._leave = _access(targets, instance.heads, clos.levels[0])
        shape = (len(clos.tiers), len(targets))
        self.ups, self.downs = np.full(shape, -1), np.full(shape, -1)
        self.broken = np.zeros(len(targets), dtype=np.bool_)
        self._rate_bps = float(instance.rates_bps[0])
        self._adds: Floats = self._rate_bps / instance.allowed_bps

    def least(self) -> float:
        """Utilisation of the fullest link below which no choice of paths comes: by access links and cuts of pods."""
        access = np.concatenate([self._enter, self._leave])
        full = np.bincount(access[access >= 0], minlength=self._instance.links) * self._adds
        least = float(full.max(initial=0.0))
        pod: Ints = np.arange(len(self._clos.levels[0]))
        pod_of = pod
        for tier in self._clos.tiers:
            pods = int(pod.max()) + 1
            crossing = pod[self._sources] != pod[self._targets]
            for ends, links in ((self._sources, tier.up), (self._targets, tier.down)):
                must = np.bincount(pod[ends[crossing]], minlength=pods)
                live = np.bincount(pod_of, np.count_nonzero(links >= 0, axis=(1, 2)), minlength=pods)
                # Who has lost all links up leaves by detours, through slower links or other leaves, or not at all.
                each = np.ceil(must[live > 0] / live[live > 0])
                least = max(least, float(each.max(initial=0.0)) * self._rate_bps / tier.allowed_bps)
            row, plane = np.nonzero(tier.above >= 0)
            size = pods + int(tier.above.max()) + 1
            joins = (np.ones(len(row), dtype=np.int8), (pod_of[row], pods + tier.above[row, plane]))
            label: Ints = connected_components(csr_array(joins, shape=(size, size)), directed=False)[1].astype(np.intp)
            pod, pod_of = label[pod], label[pods:]
        return least

    def colour(self, order: Ints) -> None:
        """Share the flows, taken in some order, over planes and parallel links, tier by tier."""
        self.ups[:], self.downs[:], self.broken[:] = -1, -1, False
        flows = order[self._sources[order] != self._targets[order]]
        lower, upper = self._sources[flows], self._targets[flows]
        for level, tier in enumerate(self._clos.tiers):
            planes, parallel = tier.up.shape[1:]
            # Few flows of several leaves below one switch share their colours, so that it is not overfull in turn.
            rank = np.empty(len(tier.above), dtype=np.intp)
            rank[np.lexsort(tier.above.T[::-1])] = np.arange(len(rank))
            lane, plane = np.divmod(colour(rank[lower], rank[upper], planes * parallel), planes)
            self.ups[level, flows], self.downs[level, flows] = (
                tier.up[lower, plane, lane],
                tier.down[upper, plane, lane],
            )
            missing = (self.ups[level, flows] < 0) | (self.downs[level, flows] < 0)
            lower, upper = tier.above[lower, plane], tier.above[upper, plane]
            self.broken[flows[missing | (lower < 0) | (upper < 0)]] = True
            on = (lower != upper) & (lower >= 0) & (upper >= 0)
            flows, lower, upper = flows[on], lower[on], upper[on]
        self.broken[flows] = True

    def repair(self, least: float, watch: Watch, random: np.random.Generator, most: int) -> bool:
        """Lead flows around missing links, then away from overfull ones; those without either stay broken.

        Parameters
        ----------
        most : int
            Moves without fewer overfull links, after which it ends.

        Returns
        -------
        bool
            Whether every flow has a path and no link is fuller than it must be.
        """
        self.ups[:, self.broken] = self.downs[:, self.broken] = -1
        state = _Fullness(self._clos, self._adds, np.concatenate([self.ups.ravel(), self.downs.ravel()]), random)
        for flow in np.flatnonzero(self.broken).tolist():
            self.broken[flow] = not self._place(state, flow)
        limit, best, kept = least * (1 + _EQUAL), (np.inf, np.inf), (self.ups.copy(), self.downs.copy())
        rounds = moves = 0
        while (rounds < min(_ROUNDS, most) or moves < most) and not watch.expired():
            over = state.fullness > limit
            if not over.any():
                return not self.broken.any()
            reached = float(state.fullness.max()), float((state.fullness[over] - least).sum())
            if reached[0] < best[0] * (1 - _EQUAL) or (reached[0] <= best[0] and reached[1] < best[1] * (1 - _EQUAL)):
                best, kept, rounds, moves = reached, (self.ups.copy(), self.downs.copy()), 0, 0
            rounds += 1
            over = np.append(over, False)
            for flow in np.flatnonzero((over[self.ups] | over[self.downs]).any(axis=0)).tolist():
                used = np.concatenate([self.ups[:, flow], self.downs[:, flow]])
                used = used[used >= 0]
                if state.fullness[used].max() > limit:
                    # Back to the same links unless others are as good: no move makes it worse, ties make it wander.
                    state.take(used, -1)
                    self._place(state, flow)
                    moves += 1
        self.ups, self.downs = kept
        return False

    def paths(self) -> Paths:
        """The links in order: up to the turning point, then down; none for broken flows."""
        table = np.vstack([self._enter, self.ups, self.downs[::-1], self._leave]).T
        table[self.broken] = -1
        starts = np.concatenate([[0], np.cumsum(np.count_nonzero(table >= 0, axis=1))])
        return Paths(starts, table[table >= 0])

    def _place(self, state: _Fullness, flow: int) -> bool:
        found = state.lightest(int(self._sources[flow]), int(self._targets[flow]))
        if found is None:
            return False
        self.ups[:, flow] = self.downs[:, flow] = -1
        for level, (up, down) in enumerate(found):
            self.ups[level, flow], self.downs[level, flow] = up, down
        state.take(np.array(found).ravel(), 1)
        return True


class _Fullness:
    """How full each link is while flows move.

    Attributes
    ----------
    fullness : array of float, shape (links,)
        Utilisation of what is allowed.
    """

    def __init__(self, clos: Clos, adds: Floats, used: Ints, random: np.random.Generator) -> None:
        self._clos, self._adds, self._random = clos, adds, random
        self.fullness: Floats = np.bincount(used[used >= 0], minlength=len(adds)) * adds
        self._unit = (
            max((float(adds[tier.up[tier.up >= 0]].max(initial=0.0)) for tier in clos.tiers), default=0.0) or 1.0
        )
        self._zero = float(self.fullness.max(initial=0.0))
        # The entry past the end is that of missing links, whose number is -1.
        self._prices = np.append(self._priced(np.arange(len(adds))), np.inf)

    def _priced(self, links: Ints) -> Floats:
        after = self.fullness[links] + self._adds[links] - self._zero
        return np.asarray(_STEEP ** np.minimum(after / self._unit, 60.0), dtype=np.float64)

    def take(self, links: Ints, sign: int) -> None:
        """A flow comes onto links (each once), or leaves them."""
        self.fullness[links] += sign * self._adds[links]
        self._prices[links] = self._priced(links)

    def lightest(self, source: int, target: int) -> list[tuple[int, int]] | None:
        """Links up and down in each tier, of the path between two leaves whose links are least full."""
        lower, upper, cost = np.array([source]), np.array([target]), np.zeros(1)
        steps: list[tuple[Ints, Ints, Ints]] = []
        best, least = None, np.inf
        for level, tier in enumerate(self._clos.tiers):
            up, down = tier.up[lower], tier.down[upper]
            up_prices, down_prices = self._prices[up], self._prices[down]
            total = cost[:, None] + up_prices.min(axis=2) + down_prices.min(axis=2)
            total *= 1 + _NOISE * self._random.random(total.shape)
            lane_up, lane_down = up_prices.argmin(axis=2), down_prices.argmin(axis=2)
            next_lower, next_upper = tier.above[lower], tier.above[upper]
            meets = np.where((next_lower == next_upper) & (next_lower >= 0), total, np.inf)
            at = int(meets.argmin())
            before, plane = np.nonzero(np.isfinite(total) & (next_lower != next_upper))
            planes = total.shape[1]
            chosen_up = up[before, plane, lane_up[before, plane]]
            chosen_down = down[before, plane, lane_down[before, plane]]
            if meets.flat[at] < least:
                least = float(meets.flat[at])
                row, column = divmod(at, planes)
                last = int(up[row, column, lane_up[row, column]]), int(down[row, column, lane_down[row, column]])
                best = [*_trace(steps, row), last]
            steps.append((before, chosen_up, chosen_down))
            lower, upper, cost = next_lower[before, plane], next_upper[before, plane], total[before, plane]
            if not len(lower) or level + 1 == len(self._clos.tiers):
                break
        return best


def _trace(steps: list[tuple[Ints, Ints, Ints]], row: int) -> list[tuple[int, int]]:
    """The links that led to a state, from the leaf on."""
    links = []
    for before, up, down in reversed(steps):
        links.append((int(up[row]), int(down[row])))
        row = int(before[row])
    return links[::-1]


def _access(ends: Ints, near: Ints, leaves: Ints) -> Ints:
    """The access link of each demand at one side, parallel ones in turn; -1 for demands at leaves themselves."""
    order = np.argsort(near, kind="stable")
    counts = np.bincount(near, minlength=int(max(ends.max(initial=0), leaves.max(initial=0))) + 1)
    first = np.cumsum(counts) - counts
    by_end = np.argsort(ends, kind="stable")
    flows = np.bincount(ends, minlength=1)
    turn = np.empty(len(ends), dtype=np.intp)
    turn[by_end] = np.arange(len(ends)) - np.repeat(np.cumsum(flows) - flows, flows)
    hosts: NDArray[np.bool_] = ~np.isin(ends, leaves)
    links = np.full(len(ends), -1)
    links[hosts] = order[(first[ends] + turn % np.maximum(counts[ends], 1))[hosts]]
    return links
