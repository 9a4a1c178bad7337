"""The piecewise linear cost of a link that stands for ``f/(c - f)``: its definition, for engines and check alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUEUEING_FROM: Floats = np.array([0.0, 1 / 3, 2 / 3, 9 / 10])
"""Utilisations at which the cost of a link turns steeper."""
QUEUEING_SLOPES: Floats = np.array([1.0, 3.0, 10.0, 70.0])
"""Cost per unit of utilisation from there on (Fortz and Thorup, INFOCOM 2000, section II, up to a full link)."""


def marginal_costs(loads_bps: Floats, capacities_bps: Floats) -> Floats:
    """What the next bit/s costs on each link, shape (links,)."""
    segment = np.searchsorted(QUEUEING_FROM, loads_bps / capacities_bps, side="right") - 1
    costs: Floats = QUEUEING_SLOPES[segment] / capacities_bps
    return costs
