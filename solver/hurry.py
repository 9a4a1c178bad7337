"""An answer within a time limit: the engine as far as it gets, then small improvements of what there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from solver.engines.improve import Cost, improve, start
from solver.errors import SolverError
from solver.instance import Answer, Floats, Instance, loads_of
from solver.linear import OutOfTime
from solver.routing import Objective
from solver.watch import Watch

_ENGINE_SHARE = 0.6
"""Of the time limit, for the engine; the rest is for what it leaves to improve."""
_FIT = 1e-9
"""Relative excess that arithmetic explains."""


def in_time(
    run: Callable[[Watch], Answer | None],
    instance: Instance,
    objective: Objective,
    watch: Watch,
    *,
    prices: Floats,
    seed: int,
) -> Answer | None:
    """Run an engine; where its time is up, improve what it has, or what a quick start finds.

    Parameters
    ----------
    run : callable
        The engine; None says that the demands do not fit.
    prices : array, shape (links,)
        What bounds the utilisation where the engine found no prices.

    Raises
    ------
    SolverError
        No routing within capacity was found in time.
    """
    if math.isinf(watch.limit_s):
        return run(watch)
    try:
        answer = run(watch.until(_ENGINE_SHARE))
        if answer is None or answer.exact:
            return answer
    except OutOfTime:
        flow = start(instance, watch, seed=seed)
        free = objective is Objective.MIN_DELAY or objective is Objective.MIN_QUEUEING_DELAY
        nothing = np.zeros(instance.links) if free else prices
        answer = Answer(flow, 1.0, nothing, "started from shortest paths", exact=False)
    carried = (1 / answer.share) * answer.flow_bps
    better = improve(instance, carried, watch, _cost(instance, objective), seed=seed)
    fullest = float((loads_of(better) / instance.allowed_bps).max(initial=0.0))
    reason = f"{answer.reason}, improved until the time limit"
    if objective is Objective.MAX_CONCURRENT_FLOW:
        return replace(answer, flow_bps=(1 / fullest) * better, share=1 / fullest, reason=reason)
    if objective is not Objective.MIN_MAX_UTILISATION and fullest > 1 + _FIT:
        raise SolverError(
            f"no routing within capacity was found in time (the best had a link at {fullest:.4g} of what is allowed); "
            "raise the time limit or ask for less"
        )
    return replace(answer, flow_bps=better, share=1.0, reason=reason)


def _cost(instance: Instance, objective: Objective) -> Cost:
    if objective is Objective.MIN_DELAY:
        return Cost.delay(instance)
    if objective is Objective.MIN_QUEUEING_DELAY:
        return Cost.queueing(instance)
    return Cost.utilisation(instance)
