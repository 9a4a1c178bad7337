"""Common and max-min fair shares under caps: the largest common share, then more for those it leaves room for.

Water filling for routings that may still be chosen: at each level one linear program finds the ratio that
all open demands can have, and its prices name a full cut; demands whose every path costs something under
these prices are settled there (Radunovic and Le Boudec, IEEE/ACM Trans. Networking 15(5), 2007, section IV).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from solver.errors import SolverError
from solver.instance import Floats, Instance
from solver.linear import OutOfTime
from solver.watch import Watch

HELD = 1e-4
"""Part of its ratio that a demand might gain at most and still count as held back by full links."""

Share = Callable[[Floats, Floats, float], tuple[float, Floats]]
"""From open rates, given rates and the most that is wanted, to the largest share and its prices."""


@dataclass(frozen=True, eq=False)
class Shares:
    """What each demand gets, and the proof.

    Attributes
    ----------
    carried_bps : array, shape (demands,)
    prices : array, shape (links,)
        Of the cut that bounds the common share; zeros where only caps do.
    level_prices : tuple of array, shape (links,)
        Of the full cut of each fair level, lowest first; levels that only caps make have none.
    exact : bool
        Whether there was time for all levels; else the demands that are left share alike.
    """

    carried_bps: Floats
    prices: Floats
    level_prices: tuple[Floats, ...] = ()
    exact: bool = True


def common_share(instance: Instance, caps_bps: Floats, share: Share) -> Shares:
    """The largest share of every demand, each up to its cap.

    Demands whose cap is below the share get the cap, which leaves the others more; so it goes on until no
    further cap is met.
    """
    rates = instance.rates_bps
    open_ = np.ones(len(rates), dtype=bool)
    prices = np.zeros(instance.links)
    while open_.any():
        ratio, prices = share(np.where(open_, rates, 0.0), np.where(open_, 0.0, caps_bps), np.inf)
        met = open_ & (caps_bps <= ratio * rates)
        if not met.any():
            return Shares(np.where(open_, ratio * rates, caps_bps), prices)
        open_ &= ~met
    return Shares(caps_bps.copy(), np.zeros(instance.links))


def fair_rates(
    instance: Instance, caps_bps: Floats, share: Share, distances: Callable[[Floats], Floats], watch: Watch
) -> Shares:
    """The max-min fair ratios of carried to requested.

    Parameters
    ----------
    caps_bps : array, shape (demands,)
        The most that each demand may have; infinite for no cap.
    share : callable
        The linear program of one level.
    distances : callable
        From prices to the distance of each demand, shape (demands,), over the paths that it may take.

    Raises
    ------
    OutOfTime
        Before the first level was found.
    SolverError
        A program failed, or its prices settle nobody.
    """
    rates = instance.rates_bps
    ceilings = caps_bps / rates
    carried = np.zeros(len(rates))
    open_ = np.ones(len(rates), dtype=bool)
    levels: list[Floats] = []
    ratio, exact = 0.0, True
    while open_.any():
        most = float(ceilings[open_].min())
        try:
            ratio, prices = share(np.where(open_, rates, 0.0), np.where(open_, 0.0, carried), most)
        except OutOfTime:
            if not ratio:
                raise
            carried, exact = np.where(open_, ratio * rates, carried), False
            break
        watch.tell(f"fair shares, {int(open_.sum())} demands open", ratio)
        capped = open_ & (ceilings <= ratio * (1 + 1e-9))
        held = np.zeros_like(open_)
        if not capped.any():
            away = distances(prices)
            # What rounding leaves of the cut could go to one demand alone, unless its prices are too high for that.
            slack = float(instance.allowed_bps @ prices) - float((np.where(open_, ratio * rates, carried) * away).sum())
            held = open_ & (away > 0) & (max(slack, 0.0) <= HELD * ratio * rates * away)
            if not held.any():
                raise SolverError("the prices of a fair level hold no demand back; use another engine")
            levels.append(prices)
        carried = np.where(held, ratio * rates, np.where(capped, caps_bps, carried))
        open_ &= ~(held | capped)
    return Shares(carried, levels[0] if levels else np.zeros(instance.links), tuple(levels), exact)
