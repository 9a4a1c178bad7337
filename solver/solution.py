"""What a method found for a whole question, before the certificate has seen it."""

from __future__ import annotations

from dataclasses import dataclass

from solver.instance import Floats, Flow
from solver.routing import PathFlows


@dataclass(frozen=True, eq=False)
class Solution:
    """Flows, what they carry, and the prices that are to prove them good.

    Attributes
    ----------
    flow_bps : sparse array, shape (targets, links)
    carried_bps : array, shape (demands,)
    prices : array, shape (links,)
    engine, reason : str
        What found it, and why that was chosen and what was found, in clauses.
    level_prices : tuple of array, shape (links,)
        Of max-min fairness.
    path_flows : PathFlows or None
        Where paths were chosen.
    approximate : bool
        Whether a gap is what was asked for, and not an error.
    proven : bool
        False where the certificate's gap does not say all: fair rates on paths that others might better.
    """

    flow_bps: Flow
    carried_bps: Floats
    prices: Floats
    engine: str
    reason: str
    level_prices: tuple[Floats, ...] = ()
    path_flows: PathFlows | None = None
    approximate: bool = False
    proven: bool = True
