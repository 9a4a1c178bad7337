"""A plan that lost some of its links goes on at once: pairs that lost theirs get other paths, all others stay.

What it finds is good, not proved best: the largest load of any link on hop-shortest paths is kept small, one pair after
the other. The optimum takes longer, and is looked for afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf

import numpy as np
from scipy.sparse import csr_array

from simulator.maxmin import LinkPlaces, link_places, max_min_rates
from solver.certificate import Claim, certify
from solver.demand import Demand
from solver.routing import Certificate, Objective, Path
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId
from topologies.shortest import distances

_SWEEPS = 3
"""So often every pair that moves looks again for the best path beside all others."""
_SAME = 1e-6
_ROUNDING = 1e-12


def mended_paths(
    fabric: Fabric, pairs: Sequence[tuple[str, str]], paths: Sequence[Path], rates_bps: Sequence[float]
) -> list[Path]:
    """A path for each pair: its own where all of it lives, else a hop-shortest one with little load.

    Parameters
    ----------
    fabric : Fabric
        With the links that new paths may take; paths that stay may have others.
    pairs : sequence of (source, target)
    paths : sequence of Path
        What each had; an empty one is replaced.
    rates_bps : sequence of float
        What each carries.

    Raises
    ------
    InputError
        No path leads from one end of a pair to the other, or a link on it has no capacity.
    """
    moving = [number for number, path in enumerate(paths) if not path]
    moving.sort(key=lambda number: (-rates_bps[number], number))
    found = list(paths)
    loads_bps = _loads_bps(paths, rates_bps)
    ways = _ShortestWays(fabric)
    for sweep in range(_SWEEPS):
        changed = False
        for number in moving:
            rate_bps = rates_bps[number]
            for link in found[number]:
                loads_bps[link] -= rate_bps
            path = ways.least_loaded(*pairs[number], rate_bps, loads_bps)
            changed |= path != found[number]
            found[number] = path
            for link in path:
                loads_bps[link] += rate_bps
        if not changed and sweep:
            break
    return found


def fitting_rates(
    fabric: Fabric,
    paths: Sequence[Path],
    rates_bps: Sequence[float],
    max_utilisation: float,
    places: LinkPlaces | None = None,
) -> tuple[list[float], float]:
    """What paths can carry of what they are asked for, max-min fair where links are short of it.

    Parameters
    ----------
    places : LinkPlaces, optional
        Of these paths in this fabric, where they are known.

    Returns
    -------
    list of float, float
        Bits per second, and the utilisation of the worst link at these.
    """
    places = places or (link_places(fabric, paths) if paths else None)
    worst = worst_utilisation(fabric, paths, rates_bps, places)
    if worst <= max_utilisation * (1 + _SAME):
        return list(rates_bps), worst
    scaled = max_min_rates(fabric, paths, [rate_bps / max_utilisation for rate_bps in rates_bps], places)
    # Who gets all that was asked for gets exactly that, so that its path is seen to be the same.
    rates = [
        asked_bps if fair * max_utilisation >= asked_bps * (1 - _ROUNDING) else fair * max_utilisation
        for asked_bps, fair in zip(rates_bps, scaled.tolist(), strict=True)
    ]
    return rates, worst_utilisation(fabric, paths, rates, places)


def worst_utilisation(
    fabric: Fabric, paths: Sequence[Path], rates_bps: Sequence[float], places: LinkPlaces | None = None
) -> float:
    """Of all links under these paths; those without capacity are left out."""
    if not paths:
        return 0.0
    links, owners = places or link_places(fabric, paths)
    loads_bps = np.bincount(links, np.asarray(rates_bps, dtype=np.float64)[owners], len(fabric.links))
    capacities_bps = np.array([link.capacity_bps or inf for link in fabric.links])
    return float((loads_bps / capacities_bps).max())


def _loads_bps(paths: Sequence[Path], rates_bps: Sequence[float]) -> dict[LinkId, float]:
    loads_bps: defaultdict[LinkId, float] = defaultdict(float)
    for path, rate_bps in zip(paths, rates_bps, strict=True):
        for link in path:
            loads_bps[link] += rate_bps
    return loads_bps


def certificate_of(
    fabric: Fabric,
    demands: Sequence[Demand],
    paths: Sequence[Path],
    rates_bps: Sequence[float],
    objective: Objective,
    places: LinkPlaces | None = None,
) -> Certificate:
    """The independent check of single paths, with the bound that takes no model: that of every pair alone.

    Parameters
    ----------
    fabric : Fabric
        With all capacities and delays.
    demands : sequence of Demand
        Pairs at line rate.
    rates_bps : sequence of float
        What each carries of that.
    places : LinkPlaces, optional
        Of these paths in this fabric, where they are known.

    Raises
    ------
    CertificateError
        A link is overloaded, or the paths are not those of the demands.
    """
    targets = tuple(dict.fromkeys(demand.target for demand in demands))
    row_of = {target: row for row, target in enumerate(targets)}
    columns, owners = places or link_places(fabric, paths)
    rows = np.array([row_of[demand.target] for demand in demands], dtype=np.intp)[owners]
    carried = np.array(rates_bps, dtype=np.float64)
    flow = csr_array((carried[owners], (rows, columns)), shape=(len(targets), len(fabric.links)))
    # Fair shares are bounded as the largest common one is: by what the worst served pair gets.
    shared = objective.may_carry_less
    asked = demands if shared else [Demand(d.source, d.target, r) for d, r in zip(demands, rates_bps, strict=True)]
    priced = shared or objective is Objective.MIN_MAX_UTILISATION
    prices = np.ones(len(fabric.links)) if priced else np.zeros(len(fabric.links))
    objective = Objective.MAX_CONCURRENT_FLOW if shared else objective
    return certify(fabric, asked, Claim(targets, flow, carried, prices, single_path=True), objective=objective)


class _ShortestWays:
    """Hop-shortest paths, looked for by the load of their worst link."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._hops: dict[str, dict[str, int]] = {}
        self._leaving = fabric.links_from

    def least_loaded(self, source: str, target: str, rate_bps: float, loads_bps: Mapping[LinkId, float]) -> Path:
        """The path whose worst link is loaded least once the pair is on it; of equals, that with the least sum."""
        hops = self._hops.get(target)
        if hops is None:
            hops = self._hops[target] = distances(self._fabric, target)
        if source not in hops:
            raise InputError(f"no path that takes new rules leads from {source} to {target}")
        best: dict[str, tuple[float, float, Path]] = {source: (0.0, 0.0, ())}
        layer = [source]
        for left in range(hops[source] - 1, -1, -1):
            following: dict[str, tuple[float, float, Path]] = {}
            for node in layer:
                worst, total, path = best[node]
                for link in self._leaving.get(node, ()):
                    if hops.get(link.target) != left:
                        continue
                    if link.capacity_bps is None:
                        raise InputError(f"link {link.id} has no capacity_bps; declare it in the fabric file")
                    load = (loads_bps.get(link.id, 0.0) + rate_bps) / link.capacity_bps
                    merit = (max(worst, load), total + load)
                    known = following.get(link.target)
                    if known is None or merit < known[:2]:
                        following[link.target] = (*merit, (*path, link.id))
            best, layer = following, list(following)
        return best[target][2]
