"""Cuts: what must cross a set of links against what they carry, as bounds on the share and as reasons to give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.instance import Floats, Instance, Ints

_MARGIN = 1e-9
_CELLS = 50_000_000
"""Of all tables together when cuts are read off prices: bounds the time of an explanation."""

Inside = NDArray[np.bool_]
"""Shape (sets, vertices): which vertices each set has."""


@dataclass(frozen=True, eq=False)
class Cut:
    """The links that leave a set of vertices, what they carry and what must leave the set, in bit/s."""

    links: Ints
    capacity_bps: float
    demand_bps: float

    @property
    def share(self) -> float:
        """No common share of the demands above this crosses the cut."""
        return self.capacity_bps / self.demand_bps

    def prices(self, links: int) -> Floats:
        """The link prices that prove it, shape (links,)."""
        prices = np.zeros(links)
        prices[self.links] = 1 / self.demand_bps
        return prices


def narrowest(
    instance: Instance, limits_bps: Floats, *, groups: Sequence[NDArray[np.bool_]] = (), prices: Floats | None = None
) -> Cut | None:
    """The cut with the least capacity for its demand, among those worth a look.

    These are around each vertex and each group, both ways; and, given prices, around the vertices farther
    than some distance from a destination: an optimal dual of one commodity is such a cut (Ford and
    Fulkerson), and where several jam in one place the levels find it too.

    Parameters
    ----------
    groups : sequence of array of bool, shape (vertices,)
        Sets worth a look, such as pods.

    Returns
    -------
    Cut or None
        None where no demand crosses any of them.
    """
    best = _around_vertices(instance, limits_bps)
    goals = instance.target_vertices[instance.rows]
    for inside in (*_both_ways(groups), *_levels(instance, prices)):
        crossing = inside[:, instance.tails] & ~inside[:, instance.heads]
        demand = (inside[:, instance.origins] & ~inside[:, goals]) @ instance.rates_bps
        best = _better(best, crossing @ limits_bps, demand, _members(crossing))
    return best


def _around_vertices(instance: Instance, limits_bps: Floats) -> Cut | None:
    goals = instance.target_vertices[instance.rows]
    best: Cut | None = None
    for ends, begins in ((instance.tails, instance.origins), (instance.heads, goals)):
        capacity = np.bincount(ends, weights=limits_bps, minlength=instance.vertices).astype(np.float64)
        demand = np.bincount(begins, weights=instance.rates_bps, minlength=instance.vertices).astype(np.float64)
        best = _better(best, capacity, demand, _touching(ends))
    return best


def _better(best: Cut | None, capacity: Floats, demand: Floats, links_of: Callable[[int], Ints]) -> Cut | None:
    share = np.divide(capacity, demand, out=np.full(len(demand), np.inf), where=demand > 0)
    if not len(share):
        return best
    pick = int(np.argmin(share))
    if not np.isfinite(share[pick]) or (best is not None and share[pick] >= best.share * (1 - _MARGIN)):
        return best
    return Cut(links_of(pick), float(capacity[pick]), float(demand[pick]))


def _members(crossing: NDArray[np.bool_]) -> Callable[[int], Ints]:
    return lambda pick: np.flatnonzero(crossing[pick])


def _touching(ends: Ints) -> Callable[[int], Ints]:
    return lambda pick: np.flatnonzero(ends == pick)


def _both_ways(groups: Sequence[NDArray[np.bool_]]) -> Iterator[Inside]:
    if groups:
        inside = np.vstack(list(groups))
        yield inside
        yield ~inside


def _levels(instance: Instance, prices: Floats | None) -> Iterator[Inside]:
    if prices is None or not prices.any():
        return
    away = instance.distances(prices)
    cells = 0
    for row, target in enumerate(instance.target_vertices.tolist()):
        distance = away[row].copy()
        distance[target] = 0.0
        largest = float(distance[np.isfinite(distance)].max(initial=0.0))
        if not largest:
            continue
        levels = np.unique(np.round(distance[np.isfinite(distance)] / largest, 7))[:-1] * largest
        cells += len(levels) * (instance.links + len(instance.rates_bps))
        if cells > _CELLS:
            return
        yield distance[None, :] > levels[:, None] + 1e-6 * largest
