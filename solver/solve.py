"""Demands in, certified routing out: picks the model, runs it, breaks ties, and has the answer checked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from solver.backends import Backend
from solver.certificate import certify
from solver.cuts import crossing_demand, infeasibility, narrowest
from solver.cycles import cancel_cycles
from solver.demand import Demand
from solver.errors import CertificateError, Infeasible
from solver.models import Model
from solver.network import Arcs, Floats, Network
from solver.one_path import one_path_each
from solver.routing import Certificate, Objective, Routing, Seconds, Status
from topologies.errors import InputError
from topologies.fabric import Fabric

OPTIMAL_GAP = 1e-6
"""A routing whose value and bound are this close is called optimal."""
_FIT = 1e-7
"""Relative excess that a solver's tolerance explains."""

Flow = csr_array[np.float64, tuple[int, int]]


def solve(
    fabric: Fabric,
    demands: Sequence[Demand],
    objective: Objective = Objective.MIN_DELAY,
    *,
    max_utilisation: float = 1.0,
    single_path: bool = False,
    backend: Backend = Backend.HIGHS,
    time_limit_s: float | None = None,
    seed: int = 0,
) -> Routing:
    """Route demands, optimally for an objective, and prove it.

    Ties are broken by the least maximum utilisation, and by delay where the objective is another one
    (hops, where a link has no delay). Demands whose shortest paths suffice are solved on these alone;
    the bound still speaks for all paths.

    Parameters
    ----------
    max_utilisation : float
        Share of each capacity that may be used, above 0 and at most 1.
    single_path : bool
        Give every demand exactly one path; the gap to the fractional bound is in the certificate.
    backend : Backend
        The solver that PuLP drives.
    time_limit_s : float or None
        For all models together.
    seed : int
        Of the search for single paths.

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
    started = time.perf_counter()
    if not demands:
        raise InputError("there are no demands to route; give at least one")
    if not 0 < max_utilisation <= 1:
        raise InputError(f"max_utilisation is {max_utilisation}; it must be above 0 and at most 1")
    task = Task(fabric, Network.build(fabric, demands), max_utilisation, backend, time_limit_s, started)
    built = time.perf_counter()
    task.refuse_unreachable()
    if objective is Objective.MIN_DELAY:
        solution = task.least_delay(fabric.delays_s)
    elif objective is Objective.MAX_CONCURRENT_FLOW:
        solution = task.largest_share()
    else:
        solution = task.least_utilisation()
    solved = time.perf_counter()
    routing = certified(task, solution, objective, Seconds(built - started, solved - built))
    return one_path_each(routing, backend=backend, seed=seed) if single_path else routing


def certified(task: Task, solution: Solution, objective: Objective, seconds: Seconds) -> Routing:
    """Have a solution checked, and make it a routing.

    Raises
    ------
    CertificateError
        The check failed, or the gap is larger than an exact method leaves.
    """
    begun = time.perf_counter()
    fabric, demands, targets = task.fabric, task.network.demands, task.network.targets
    carried_bps = np.array([demand.rate_bps * solution.share for demand in demands])
    proof = certify(
        fabric, demands, targets, solution.flow_bps, carried_bps, solution.prices,
        objective=objective, max_utilisation=task.max_utilisation,
    )  # fmt: skip
    if proof.gap > OPTIMAL_GAP:
        raise CertificateError(
            f"{task.backend} stopped {proof.gap:.2g} from its bound without saying so; use another backend"
        )
    return Routing(
        fabric, demands, targets, solution.flow_bps, carried_bps, Status.OPTIMAL, str(task.backend), solution.reason,
        max_utilisation_allowed=task.max_utilisation, certificate=proof,
        seconds=replace(seconds, certify=time.perf_counter() - begun),
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


@dataclass(frozen=True)
class Solution:
    """Flows that carry ``share`` of every demand, and the prices that prove them good."""

    share: float
    flow_bps: Flow
    prices: Floats
    reason: str


@dataclass(frozen=True)
class Task:
    """One call of the solver: what is asked, and how much time is left."""

    fabric: Fabric
    network: Network
    max_utilisation: float
    backend: Backend
    time_limit_s: float | None
    started_s: float

    @property
    def allowed_bps(self) -> Floats:
        return self.fabric.capacities_bps * self.max_utilisation

    def refuse_unreachable(self) -> None:
        """Raise `Infeasible` with an empty cut where a demand has no path at all."""
        away = self.network.distances(np.ones(len(self.fabric.links)))
        lost = (self.network.supply > 0) & ~np.isfinite(away)
        for row, vertex in zip(*np.nonzero(lost), strict=True):
            pair = (self.fabric.nodes[int(vertex)].id, self.network.targets[int(row)])
            raise Infeasible((), 0.0, float(self.network.supply[row, vertex]), pair=pair)

    def least_delay(self, delays_s: Floats, *, allowed_bps: Floats | None = None) -> Solution:
        """All demands with the least delay, then the least maximum utilisation."""
        allowed = self.allowed_bps if allowed_bps is None else allowed_bps
        short = self._model(self.network.shortest_arcs(delays_s)).least_utilisation(allowed)
        if short is not None and short.value <= 1 + _FIT:
            return Solution(1.0, short.flow_bps, np.zeros(len(delays_s)), "all demands fit on their shortest paths")
        answer = self._model(self.network.every_arc()).least_delay(delays_s, allowed)
        if answer is None:
            raise infeasibility(self.network, allowed, self._share(delays_s, allowed).prices)
        flow = self._tie_break(delays_s, allowed, answer.prices, answer.value)
        reason = "some demands leave their shortest paths for lack of capacity"
        return Solution(1.0, self._without_cycles(answer.flow_bps if flow is None else flow), answer.prices, reason)

    def largest_share(self) -> Solution:
        """The largest common share, on shortest paths where these suffice."""
        return self._share(self.delays_or_hops(), self.allowed_bps)

    def least_utilisation(self) -> Solution:
        """All demands with the least maximum utilisation, then the least delay.

        It is the reciprocal of the largest share, reached at the same prices.
        """
        delays_s = self.delays_or_hops()
        widest = self._share(delays_s, self.allowed_bps)
        if widest.share < 1 - _FIT:
            raise infeasibility(self.network, self.allowed_bps, widest.prices)
        # The margin keeps the second model feasible in floating point; the certificate's gap shows it.
        narrowed = self.allowed_bps / widest.share * (1 + _FIT)
        rest = self.least_delay(delays_s, allowed_bps=narrowed)
        return Solution(1.0, rest.flow_bps, widest.prices, f"reciprocal of the largest share; {rest.reason}")

    def delays_or_hops(self) -> Floats:
        """Link delays, or 1 for every link where one of them is unknown."""
        if any(link.delay_s is None for link in self.fabric.links):
            return np.ones(len(self.fabric.links))
        return self.fabric.delays_s

    def _share(self, delays_s: Floats, allowed: Floats) -> Solution:
        answer = self._model(self.network.shortest_arcs(delays_s)).largest_share(allowed)
        cut = narrowest(self.network, allowed)
        if cut is not None and cut.share <= answer.value * (1 + _FIT):
            prices = np.zeros(len(allowed))
            prices[cut.links] = 1 / cut.demand_bps
            return Solution(answer.value, answer.flow_bps, prices, "shortest paths fill a cut")
        lengths = crossing_demand(self.network, answer.prices)
        if lengths > 0 and allowed @ answer.prices <= answer.value * (1 + _FIT) * lengths:
            return Solution(answer.value, answer.flow_bps, answer.prices, "shortest paths suffice")
        answer = self._model(self.network.every_arc()).largest_share(allowed)
        flow = self._without_cycles(answer.flow_bps)
        return Solution(answer.value, flow, answer.prices, "longer paths carry a part")

    def _tie_break(self, delays_s: Floats, allowed: Floats, prices: Floats, value: float) -> Flow | None:
        """The least maximum utilisation on the optimal face; None where rounding hides that face.

        Complementary slackness describes it: flow only on links that are shortest under delay plus
        price, and priced links full.
        """
        scale = float(delays_s.mean()) or 1.0
        arcs = self.network.arcs_within(delays_s + prices, _FIT * scale)
        used = set(arcs.links.tolist())
        full = [link for link in np.flatnonzero(prices > _FIT * scale).tolist() if link in used]
        answer = self._model(arcs).least_utilisation(allowed, full)
        if answer is None or answer.value > 1 + _FIT:
            return None
        delay = float(answer.flow_bps.sum(axis=0) @ delays_s)
        return answer.flow_bps if delay <= value * (1 + _FIT) else None

    def _model(self, arcs: Arcs) -> Model:
        spent_s = time.perf_counter() - self.started_s
        left_s = None if self.time_limit_s is None else self.time_limit_s - spent_s
        return Model(self.network, arcs, self.backend, left_s)

    def _without_cycles(self, flow: Flow) -> Flow:
        tails, heads = self.network.tails.tolist(), self.network.heads.tolist()
        entries = flow.tocoo()
        by_row: dict[int, dict[int, float]] = {}
        for row, link, value in zip(entries.row.tolist(), entries.col.tolist(), entries.data.tolist(), strict=True):
            by_row.setdefault(row, {})[link] = value
        left = {row: cancel_cycles(flows, tails, heads) for row, flows in by_row.items()}
        triples = [(value, row, link) for row, flows in left.items() for link, value in flows.items()]
        values, rows, links = zip(*triples, strict=True) if triples else ((), (), ())
        return csr_array((np.array(values, dtype=np.float64), (rows, links)), shape=flow.shape)
