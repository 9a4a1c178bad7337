"""One path for each demand, held against what splitting could reach at best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from solver.backends import HIGHS
from solver.candidates import Candidates, Links
from solver.choice import Engine, EngineSpec, Memory
from solver.coloured import Coloured, coloured, coloured_solution
from solver.engines.paths import Choice as PathChoice
from solver.engines.paths import Tunnels
from solver.engines.rerouting import improve, shortest_first
from solver.errors import SolverError
from solver.fractional import fractional
from solver.instance import Floats, loads_of
from solver.jam import infeasibility, tightest
from solver.paths import Paths
from solver.permitted import permitted_paths
from solver.proof import queueing_cost
from solver.question import Question
from solver.routing import Objective, PathFlows
from solver.single_path import Choice, Cost, choose, integral_bound
from solver.solution import Solution
from solver.splits import split_paths
from topologies.errors import InputError

_MARGIN = 1e-6
_FIT = 1e-9
"""Relative excess that arithmetic explains."""
MANY = 300
"""Demands from which neither programs nor tables of candidate paths are quick."""
_MOST_PATHS = 256
"""Candidates per demand: all shortest paths of a fat-tree up to k=32."""
_EXTRA_HOPS = 2
_MOST_LONGER_PATHS = 64


def one_path_each(question: Question, spec: EngineSpec, memory: Memory | None = None) -> Solution:
    """Give every demand exactly one path.

    Raises
    ------
    Infeasible
        A demand has no path, or not even split demands fit.
    SolverError
        An engine failed, or no choice of paths was found that stays within capacity.
    """
    if not question.objective.may_carry_less and question.objective is not Objective.MIN_MAX_UTILISATION:
        cut = tightest(question)
        if cut is not None and cut.share < 1 - _FIT:
            raise infeasibility(question, None)
    if spec.engine in (Engine.AUTO, Engine.COLOURING):
        found = coloured(question)
        if isinstance(found, Coloured):
            large = len(question.demands) > MANY
            if found.is_best(question.objective):
                return _beside_bound(question, found, "no choice of single paths is better")
            if large or spec.engine is Engine.COLOURING:
                return _beside_bound(question, found, "not proven best")
        elif spec.engine is Engine.COLOURING:
            raise InputError(f"the engine colouring does not fit: {found.reason}; take auto")
    split = fractional(question, spec, memory)
    bound = worst_bound(question, split)
    if len(question.demands) > MANY and question.allowed is None:
        choice = rerouted(question, split, bound)
        return single_solution(question, split, choice.paths, f"single paths by {choice.method}")
    choice, _ = choose_paths(question, split, bound, backend=spec.solver)
    return single_solution(question, split, choice.paths, f"single paths by {choice.method}")


def _beside_bound(question: Question, found: Coloured, verdict: str) -> Solution:
    """Coloured paths, and how far from the bounds they are."""
    reason = f"equal demands on a Clos fabric, {verdict}"
    if not found.beats_splitting:
        reason += (
            f": the worst link is at {found.worst:.4g} of what is allowed, split demands could not go below "
            f"{1 / found.cut.share:.4g}, whole ones not below {found.whole_bound:.4g}"
        )
    return coloured_solution(question, found, reason, fractional=False)


def worst_bound(question: Question, split: Solution) -> float:
    """The utilisation of the worst link that single paths need not, or cannot, go below."""
    loads = loads_of(split.flow_bps)
    instance = question.instance
    if question.objective is Objective.MIN_MAX_UTILISATION:
        return float((loads / instance.capacities_bps).max(initial=0.0))
    if question.objective.may_carry_less:
        return question.max_utilisation / float((split.carried_bps / instance.rates_bps).min())
    return question.max_utilisation


def rerouted(question: Question, split: Solution, bound: float) -> Choice:
    """One path per demand where there are many: the widest of its split ones, then rerouting off worst links."""
    instance = question.instance
    widest = [some[0] for some in split_paths(instance, split.flow_bps, split.carried_bps)]
    starts = np.concatenate([[0], np.cumsum([len(path) for path in widest])]).astype(np.intp)
    paths = Paths(starts, np.array([link for path in widest for link in path], dtype=np.intp))
    goal = integral_bound(bound, instance.rates_bps, instance.capacities_bps) / question.max_utilisation
    if not question.objective.is_about_the_worst_link:
        goal = 1.0
    better = improve(instance, paths, question.watch, goal=goal, seed=question.seed)
    if _cost(question, split) is not None:
        # Detours off full links cost; often demands fit where they are shortest.
        short = shortest_first(instance, question.watch, question.seed)
        better = min((better, short), key=lambda found: _merit(question, found))
    taken = tuple(tuple(better.of(number).tolist()) for number in range(len(question.demands)))
    return Choice(taken, question.max_utilisation * better.worst(instance), "rounding and rerouting")


def _merit(question: Question, paths: Paths) -> tuple[float, float]:
    """Overload first, then the objective's cost."""
    instance, loads = question.instance, paths.loads_bps(question.instance)
    queueing = question.objective is Objective.MIN_QUEUEING_DELAY
    cost = queueing_cost(loads, instance.capacities_bps) if queueing else float(loads @ instance.delays_s)
    return max(paths.worst(instance), 1 + _FIT), cost


def choose_paths(question: Question, split: Solution, bound: float, *, backend: str = HIGHS) -> tuple[Choice, float]:
    """One path per demand, with the least utilisation of the worst link down to a bound, then the least cost.

    The choice is among all shortest paths; where these leave the worst link above the bound, those of
    the split routing come in, then all slightly longer ones.

    Parameters
    ----------
    bound : float
        Utilisation of the worst link that no split routing can go below, or that is allowed.

    Returns
    -------
    tuple of Choice and float
        The choice, and the bound for whole demands.
    """
    instance = question.instance
    cost = _cost(question, split)
    # A bound of utilisation rounds up to whole demands; an allowance does not.
    least = bound if cost is not None else integral_bound(bound, instance.rates_bps, instance.capacities_bps)
    count = len(question.demands)
    options: list[list[Links]] = [[] for _ in range(count)]
    best: Choice | None = None
    for more in _candidates(question, split):
        wider = [sorted({*known, *new}) for known, new in zip(options, more, strict=True)]
        if wider == options:
            continue
        options = wider
        choice = choose(
            options, instance.rates_bps, instance.capacities_bps, least, cost=cost, backend=backend, seed=question.seed
        )
        if best is None or choice.worst < best.worst * (1 - _MARGIN):
            best = choice
        if best.worst <= least * (1 + _MARGIN):
            break
    if best is None:
        raise SolverError("there are no demands to choose paths for; give at least one")
    return best, least


def single_solution(question: Question, split: Solution, paths: Sequence[Links], reason: str) -> Solution:
    """The routing that takes these paths, with the split routing's prices as its bound.

    Raises
    ------
    SolverError
        The paths do not stay within capacity, and all demands must be carried.
    """
    instance, allowed = question.instance, question.max_utilisation
    starts = np.concatenate([[0], np.cumsum([len(path) for path in paths])]).astype(np.intp)
    links = np.array([link for path in paths for link in path], dtype=np.intp)
    chosen = PathChoice(np.arange(len(paths)), starts, links)
    level_prices: tuple[Floats, ...] = ()
    carried = instance.rates_bps
    if question.objective.may_carry_less:
        rated = Tunnels(chosen).least(instance, question.objective, question.caps_bps, question.watch)
        if rated is None:
            raise SolverError("no rates fit on the chosen paths; report it")
        carried, level_prices = rated.carried_bps, rated.level_prices
    flow = chosen.flow(instance, carried)
    worst = float((loads_of(flow) / instance.capacities_bps).max(initial=0.0))
    if worst > allowed * (1 + _MARGIN) and question.objective is not Objective.MIN_MAX_UTILISATION:
        raise SolverError(
            f"no single path per demand was found within capacity (worst link at {worst:.4g} of its capacity, "
            f"allowed {allowed:g}); let demands split, or ask for less"
        )
    return Solution(
        flow, carried, split.prices, split.engine, f"{split.reason}; {reason}", level_prices=level_prices,
        path_flows=PathFlows(chosen.owners, starts, links, carried), approximate=True,
        # Fair on these paths; that no other paths are fairer is known where splitting gives the same.
        proven=question.objective is not Objective.MAX_MIN_FAIR or np.allclose(carried, split.carried_bps, rtol=1e-6),
    )  # fmt: skip


def _cost(question: Question, split: Solution) -> Cost | None:
    instance = question.instance
    loads = loads_of(split.flow_bps)
    if question.objective is Objective.MIN_DELAY:
        return Cost(instance.delays_s, False, float(loads @ instance.delays_s))
    if question.objective is Objective.MIN_QUEUEING_DELAY:
        return Cost(np.zeros(instance.links), True, queueing_cost(loads, instance.capacities_bps))
    return None


def _candidates(question: Question, split: Solution) -> Iterable[Iterable[Sequence[Links]]]:
    count = len(question.demands)
    if question.allowed is not None:
        permitted = permitted_paths(question)
        options: list[list[Links]] = [[] for _ in range(count)]
        for path, owner in enumerate(permitted.owners.tolist()):
            begin, end = permitted.starts[path], permitted.starts[path + 1]
            options[owner].append(tuple(permitted.links[begin:end].tolist()))
        yield options
        return
    walks = Candidates(question.instance, limit=_MOST_PATHS, seed=question.seed)
    yield [walks.shortest(number) for number in range(count)]
    yield split_paths(question.instance, split.flow_bps, split.carried_bps)
    detours = Candidates(question.instance, limit=_MOST_LONGER_PATHS, seed=question.seed)
    yield (detours.longer(number, _EXTRA_HOPS) for number in range(count))
