"""The arithmetic of the bounds: what prices prove about shares, fair levels and queueing costs.

Part of the independent check: it knows rates, distances and capacities, and no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from solver.queueing import QUEUEING_FROM, QUEUEING_SLOPES
from solver.routing import Level

Floats = NDArray[np.float64]

_SLACK = 1e-3
"""Part of its ratio that a demand might gain at most and still count as held back by full links."""


def queueing_cost(loads_bps: Floats, capacities_bps: Floats) -> float:
    """The sum over links of the piecewise linear cost of their utilisation, which stands for ``f/(c - f)``."""
    used = loads_bps / capacities_bps
    rises = np.diff(QUEUEING_SLOPES, prepend=0.0)
    return float(
        sum(rise * np.maximum(used - start, 0.0).sum() for rise, start in zip(rises, QUEUEING_FROM, strict=True))
    )


def queueing_bound(prices: Floats, capacities_bps: Floats, limits_bps: Floats) -> float:
    """``sum_e max_f (y_e f - cost_e(f))`` over loads from 0 to the limit: at the best of the corners."""
    most = limits_bps / capacities_bps
    best = np.zeros(len(prices))
    for corner in (*QUEUEING_FROM[1:], np.inf):
        used = np.minimum(corner, most)
        cost = np.zeros(len(prices))
        for rise, start in zip(np.diff(QUEUEING_SLOPES, prepend=0.0), QUEUEING_FROM, strict=True):
            cost += rise * np.maximum(used - start, 0.0)
        best = np.maximum(best, prices * capacities_bps * used - cost)
    return float(best.sum())


def share_bound(room: float, rates_bps: Floats, caps_bps: Floats, away: Floats) -> float:
    """The largest share whose demands, each up to its cap, need no more than there is room.

    Parameters
    ----------
    room : float
        ``sum_e limit_e y_e``, less what is spoken for.
    away : array, shape (demands,)
        Distances under the prices ``y``.

    Returns
    -------
    float
        Infinite where the prices bound nothing. Where every demand has a cap, the share at which all are reached.
    """
    ceilings = caps_bps / rates_bps
    needs, order = rates_bps * away, np.argsort(ceilings)
    finite = order[np.isfinite(ceilings[order])]
    # Up to the n-th smallest ceiling the demands before it are at their caps, and the others share alike.
    capped = np.concatenate([[0.0], np.cumsum(needs[finite] * ceilings[finite])])
    open_ = np.concatenate([np.cumsum(needs[order][::-1])[::-1], [0.0]])
    for count in range(len(capped)):
        upper = float(ceilings[order[count]]) if count < len(order) else np.inf
        left = room * (1 + 1e-10) - float(capped[count])
        at = max(left, 0.0) / float(open_[count]) if open_[count] > 0 else np.inf
        if at < upper and (left >= 0 or count == 0):
            return at
        if left < 0:
            # The caps met so far take more than there is: the share ended at the last of them.
            return float(ceilings[order[count - 1]])
    return float(ceilings.max(initial=0.0))


def fair_levels(
    rates_bps: Floats,
    caps_bps: Floats,
    carried_bps: Floats,
    limits_bps: Floats,
    level_prices: Sequence[Floats],
    distances: Callable[[Floats], Floats],
    tolerance: float,
) -> tuple[Level, ...]:
    """Prove that ratios of carried to requested are lexicographically largest, level by level.

    At each level every demand that no lower one has settled gets the same ratio or its cap. The level's
    prices show that no routing that respects the lower levels gives all of these more; complementary
    slackness then settles the demands that the priced links hold back. Demands that no level settles make
    one without a bound but their caps.

    References
    ----------
    Radunovic and Le Boudec, "A unified framework for max-min and min-max fairness with applications",
    IEEE/ACM Trans. Networking 15(5), 2007, section IV (max-min programming).
    """
    ratios = carried_bps / rates_bps
    settled = carried_bps >= caps_bps * (1 - tolerance)
    by_cap = settled.copy()
    levels: list[Level] = []
    pending_caps = np.flatnonzero(by_cap)
    for prices in level_prices:
        open_ = ~settled
        if not open_.any():
            break
        ratio = float(ratios[open_].min())
        away = distances(prices)
        # Demands at a cap below this level are settled by it; the others are part of the bound.
        given = settled & (~by_cap | (caps_bps <= ratio * rates_bps * (1 + tolerance)))
        room = float(limits_bps @ prices) - float((carried_bps * away)[given].sum())
        rest = ~given
        bound = share_bound(room, rates_bps[rest], caps_bps[rest], away[rest])
        # Who has more is held by nothing but rounding: the bound would not let others keep their ratio.
        held = open_ & (away > 0) & (ratios <= ratio * (1 + 100 * tolerance))
        # What the bound leaves over could go to one demand alone, unless its prices are too high for that.
        need = float(np.minimum(ratio * rates_bps, caps_bps)[rest] @ away[rest])
        held &= max(room - need, 0.0) <= _SLACK * ratio * rates_bps * away
        if not held.any():
            # Prices that are not tight settle nobody.
            break
        ending = pending_caps[ratios[pending_caps] <= ratio * (1 + tolerance)]
        pending_caps = np.setdiff1d(pending_caps, ending)
        levels.append(Level(ratio, bound, prices, np.union1d(np.flatnonzero(held), ending)))
        settled = settled | held
    if not settled.all():
        # Nothing holds these back that anybody has shown: only their caps bound them.
        rest = ~settled
        levels.append(
            Level(
                float(ratios[rest].min()),
                float((caps_bps / rates_bps)[rest].max()),
                np.zeros(len(limits_bps)),
                np.flatnonzero(rest),
            )
        )
    if len(pending_caps) or not levels:
        top = float(ratios[pending_caps].max(initial=0.0))
        levels.append(Level(top, top, np.zeros(len(limits_bps)), pending_caps))
    return tuple(levels)
