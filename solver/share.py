"""What the planner asks for jobs: every pair at line rate, or the largest common share of it, one path each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from solver.demand import Demand
from solver.question import ask
from solver.routing import Certificate, Objective, Path, Routing
from solver.single import choose_paths
from solver.solution import Solution
from solver.solve import Session, proof_of
from solver.watch import Watch
from topologies.access import line_rate_bps
from topologies.errors import InputError
from topologies.fabric import Fabric

_MARGIN = 1e-9
"""Taken off the largest share, so that the next model stays feasible in floating point."""


@dataclass(frozen=True)
class PairPlan:
    """One path for each pair, and the proof of the routing it was rounded from.

    Attributes
    ----------
    pairs : tuple of (source, target)
    share : float
        What every pair is planned to get, relative to its line rate; at most 1.
    rates_bps : tuple of float
        The planned rate of each pair: share times line rate.
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


def plan_pairs(
    fabric: Fabric,
    pairs: Sequence[tuple[str, str]],
    *,
    max_utilisation: float = 0.95,
    objective: Objective = Objective.MIN_DELAY,
    engine: str = "auto",
    time_limit_s: float | None = None,
    seed: int = 0,
) -> PairPlan:
    """Plan host pairs that want all that their links give.

    Line rate is the capacity of the source's access link, or the target's where that is less. The
    largest share of it that fits for all pairs at once is found first (maximum concurrent flow), then
    the best fractional routing at that share, then one path per pair with the least load on the worst
    link.

    Parameters
    ----------
    pairs : sequence of (source, target)
        Hosts of the fabric.
    max_utilisation : float
        Share of each capacity that may be used.
    objective : Objective
        Of the fractional routing at the share.
    engine : str
        As for `solver.solve.solve`.
    time_limit_s : float or None
        For each of the two split routings.
    seed : int
        Of the search for single paths.

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
    wanted = tuple(Demand(source, target, line_rate_bps(fabric, source, target)) for source, target in pairs)
    session = Session(fabric)

    def split(demands: Sequence[Demand], objective: Objective) -> Routing:
        return session.solve(
            demands, objective, max_utilisation=max_utilisation, engine=engine, time_limit_s=time_limit_s, seed=seed
        )

    widest = split(wanted, Objective.MAX_CONCURRENT_FLOW)
    largest = proof_of(widest).value
    share = min(1.0, largest * (1 - _MARGIN))
    asked = tuple(replace(demand, rate_bps=demand.rate_bps * share) for demand in wanted)
    routing = widest if objective is Objective.MAX_CONCURRENT_FLOW else split(asked, objective)
    rates = np.array([demand.rate_bps for demand in asked])
    question = ask(
        fabric, asked, Objective.MIN_MAX_UTILISATION, max_utilisation=max_utilisation, allowed=None, gap=0.01,
        seed=seed, watch=Watch(),
    )  # fmt: skip
    found = Solution(routing.flow_bps, routing.carried_bps, proof_of(routing).prices, routing.engine, routing.reason)
    choice, least = choose_paths(question, found, max_utilisation * share / largest)
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
        tuple(tuple(fabric.links[link].id for link in path) for path in choice.paths),
        proof_of(routing),
        proof_of(widest),
        choice.worst,
        least,
        f"{routing.engine}, {choice.method}",
        f"{100 * share:.4g} % of line rate for each pair: {widest.reason}; single paths: {verdict}",
        time.perf_counter() - begun,
    )
