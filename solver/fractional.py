"""The best routing when demands may split: an engine's answer for the trunk, made one for the whole fabric."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from solver.choice import Engine, EngineSpec, Memory, Pick, pick
from solver.coloured import Coloured, coloured, coloured_solution
from solver.engines.aggregated import Aggregated
from solver.engines.fairness import common_share, fair_rates
from solver.engines.paths import Tunnels
from solver.engines.reference import Reference
from solver.errors import SolverError
from solver.hurry import in_time
from solver.instance import Answer, Floats, Flow, Instance, loads_of
from solver.jam import infeasibility, tightest, weighted
from solver.permitted import permitted_paths
from solver.polish import polished
from solver.question import Question
from solver.queueing import marginal_costs
from solver.routing import Objective
from solver.solution import Solution
from solver.watch import Watch
from topologies.errors import InputError

_FIT = 1e-9
"""Relative excess that arithmetic explains."""


def fractional(question: Question, spec: EngineSpec, memory: Memory | None = None) -> Solution:
    """Answer a question whose demands may split.

    Parameters
    ----------
    memory : Memory or None
        What earlier questions on the same fabric left for warm starts.

    Raises
    ------
    Infeasible
        A demand has no path, or all do not fit at once and all must.
    SolverError
        The engine failed.
    """
    if question.allowed is not None:
        return _over_paths(question, spec, memory)
    question.refuse_unreachable()
    if question.objective is Objective.MAX_MIN_FAIR or (
        question.objective is Objective.MAX_CONCURRENT_FLOW and np.isfinite(question.caps_bps).any()
    ):
        return _shares(question, spec)
    frame = _Frame.whole(question) if spec.engine is Engine.PULP else _Frame.trunk(question)
    if not frame.instance.targets:
        flow = csr_array((0, frame.instance.links), dtype=np.float64)
        idle = Answer(flow, 1.0, np.zeros(frame.instance.links), "no demand leaves its switch")
        chosen = Pick(_Idle(idle), "none", "nothing to decide")
    else:
        if spec.engine is Engine.AUTO and question.objective is not Objective.MIN_QUEUEING_DELAY:
            found = coloured(question)
            if (
                isinstance(found, Coloured)
                and found.beats_splitting
                and (question.objective is not Objective.MIN_DELAY or found.worst <= 1 + _FIT)
            ):
                reason = "equal demands on a Clos fabric: not even splitting them is better than one path each"
                solution = coloured_solution(question, found, reason, fractional=True)
                if memory is not None:
                    memory.keep(question, solution)
                return solution
        chosen = pick(question, spec, memory)
    answer = _run(question, frame, chosen)
    if question.objective is Objective.MIN_MAX_UTILISATION:
        solution = _least_utilisation(question, frame, chosen, answer)
    elif question.objective is Objective.MAX_CONCURRENT_FLOW:
        solution = _largest_share(question, frame, chosen, answer)
    else:
        solution = _all_carried(question, frame, chosen, answer)
    if memory is not None and spec.engine is not Engine.PULP:
        memory.keep(question, solution)
    return solution


@dataclass(frozen=True, eq=False)
class _Frame:
    """Where an engine works: the trunk, or for the reference the fabric as it is."""

    question: Question
    instance: Instance
    access_bps: Floats
    is_trunk: bool

    @classmethod
    def trunk(cls, question: Question) -> _Frame:
        return cls(question, question.trunk.instance, question.trunk.access_loads_bps(), True)

    @classmethod
    def whole(cls, question: Question) -> _Frame:
        return cls(question, question.instance, np.zeros(question.instance.links), False)

    def lift(self, flow: Flow) -> Flow:
        return self.question.trunk.lift(flow) if self.is_trunk else flow

    def prices(self, prices: Floats) -> Floats:
        return self.question.trunk.lift_prices(prices) if self.is_trunk else prices

    def fullest(self, limits_bps: Floats) -> tuple[float, Floats]:
        """The utilisation of the fullest access link, and the prices that prove it."""
        used = self.access_bps / limits_bps
        prices = np.zeros(len(used))
        if not used.any():
            return 0.0, prices
        worst = int(np.argmax(used))
        prices[worst] = 1.0
        return float(used[worst]), prices

    def marginal_costs(self) -> Floats:
        """What the next bit/s costs on access links, whose loads are given; 0 elsewhere."""
        capacities = self.question.instance.capacities_bps
        return np.where(self.access_bps > 0, marginal_costs(self.access_bps, capacities), 0.0)


@dataclass(frozen=True, eq=False)
class _Idle:
    """The engine of a question in which nothing is to be decided."""

    answer: Answer

    def least_delay(self, *_: object) -> Answer:
        return self.answer

    def least_utilisation(self, *_: object) -> Answer:
        return self.answer

    def largest_share(self, *_: object) -> Answer:
        return replace(self.answer, share=np.inf)

    def least_queueing(self, *_: object) -> Answer:
        return self.answer


def _run(question: Question, frame: _Frame, chosen: Pick) -> Answer | None:
    """What the engine says, within the time there is."""
    instance, method, objective = frame.instance, chosen.method, question.objective
    if not objective.may_carry_less and objective is not Objective.MIN_MAX_UTILISATION:
        cut = tightest(question)
        if cut is not None and cut.share < 1 - _FIT:
            raise infeasibility(question, None)

    def run(watch: Watch) -> Answer | None:
        if objective is Objective.MIN_DELAY:
            return method.least_delay(instance, watch)
        if objective is Objective.MIN_QUEUEING_DELAY:
            return method.least_queueing(instance, watch)
        if objective is Objective.MIN_MAX_UTILISATION:
            return method.least_utilisation(instance, watch, frame.fullest(question.instance.capacities_bps)[0])
        return method.largest_share(instance, watch)

    return in_time(run, instance, objective, question.watch, question.seed)


def _all_carried(question: Question, frame: _Frame, chosen: Pick, answer: Answer | None) -> Solution:
    if answer is None:
        trunk = question.trunk.instance
        jammed = Aggregated(question.groups).largest_share(trunk, question.watch) if trunk.targets else None
        raise infeasibility(question, None if jammed is None else jammed.prices)
    prices = frame.prices(answer.prices)
    if question.objective is Objective.MIN_QUEUEING_DELAY:
        prices = prices + frame.marginal_costs()
    return _solution(question, frame, chosen, answer, 1.0, prices)


def _least_utilisation(question: Question, frame: _Frame, chosen: Pick, answer: Answer | None) -> Solution:
    floor, prices = frame.fullest(question.instance.capacities_bps)
    answer = _must(answer)
    value = float((loads_of(answer.flow_bps) / frame.instance.capacities_bps).max(initial=0.0))
    if value > floor * (1 + _FIT):
        prices = frame.prices(answer.prices)
    return _solution(question, frame, chosen, answer, 1.0, prices)


def _largest_share(question: Question, frame: _Frame, chosen: Pick, answer: Answer | None) -> Solution:
    fullest, prices = frame.fullest(question.instance.allowed_bps)
    answer = _must(answer)
    share = answer.share
    if fullest * share > 1:
        share = 1 / fullest
    else:
        prices = frame.prices(answer.prices)
    return _solution(question, frame, chosen, answer, share, prices)


def _must(answer: Answer | None) -> Answer:
    if answer is None:
        raise SolverError("an engine calls demands unfit where a part may be carried; use another engine")
    return answer


def _solution(
    question: Question, frame: _Frame, chosen: Pick, answer: Answer, share: float, prices: Floats
) -> Solution:
    whole = answer.flow_bps if answer.share in (1.0, np.inf) else (1 / answer.share) * answer.flow_bps
    carried = question.instance.rates_bps * share
    flow = frame.lift(whole) if share == 1.0 else share * frame.lift(whole)
    return Solution(
        flow,
        carried,
        prices,
        chosen.name,
        f"{chosen.reason}: {answer.reason}",
        approximate=chosen.approximate or not answer.exact,
    )


def _shares(question: Question, spec: EngineSpec) -> Solution:
    """Shares under caps: over all links, since a cable of a host may be the cut that is full."""
    whole, watch, fair = question.instance, question.watch, question.objective is Objective.MAX_MIN_FAIR
    what = "max-min fair levels" if fair else "a common share up to the caps"
    if spec.engine is Engine.PULP:
        reference = Reference(spec.solver)

        def share(open_bps: Floats, given_bps: Floats, most: float) -> tuple[float, Floats]:
            value, _, prices = reference.share_beside(whole, watch, open_bps, given_bps, most)
            return value, prices

        def distances(weights: Floats) -> Floats:
            away: Floats = whole.distances(weights)[whole.rows, whole.origins]
            return away

        caps = question.caps_bps
        found = fair_rates(whole, caps, share, distances, watch) if fair else common_share(whole, caps, share)
        carried = replace(whole, rates_bps=found.carried_bps, allowed_bps=whole.allowed_bps * (1 + _FIT))
        answer = reference.least_delay(carried, watch)
        if answer is None:
            raise SolverError(f"{spec.solver} calls a program infeasible that has a solution; use another solver")
        flow = polished(carried, answer.flow_bps)
    elif spec.engine in (Engine.AUTO, Engine.AGGREGATED):
        engine = Aggregated()
        found, answer = engine.shares(whole, question.caps_bps, watch, fair=fair)
        flow = answer.flow_bps
    else:
        raise InputError(f"the engine {spec} does not do {what}; take auto, aggregated or pulp")
    name = str(spec) if spec.engine is Engine.PULP else str(Engine.AGGREGATED)
    over = float((loads_of(flow) / whole.allowed_bps).max(initial=0.0))
    shrink = min(1.0, 1 / over) if over else 1.0
    return Solution(
        flow * shrink, found.carried_bps * shrink, found.prices, name,
        f"{what}, one linear program a level, {answer.reason}", level_prices=found.level_prices,
        approximate=not found.exact,
    )  # fmt: skip


def _over_paths(question: Question, spec: EngineSpec, memory: Memory | None) -> Solution:
    if spec.engine not in (Engine.AUTO, Engine.PATHS):
        raise InputError(f"the engine {spec} knows no candidate paths; take auto or paths")
    tunnels = memory.tunnels(question) if memory is not None else Tunnels(permitted_paths(question))
    solution = tunnels.least(question.instance, question.objective, question.caps_bps, question.watch)
    if solution is None:
        prices, demand = tunnels.jam(question.instance, question.watch)
        raise weighted(question, prices, demand)
    return solution
