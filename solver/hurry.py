"""An answer within a time limit: the engine as far as it gets, then small improvements of what there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from solver.cuts import narrowest
from solver.engines.improve import Cost, improve, start
from solver.engines.potential import largest_share
from solver.instance import Answer, Floats, Flow, Instance, loads_of
from solver.linear import OutOfTime
from solver.queueing import marginal_costs
from solver.routing import Objective
from solver.watch import Watch

_ENGINE_SHARE = 0.6
"""Of the time limit, for the engine; the rest is for what it leaves to improve."""
_NARROW = 1e-6
"""Gap at which the potential method stops before its time."""
_FIT = 1e-9
"""Relative excess that arithmetic explains."""


def in_time(
    run: Callable[[Watch], Answer | None],
    instance: Instance,
    objective: Objective,
    watch: Watch,
    seed: int,
) -> Answer | None:
    """Run an engine; where its time is up, improve what it has, or what a quick start finds.

    Parameters
    ----------
    run : callable
        The engine; None says that the demands do not fit.

    Raises
    ------
    OutOfTime
        No routing within capacity was found in time.
    """
    if math.isinf(watch.limit_s):
        return run(watch)
    try:
        answer = run(watch.until(_ENGINE_SHARE))
        if answer is None or answer.exact:
            return answer
    except OutOfTime:
        answer = None
    if objective.is_about_the_worst_link:
        return _worst_link(instance, objective, answer, watch, seed)
    if answer is None:
        answer = Answer(start(instance, watch, seed=seed), 1.0, np.zeros(instance.links), "a quick start", exact=False)
    better = improve(instance, answer.flow_bps, watch, _cost(instance, objective), seed=seed)
    fullest = _fullest(instance, better)
    if fullest > 1 + _FIT:
        raise OutOfTime(
            f"no routing within capacity was found in time (the best had a link at {fullest:.4g} of what is allowed); "
            "raise the time limit or ask for less"
        )
    prices = answer.prices
    if objective is Objective.MIN_QUEUEING_DELAY:
        # What the next bit costs on each link proves more than the prices of a program that was not done.
        prices = marginal_costs(loads_of(better), instance.capacities_bps)
    reason = f"{answer.reason}, improved until the time limit"
    return replace(answer, flow_bps=better, prices=prices, reason=reason)


def _worst_link(instance: Instance, objective: Objective, answer: Answer | None, watch: Watch, seed: int) -> Answer:
    """The better of what the engine had and what the potential method finds, and the better proof."""
    found = largest_share(instance, watch, gap=_NARROW, seed=seed)
    flow, prices, reason = (1 / found.share) * found.flow_bps, found.prices, f"{found.reason}, within the time limit"
    if answer is not None:
        other = (1 / answer.share) * answer.flow_bps
        if _fullest(instance, other) < _fullest(instance, flow):
            flow, reason = other, answer.reason
        if _bound(instance, answer.prices) > _bound(instance, prices):
            prices = answer.prices
    cut = narrowest(instance, instance.allowed_bps)
    if cut is not None and 1 / cut.share > _bound(instance, prices):
        prices = cut.prices(instance.links)
    if objective is Objective.MIN_MAX_UTILISATION:
        return Answer(flow, 1.0, prices, reason, exact=False)
    share = 1 / _fullest(instance, flow)
    return Answer(share * flow, share, prices, reason, exact=False)


def _bound(instance: Instance, prices: Floats) -> float:
    """What the utilisation of the worst link, of what is allowed, cannot go below."""
    room = float(instance.allowed_bps @ prices)
    away = instance.distances(prices)[instance.rows, instance.origins]
    return float(instance.rates_bps @ away) / room if room > 0 else 0.0


def _fullest(instance: Instance, flow: Flow) -> float:
    return float((loads_of(flow) / instance.allowed_bps).max(initial=0.0))


def _cost(instance: Instance, objective: Objective) -> Cost:
    return Cost.queueing(instance) if objective is Objective.MIN_QUEUEING_DELAY else Cost.delay(instance)
