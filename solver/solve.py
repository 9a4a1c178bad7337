"""Demands in, certified routing out: the one door to all engines, once or in a session."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

import numpy as np

from solver.certificate import Claim, certify
from solver.choice import EngineSpec, Memory
from solver.demand import Demand
from solver.distance import Allowed
from solver.errors import CertificateError, Infeasible
from solver.fractional import fractional
from solver.instance import loads_of
from solver.question import Question, ask
from solver.routing import Certificate, Objective, Routing, Seconds, Status
from solver.single import one_path_each
from solver.solution import Solution
from solver.watch import Progress, Watch
from topologies.errors import InputError
from topologies.fabric import Fabric

OPTIMAL_GAP = 1e-6
"""A routing whose value and bound are this close is called optimal."""
_FIT = 1e-9
"""Relative excess that arithmetic explains."""


class OnOverload(StrEnum):
    """What to do where not all demands fit."""

    REFUSE = "refuse"
    FAIR = "fair"


def solve(
    fabric: Fabric,
    demands: Sequence[Demand],
    objective: Objective = Objective.MIN_DELAY,
    *,
    max_utilisation: float = 1.0,
    single_path: bool = False,
    allowed: Allowed | None = None,
    on_overload: OnOverload = OnOverload.REFUSE,
    engine: str = "auto",
    time_limit_s: float | None = None,
    gap: float = 0.01,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> Routing:
    """Route demands, optimally for an objective, and prove it.

    Ties are broken by the least maximum utilisation for `MIN_DELAY`, and by delay for `MIN_MAX_UTILISATION` and
    `MAX_MIN_FAIR` (hops, where a link has no delay); among what is left the engine decides, always alike.

    Parameters
    ----------
    max_utilisation : float
        Share of each capacity that may be used, above 0 and at most 1.
    single_path : bool
        Give every demand exactly one path; the gap to the fractional bound is in the certificate.
    allowed : Allowed or None
        The paths that demands may take: of at most so many hops, or given ones.
    on_overload : OnOverload
        Where the demands do not fit: refuse, or carry the max-min fair rates.
    engine : str
        ``auto``, an `Engine`, or ``pulp:SOLVER`` for a solver that PuLP drives.
    time_limit_s : float or None
        For all of it but the check; then the best routing so far is returned, with its gap.
    gap : float
        With which an approximate engine may stop, where no exact one is fast enough.
    seed : int
        Of the searches.
    report : callable or None
        Told of progress.

    Raises
    ------
    Infeasible
        Some demand has no path, or a cut is narrower than what must cross it. (A largest share has no
        such cut: it is just below 1.)
    InputError
        No demands, an unknown node, a link without capacity, or one without delay for `MIN_DELAY`.
    SolverError
        The solver failed or ran out of time, or no single-path routing was found.
    CertificateError
        The answer failed the independent check.
    """
    return Session(fabric).solve(
        demands, objective, max_utilisation=max_utilisation, single_path=single_path, allowed=allowed,
        on_overload=on_overload, engine=engine, time_limit_s=time_limit_s, gap=gap, seed=seed, report=report,
    )  # fmt: skip


class Session:
    """Answers one question after another on a fabric that changes little: what one answer used, the next starts with.

    Parameters
    ----------
    fabric : Fabric
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self._memory = Memory()

    def change(self, fabric: Fabric) -> None:
        """Go on with another snapshot: links lost or won, other capacities."""
        self.fabric = fabric

    def solve(
        self,
        demands: Sequence[Demand],
        objective: Objective = Objective.MIN_DELAY,
        *,
        max_utilisation: float = 1.0,
        single_path: bool = False,
        allowed: Allowed | None = None,
        on_overload: OnOverload = OnOverload.REFUSE,
        engine: str = "auto",
        time_limit_s: float | None = None,
        gap: float = 0.01,
        seed: int = 0,
        report: Callable[[Progress], None] | None = None,
    ) -> Routing:
        """As `solve`."""
        spec = EngineSpec.parse(engine)
        try:
            objective, on_overload = Objective(objective), OnOverload(on_overload)
        except ValueError as error:
            raise InputError(f"{error}; take one of {', '.join([*Objective, *OnOverload])}") from None
        if seed < 0:
            raise InputError(f"seed is {seed}; it must be 0 or more")
        if time_limit_s is not None and not time_limit_s > 0:
            raise InputError(f"time_limit_s is {time_limit_s}; it must be above 0")
        watch = Watch(math.inf if time_limit_s is None else time_limit_s, report)
        question = ask(
            self.fabric, demands, objective, max_utilisation=max_utilisation, allowed=allowed, gap=gap, seed=seed,
            watch=watch,
        )  # fmt: skip
        built_s = watch.spent_s()
        fair = on_overload is OnOverload.FAIR and not objective.may_carry_less
        try:
            solution = self._answer(question, spec, single_path=single_path)
            overloaded = fair and bool(np.any(loads_of(solution.flow_bps) > question.instance.allowed_bps * (1 + _FIT)))
        except Infeasible as infeasible:
            if not fair or infeasible.pair is not None:
                raise
            overloaded = True
        if overloaded:
            question = ask(
                self.fabric, demands, Objective.MAX_MIN_FAIR, max_utilisation=max_utilisation, allowed=allowed,
                gap=gap, seed=seed, watch=watch,
            )  # fmt: skip
            solution = self._answer(question, spec, single_path=single_path)
            solution = replace(
                solution, reason=f"not all demands fit, so the fair rates are carried: {solution.reason}"
            )
        seconds = Seconds(built_s, watch.spent_s() - built_s)
        return certified(question, solution, seconds, single_path=single_path)

    def _answer(self, question: Question, spec: EngineSpec, *, single_path: bool) -> Solution:
        if single_path:
            return one_path_each(question, spec, self._memory)
        return fractional(question, spec, self._memory)


def certified(question: Question, solution: Solution, seconds: Seconds, *, single_path: bool = False) -> Routing:
    """Have a solution checked, and make it a routing.

    Raises
    ------
    CertificateError
        The check failed, or the gap is larger than an exact method leaves.
    """
    begun = time.perf_counter()
    fabric, nodes = question.fabric, question.fabric.nodes
    hosts = [node.id for node in fabric.hosts]
    count = len(nodes)
    targets = tuple(
        nodes[vertex].id if vertex < count else hosts[vertex - count]
        for vertex in question.instance.target_vertices.tolist()
    )
    claim = Claim(
        targets, solution.flow_bps, solution.carried_bps, solution.prices, solution.path_flows, solution.level_prices,
        single_path,
    )  # fmt: skip
    proof = certify(
        fabric, question.demands, claim, objective=question.objective, max_utilisation=question.max_utilisation,
        allowed=question.allowed,
    )  # fmt: skip
    if proof.gap > OPTIMAL_GAP and not solution.approximate:
        raise CertificateError(
            f"{solution.engine} stopped {proof.gap:.2g} from its bound without saying so; use another engine"
        )
    # The least maximum utilisation is what it is; the other objectives keep to what is allowed.
    free = question.objective is Objective.MIN_MAX_UTILISATION
    allowed = max(question.max_utilisation, proof.value) if free else question.max_utilisation
    return Routing(
        fabric, question.demands, targets, solution.flow_bps, solution.carried_bps,
        Status.OPTIMAL if proof.gap <= OPTIMAL_GAP and solution.proven else Status.FEASIBLE,
        solution.engine, solution.reason,
        max_utilisation_allowed=allowed, path_flows=solution.path_flows, certificate=proof,
        seconds=replace(seconds, certify=time.perf_counter() - begun), single_path=single_path,
    )  # fmt: skip


def proof_of(routing: Routing) -> Certificate:
    """The certificate of a routing that has one.

    Raises
    ------
    CertificateError
        The routing is a baseline, which proves nothing.
    """
    if routing.certificate is None:
        raise CertificateError(f"a routing by {routing.engine} has no proof; solve the demands instead")
    return routing.certificate
