"""Why demands do not fit: a cut that is too narrow, or else weighted links that are."""

from __future__ import annotations

import numpy as np

from solver.cuts import Cut, narrowest
from solver.errors import Infeasible, SolverError
from solver.instance import Floats
from solver.question import Question

_MARGIN = 1e-9


def infeasibility(question: Question, prices: Floats | None) -> SolverError:
    """The reason why demands do not fit.

    Parameters
    ----------
    prices : array, shape (links of the trunk,), or None
        Prices that prove that the largest share is below 1, where an engine found some.

    Returns
    -------
    SolverError
        `Infeasible`, where that is proven.
    """
    cut = tightest(question, prices)
    ids = question.fabric.link_ids
    if cut is not None and cut.share < 1 - _MARGIN:
        return Infeasible(tuple(ids[i] for i in cut.links.tolist()), cut.capacity_bps, cut.demand_bps)
    trunk = question.trunk
    if prices is None:
        return _undecided()
    lengths = trunk.instance.distances(prices)[trunk.instance.rows, trunk.instance.origins]
    return weighted(question, trunk.lift_prices(prices), float(trunk.instance.rates_bps @ lengths))


def weighted(question: Question, prices: Floats, demand: float) -> SolverError:
    """The reason that prices give: demands, each as often as its lightest path weighs, against capacities.

    Parameters
    ----------
    prices : array, shape (links of the whole fabric,)
    demand : float
        ``sum_k r_k dist_prices(k)``.
    """
    most = float(prices.max(initial=0.0))
    capacity = float(question.instance.allowed_bps @ prices)
    if not most or demand <= capacity:
        return _undecided()
    used = np.flatnonzero(prices > 1e-9 * most)
    named = tuple(question.fabric.link_ids[link] for link in used.tolist())
    return Infeasible(named, capacity / most, demand / most, tuple((prices[used] / most).tolist()))


def _undecided() -> SolverError:
    return SolverError("no routing within capacity was found, and no cut proves that there is none; use another engine")


def tightest(question: Question, prices: Floats | None = None) -> Cut | None:
    """The narrowest cut worth a look, access links included, with links of the whole fabric."""
    whole, trunk = question.instance, question.trunk
    loads = trunk.access_loads_bps()
    share = np.divide(whole.allowed_bps, loads, out=np.full(whole.links, np.inf), where=loads > 0)
    pick = int(np.argmin(share))
    access = None
    if np.isfinite(share[pick]):
        access = Cut(np.array([pick]), float(whole.allowed_bps[pick]), float(loads[pick]))
    inner = narrowest(trunk.instance, trunk.instance.allowed_bps, groups=question.groups, prices=prices)
    if inner is None or (access is not None and access.share <= inner.share):
        return access
    return Cut(trunk.links[inner.links], inner.capacity_bps, inner.demand_bps)
