"""The linear programs, one variable per destination and link, written in PuLP.

Demands that share a destination are one flow: exact for linear objectives, and smaller by the number
of sources (``paths`` decomposes it again). Flows are measured in the largest demand and delays in their
mean, so that all numbers handed to a solver are near 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pulp
from scipy.sparse import csr_array

from solver.backends import Backend, run
from solver.errors import SolverError
from solver.network import Arcs, Floats, Network


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes
    ----------
    value : float
        The model's objective: delay in bit, a share, or a utilisation.
    flow_bps : sparse array, shape (targets, links)
    prices : array, shape (links,)
        Dual price of each capacity, not negative; seconds for delay, per bit/s for a share.
    """

    value: float
    flow_bps: csr_array[np.float64, tuple[int, int]]
    prices: Floats


class Model:
    """Conservation for each destination and the load of each link; one objective, asked once, adds the rest.

    Parameters
    ----------
    network, arcs
        The demands, and the (destination, link) pairs that may carry them.
    backend : Backend
    time_limit_s : float or None
        For the solver alone.
    """

    def __init__(self, network: Network, arcs: Arcs, backend: Backend, time_limit_s: float | None = None) -> None:
        self._network = network
        self._arcs = arcs
        self._backend = backend
        self._time_limit_s = time_limit_s
        self._unit_bps = max((demand.rate_bps for demand in network.demands), default=1.0)
        self._program = pulp.LpProblem("heddle", pulp.LpMinimize)
        self._flows = [pulp.LpVariable(f"f{index}", 0) for index in range(len(arcs.rows))]
        self._loads: defaultdict[int, list[tuple[pulp.LpVariable, float]]] = defaultdict(list)
        for flow, link in zip(self._flows, arcs.links.tolist(), strict=True):
            self._loads[link].append((flow, 1.0))
        self._capacities: dict[int, pulp.LpConstraint] = {}

    def least_delay(self, delays_s: Floats, allowed_bps: Floats) -> Answer | None:
        """Carry all demands with the least ``sum_e d_e f_e``; None where these arcs cannot carry them."""
        unit_s = float(delays_s.mean()) if delays_s.any() else 1.0
        cost = (delays_s / unit_s)[self._arcs.links].tolist()
        self._program.setObjective(pulp.LpAffineExpression(list(zip(self._flows, cost, strict=True))))
        self._conserve()
        self._limit(allowed_bps)
        if not self._run():
            return None
        flow = self._flow()
        return Answer(float(flow.sum(axis=0) @ delays_s), flow, self._prices() * unit_s)

    def largest_share(self, allowed_bps: Floats) -> Answer:
        """The largest share of every demand that fits, the same for all: maximum concurrent flow."""
        share = pulp.LpVariable("share", 0)
        self._program.setObjective(-1.0 * share)
        self._conserve(share)
        self._limit(allowed_bps)
        self._must_run()
        return Answer(float(share.value()), self._flow(), self._prices() / self._unit_bps)

    def least_utilisation(self, allowed_bps: Floats, saturated: Sequence[int] = ()) -> Answer | None:
        """Carry all demands with the least ``max_e f_e/allowed_e`` over the links that need not be full.

        None where these arcs cannot carry them so.
        """
        worst = pulp.LpVariable("worst", 0)
        self._program.setObjective(1.0 * worst)
        self._conserve()
        for link in saturated:
            full = pulp.LpAffineExpression(self._loads.pop(link))
            self._program.addConstraint(
                pulp.LpConstraint(full, pulp.LpConstraintEQ, f"s{link}", self._unit(allowed_bps, link))
            )
        self._limit(allowed_bps, worst)
        if not self._run():
            return None
        return Answer(float(worst.value()), self._flow(), self._prices())

    def _conserve(self, share: pulp.LpVariable | None = None) -> None:
        network, target_of = self._network, self._network.target_vertices
        balance: defaultdict[tuple[int, int], list[tuple[pulp.LpVariable, float]]] = defaultdict(list)
        tails, heads = network.tails.tolist(), network.heads.tolist()
        for flow, row, link in zip(self._flows, self._arcs.rows.tolist(), self._arcs.links.tolist(), strict=True):
            balance[row, tails[link]].append((flow, 1.0))
            balance[row, heads[link]].append((flow, -1.0))
        for row, vertex in zip(*(axis.tolist() for axis in np.nonzero(network.supply)), strict=True):
            # A source that no arc leaves must make the model infeasible, not vanish from it.
            balance[row, vertex] += []
        for (row, vertex), terms in balance.items():
            if vertex == target_of[row]:
                continue
            supply = float(network.supply[row, vertex]) / self._unit_bps
            if share is not None and supply:
                terms, supply = [*terms, (share, -supply)], 0.0
            expression = pulp.LpAffineExpression(terms)
            self._program.addConstraint(pulp.LpConstraint(expression, pulp.LpConstraintEQ, f"b{row}_{vertex}", supply))

    def _limit(self, allowed_bps: Floats, worst: pulp.LpVariable | None = None) -> None:
        for link, terms in self._loads.items():
            capacity = self._unit(allowed_bps, link)
            if worst is not None:
                terms, capacity = [*terms, (worst, -capacity)], 0.0
            constraint = pulp.LpConstraint(pulp.LpAffineExpression(terms), pulp.LpConstraintLE, f"c{link}", capacity)
            self._program.addConstraint(constraint)
            self._capacities[link] = constraint

    def _unit(self, allowed_bps: Floats, link: int) -> float:
        return float(allowed_bps[link]) / self._unit_bps

    def _run(self) -> bool:
        """Solve; whether there is a solution."""
        outcome = run(self._program, self._backend, self._time_limit_s)
        return bool(outcome != pulp.LpSolutionInfeasible)

    def _must_run(self) -> None:
        if not self._run():
            raise SolverError(
                f"{self._backend} calls a model infeasible that always has a solution; use another backend"
            )

    def _flow(self) -> csr_array[np.float64, tuple[int, int]]:
        values = np.array([flow.value() or 0.0 for flow in self._flows], dtype=np.float64)
        values[values < 1e-9] = 0.0
        shape = (len(self._network.targets), len(self._network.tails))
        flow = csr_array((values * self._unit_bps, (self._arcs.rows, self._arcs.links)), shape=shape)
        flow.eliminate_zeros()
        return flow

    def _prices(self) -> Floats:
        prices = np.zeros(len(self._network.tails))
        for link, constraint in self._capacities.items():
            prices[link] = max(0.0, -float(constraint.pi or 0.0))
        return prices
