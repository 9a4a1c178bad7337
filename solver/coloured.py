"""Edge colouring as an answer: equal demands on a Clos fabric, one path each, proven by a cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.clos import Unsuitable
from solver.cuts import Cut
from solver.engines.colouring import one_path_each
from solver.engines.paths import Choice, Tunnels
from solver.errors import SolverError
from solver.instance import Floats, loads_of
from solver.jam import tightest
from solver.paths import Paths
from solver.question import Question
from solver.routing import Objective, PathFlows
from solver.single_path import integral_bound
from solver.solution import Solution

_EACH = 8
"""Demands a source, on average, up to which this is a ring, a permutation or near one."""
_SAME = 1e-9
"""Relative difference that arithmetic explains."""


@dataclass(frozen=True, eq=False)
class Coloured:
    """Paths by edge colouring, and how good they are.

    Attributes
    ----------
    worst : float
        Load over what is allowed, of the worst link.
    cut : Cut
        No routing has a worst link below its ``1 / share``.
    shortest : bool
        Whether every demand has a path of least delay.
    whole_bound : float
        What single paths cannot go below, since whole demands load links in steps.
    """

    paths: Paths
    worst: float
    cut: Cut
    shortest: bool
    whole_bound: float

    @property
    def beats_splitting(self) -> bool:
        """Whether not even demands that split could do better."""
        return self.shortest and self.worst <= (1 + _SAME) / self.cut.share

    def is_best(self, objective: Objective) -> bool:
        """Whether no choice of single paths can do better."""
        if objective is Objective.MIN_DELAY:
            return self.shortest and self.worst <= 1 + _SAME
        return objective.is_about_the_worst_link and self.worst <= self.whole_bound * (1 + _SAME)


def coloured(question: Question) -> Coloured | Unsuitable:
    """Colour the demands of a question; or the reason why that does not fit it."""
    if question.allowed is not None:
        return Unsuitable("paths are prescribed")
    if np.isfinite(question.caps_bps).any() and question.objective is not Objective.MAX_MIN_FAIR:
        return Unsuitable("demands have caps")
    instance, trunk = question.instance, question.trunk
    if len(instance.rates_bps) > _EACH * len(np.unique(instance.origins)):
        return Unsuitable("each source sends to many destinations, which other engines answer sooner")
    paths = one_path_each(instance, question.watch, seed=question.seed)
    if isinstance(paths, Unsuitable):
        return paths
    cut = tightest(question)
    if cut is None:
        return Unsuitable("no cut bounds the worst link")
    loads = paths.loads_bps(instance)
    inner = trunk.instance
    away = inner.distances(inner.delays_s)[inner.rows, inner.origins]
    least = float(inner.rates_bps @ away) + float(trunk.access_loads_bps() @ instance.delays_s)
    return Coloured(
        paths,
        float((loads / instance.allowed_bps).max(initial=0.0)),
        cut,
        float(loads @ instance.delays_s) <= least * (1 + _SAME),
        integral_bound(1 / cut.share, instance.rates_bps, instance.allowed_bps),
    )


def coloured_solution(question: Question, found: Coloured, reason: str, *, fractional: bool) -> Solution:
    """The routing that takes the coloured paths, with the cut as its proof.

    Raises
    ------
    SolverError
        The paths overload a link, and the objective does not allow that.
    """
    instance, objective, paths = question.instance, question.objective, found.paths
    chosen = Choice(np.arange(len(question.demands)), paths.starts, paths.links)
    carried = instance.rates_bps
    level_prices: tuple[Floats, ...] = ()
    if objective is Objective.MAX_CONCURRENT_FLOW:
        carried = carried / found.worst
    elif objective is Objective.MAX_MIN_FAIR:
        rated = Tunnels(chosen).least(instance, objective, question.caps_bps, question.watch)
        if rated is None:
            raise SolverError("no rates fit on the chosen paths; report it")
        carried, level_prices = rated.carried_bps, rated.level_prices
    flow = chosen.flow(instance, carried)
    if objective is not Objective.MIN_MAX_UTILISATION and np.any(loads_of(flow) > instance.allowed_bps * (1 + _SAME)):
        raise SolverError(
            f"no single path per demand was found within capacity (worst link at {found.worst:.4g} of what is "
            "allowed); let demands split, or ask for less"
        )
    delays = objective is Objective.MIN_DELAY
    prices = np.zeros(instance.links) if delays else found.cut.prices(instance.links)
    return Solution(
        flow, carried, prices, "colouring", reason, level_prices=level_prices,
        path_flows=PathFlows(chosen.owners, paths.starts, paths.links, carried), approximate=not fractional,
        proven=objective is not Objective.MAX_MIN_FAIR,
    )  # fmt: skip
