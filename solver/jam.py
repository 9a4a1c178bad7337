"""Why demands do not fit: a cut that is too narrow, or else weighted links that are."""

from __future__ import annotations

import numpy as np

from solver.cuts import Cut, crossing_demand, narrowest
from solver.errors import Infeasible
from solver.instance import Floats
from solver.question import Question

_MARGIN = 1e-9


def infeasibility(question: Question, prices: Floats | None) -> Infeasible:
    """The reason why demands do not fit.

    Parameters
    ----------
    prices : array, shape (links of the trunk,), or None
        Prices that prove that the largest share is below 1, where an engine found some.
    """
    cut = tightest(question, prices)
    ids = question.fabric.link_ids
    if cut is not None and cut.share < 1 - _MARGIN:
        return Infeasible(tuple(ids[i] for i in cut.links.tolist()), cut.capacity_bps, cut.demand_bps)
    trunk = question.trunk
    if prices is None or not prices.any():
        return Infeasible((), 0.0, float(question.instance.rates_bps.sum()))
    scaled = prices / prices.max()
    used = np.flatnonzero(scaled > 1e-9)
    return Infeasible(
        tuple(ids[i] for i in trunk.links[used].tolist()),
        float(trunk.instance.allowed_bps @ scaled),
        crossing_demand(trunk.instance, scaled),
        tuple(scaled[used].tolist()),
    )


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
