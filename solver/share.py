"""What the planner asks for jobs: every pair at line rate, or its fair part of it, one path each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from solver.choice import Engine, EngineSpec
from solver.coloured import Coloured, coloured
from solver.demand import Demand
from solver.question import Question, ask
from solver.routing import Certificate, Objective, Path, PathFlow, Routing
from solver.single import MANY, choose_paths, rerouted
from solver.single_path import Choice, integral_bound
from solver.solution import Solution
from solver.solve import Session, proof_of
from solver.splits import split_flows
from solver.watch import Watch
from topologies.access import line_rate_bps
from topologies.errors import InputError
from topologies.fabric import Fabric

_FAIR_LIMIT_S = 5.0
"""For fair shares: a plan must not wait for the last level of thousands of pairs."""
_MARGIN = 1e-9
"""Taken off the largest share, so that the next model stays feasible in floating point."""


@dataclass(frozen=True)
class PairPlan:
    """One path for each pair, and the proof of the routing it was rounded from.

    Attributes
    ----------
    pairs : tuple of (source, target)
    share : float
        What every pair is planned to get at least, relative to its line rate; at most 1.
    rates_bps : tuple of float
        The planned rate of each pair: line rate, or the max-min fair part of it where not all fits.
    paths : tuple of Path
        The path of each pair, access links included.
    certificate : Certificate
        Of the fractional routing at these rates.
    share_certificate : Certificate
        Of the largest common share (above 1 where line rate leaves room).
    worst_link_utilisation : float
        Of the single paths at the planned rates; above 1 where whole pairs must share a link that
        fractions would have avoided.
    utilisation_bound : float
        What no choice of single paths can go below, as far as it is proven.
    fractions : tuple of tuple of PathFlow
        For each pair the paths and rates of the fractional routing, the widest first; empty where not asked for.
    engine, reason : str
        What computed it, and how far it got.
    seconds : float
        All of it, checks included.
    """

    pairs: tuple[tuple[str, str], ...]
    share: float
    rates_bps: tuple[float, ...]
    paths: tuple[Path, ...]
    certificate: Certificate
    share_certificate: Certificate
    worst_link_utilisation: float
    utilisation_bound: float
    engine: str
    reason: str
    seconds: float
    fractions: tuple[tuple[PathFlow, ...], ...] = ()


def plan_pairs(
    fabric: Fabric,
    pairs: Sequence[tuple[str, str]],
    *,
    max_utilisation: float = 0.95,
    objective: Objective = Objective.MIN_DELAY,
    engine: str = "auto",
    time_limit_s: float | None = None,
    seed: int = 0,
    session: Session | None = None,
    with_fractions: bool = False,
    caps_bps: Mapping[tuple[str, str], float] | None = None,
) -> PairPlan:
    """Plan host pairs that want all that their links give.

    Line rate is the capacity of the source's access link, or the target's where that is less. The
    largest share of it that fits for all pairs at once is found first (maximum concurrent flow); where
    that is less than all of it, pairs that others do not hold back get more (max-min fairness). Then
    comes the best fractional routing at these rates, then one path per pair with the least load on the
    worst link.

    Parameters
    ----------
    pairs : sequence of (source, target)
        Hosts of the fabric.
    max_utilisation : float
        Share of each capacity that may be used.
    objective : Objective
        Of the fractional routing at the rates; those that carry a part only stand for the least utilisation.
    engine : str
        As for `solver.solve.solve`.
    time_limit_s : float or None
        For each of the two split routings.
    seed : int
        Of the search for single paths.
    session : Session or None
        To start from what it remembers; it goes on with this fabric.
    with_fractions : bool
        Whether the paths of the fractional routing are wanted, too.
    caps_bps : mapping of (source, target) to float, optional
        What pairs want at most, where that is less than their links give; it stands for their line rate then.

    Raises
    ------
    InputError
        No pairs, an unknown host, one that is attached nowhere, or a link without capacity or delay.
    Infeasible
        No path leads from one end of a pair to the other.
    SolverError
        A solver failed, or its answer was wrong.
    """
    begun = time.perf_counter()
    if not pairs:
        raise InputError("there are no pairs to plan; a job has at least two ranks")
    if not 0 < max_utilisation <= 1:
        raise InputError(f"max_utilisation is {max_utilisation}; it must be above 0 and at most 1")
    wanted = tuple(Demand(*pair, wanted_bps(fabric, pair, caps_bps or {})) for pair in pairs)
    session = Session(fabric) if session is None else session
    session.change(fabric)

    def split(demands: Sequence[Demand], objective: Objective) -> Routing:
        return session.solve(
            demands, objective, max_utilisation=max_utilisation, engine=engine, time_limit_s=time_limit_s, seed=seed
        )

    widest = split(wanted, Objective.MAX_CONCURRENT_FLOW)
    largest = proof_of(widest).value
    rates = np.array([demand.rate_bps for demand in wanted])
    proof = proof_of(widest)
    # No pair can have more than is allowed of its own access links.
    overload = largest < max_utilisation * (1 - 1e-6)
    if overload or objective is Objective.MAX_MIN_FAIR:
        fair = _fair(session, wanted, max_utilisation, engine, seed)
        if objective is Objective.MAX_MIN_FAIR:
            proof = proof_of(fair)
        if overload:
            rates = np.maximum(fair.carried_bps, largest * rates) * (1 - _MARGIN)
    if not overload:
        rates = rates * min(1.0, largest * (1 - _MARGIN))
    asked = tuple(replace(demand, rate_bps=rate) for demand, rate in zip(wanted, rates.tolist(), strict=True))
    share = float(min(rate / demand.rate_bps for rate, demand in zip(rates.tolist(), wanted, strict=True)))
    # What carries less than is asked is settled by now.
    routing = split(asked, Objective.MIN_MAX_UTILISATION if objective.may_carry_less else objective)
    if not objective.may_carry_less:
        proof = proof_of(routing)

    def number(demands: Sequence[Demand]) -> Question:
        return ask(
            fabric, demands, Objective.MIN_MAX_UTILISATION, max_utilisation=max_utilisation, allowed=None, gap=0.01,
            seed=seed, watch=Watch(),
        )  # fmt: skip

    question = number(asked)
    choice, least = _single_paths(question, number(wanted), routing, max_utilisation * share / largest)
    fractions: list[tuple[PathFlow, ...]] = []
    if with_fractions:
        for flows in split_flows(question.instance, routing.flow_bps, routing.carried_bps):
            fractions.append(tuple(PathFlow(_named(fabric, links), rate_bps) for links, rate_bps in flows))
    gap = 1 - least / choice.worst
    if gap <= 1e-6:
        verdict = "the worst link is as good as it can be"
    else:
        verdict = f"the worst link could carry {100 * gap:.3g} % less at best"
    if choice.worst > 1 + 1e-6:
        verdict += f"; whole pairs ask {choice.worst:.3g} times what it carries, so these get less than planned"
    return PairPlan(
        tuple((source, target) for source, target in pairs),
        share,
        tuple(rates.tolist()),
        tuple(_named(fabric, path) for path in choice.paths),
        proof,
        proof_of(widest),
        choice.worst,
        least,
        f"{routing.engine}, {choice.method}",
        f"{100 * share:.4g} % of line rate for each pair{'' if share >= 1 else ' at least'}: {widest.reason}; "
        f"single paths: {verdict}",
        time.perf_counter() - begun,
        tuple(fractions),
    )


def wanted_bps(fabric: Fabric, pair: tuple[str, str], caps_bps: Mapping[tuple[str, str], float]) -> float:
    """What a pair wants: line rate, or its cap where that is less.

    Raises
    ------
    InputError
        As for `line_rate_bps`.
    """
    return min(line_rate_bps(fabric, *pair), caps_bps.get(pair, inf))


def _named(fabric: Fabric, links: Iterable[int]) -> Path:
    return tuple(fabric.links[link].id for link in links)


def _fair(session: Session, wanted: Sequence[Demand], max_utilisation: float, engine: str, seed: int) -> Routing:
    """Max-min fair parts of line rate; what there is no time for gets the common share."""
    limit_s = _FAIR_LIMIT_S if EngineSpec.parse(engine).engine is not Engine.PULP else None
    return session.solve(
        wanted, Objective.MAX_MIN_FAIR, max_utilisation=max_utilisation, engine=engine, time_limit_s=limit_s, seed=seed
    )


def _single_paths(question: Question, at_line_rate: Question, routing: Routing, bound: float) -> tuple[Choice, float]:
    """One path for each pair, by colours where they prove best or pairs are many; and what no choice can go below.

    Parameters
    ----------
    at_line_rate : Question
        The same pairs, whole: colours are for equal rates.
    bound : float
        Utilisation of the worst link that not even splitting goes below.
    """
    instance, many = question.instance, len(question.demands) > MANY
    found = coloured(at_line_rate)
    if isinstance(found, Coloured):
        worst = question.max_utilisation * found.paths.worst(instance)
        least = integral_bound(bound, instance.rates_bps, instance.capacities_bps)
        if worst <= least * (1 + 1e-6) or many:
            paths = tuple(tuple(found.paths.of(index).tolist()) for index in range(len(question.demands)))
            return Choice(paths, worst, "edge colouring"), min(least, worst)
    split = Solution(routing.flow_bps, routing.carried_bps, proof_of(routing).prices, routing.engine, routing.reason)
    if many:
        choice = rerouted(question, split, bound)
        return choice, min(bound, choice.worst)
    return choose_paths(question, split, bound)
