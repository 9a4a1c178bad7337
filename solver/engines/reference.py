"""The reference: the linear programs written in PuLP over every link, for any solver that PuLP drives.

Nothing is left out or grown, so that its answers are what the faster engines are held against. Demands that
share a destination are one flow, measured in the largest demand; delays are measured in their mean.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pulp
from scipy.sparse import csr_array

from solver.backends import run
from solver.errors import SolverError
from solver.instance import Answer, Floats, Flow, Instance
from solver.polish import polished
from solver.queueing import QUEUEING_FROM, QUEUEING_SLOPES
from solver.watch import Watch

_MARGIN = 1e-9
"""Added to an optimum before it bounds the next program, so that this one stays feasible in floating point."""


@dataclass(frozen=True)
class Reference:
    """Engine ``pulp``: see the module.

    Attributes
    ----------
    solver : str
        ``highs``, ``cbc``, or the name of any other solver of PuLP's.
    """

    solver: str = "highs"

    def least_delay(self, instance: Instance, watch: Watch) -> Answer | None:
        """The least total delay within what is allowed, then the least maximum utilisation."""
        first = _Program(instance, self.solver, watch)
        first.limit(instance.allowed_bps)
        delay = first.delay()
        value = first.minimise(delay)
        if value is None:
            return None
        prices = first.prices() * _mean(instance.delays_s)
        second = _Program(instance, self.solver, watch)
        second.limit(instance.allowed_bps)
        second.add(second.delay() <= value * (1 + _MARGIN))
        second.minimise(second.worst(instance.capacities_bps))
        return Answer(polished(instance, second.flow()), 1.0, prices, "least delay, then least maximum utilisation")

    def least_utilisation(self, instance: Instance, watch: Watch, floor: float = 0.0) -> Answer:
        """The least maximum utilisation, then the least total delay."""
        first = _Program(instance, self.solver, watch)
        value = first.must(first.minimise(first.worst(instance.capacities_bps)))
        prices = first.prices()
        second = _Program(instance, self.solver, watch)
        second.limit(instance.capacities_bps * (max(value, floor) * (1 + _MARGIN)))
        second.must(second.minimise(second.delay()))
        reason = "least maximum utilisation, then least delay"
        return Answer(polished(instance, second.flow()), 1.0, prices, reason)

    def largest_share(self, instance: Instance, watch: Watch) -> Answer:
        """The largest share of every demand."""
        share, flow, prices = self.share_beside(
            instance, watch, instance.rates_bps, np.zeros(len(instance.rates_bps)), np.inf
        )
        return Answer(polished(instance, flow) * share, share, prices, "the largest common share")

    def share_beside(
        self, instance: Instance, watch: Watch, open_bps: Floats, given_bps: Floats, most: float
    ) -> tuple[float, Flow, Floats]:
        """The largest share of open rates beside given ones, its flow, and the prices."""
        program = _Program(instance, self.solver, watch, open_bps, given_bps)
        program.limit(instance.allowed_bps)
        if np.isfinite(most):
            program.add(program.share <= most)
        value = program.must(program.minimise(-1 * program.share))
        return -value, program.flow(), program.prices() / program.unit_bps

    def least_queueing(self, instance: Instance, watch: Watch) -> Answer | None:
        """The least piecewise linear queueing cost within what is allowed."""
        program = _Program(instance, self.solver, watch)
        program.limit(instance.allowed_bps)
        if program.minimise(program.queueing()) is None:
            return None
        prices = (program.prices() + program.prices(program.costs)) / program.unit_bps
        return Answer(polished(instance, program.flow()), 1.0, prices, "least piecewise linear queueing cost")


@dataclass
class _Program:
    """One PuLP program under construction; links without a name of their own are numbered."""

    instance: Instance
    solver: str
    watch: Watch
    open_bps: Floats | None = None
    given_bps: Floats | None = None
    unit_bps: float = field(init=False)
    costs: dict[int, list[pulp.LpConstraint]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        instance = self.instance
        self.unit_bps = float(instance.rates_bps.max(initial=0.0)) or 1.0
        self.model = pulp.LpProblem("heddle", pulp.LpMinimize)
        self.share = pulp.LpVariable("share", 0)
        self._flows = {
            (row, link): pulp.LpVariable(f"f{row}_{link}", 0)
            for row, target in enumerate(instance.target_vertices.tolist())
            for link in range(instance.links)
            if instance.tails[link] != target
        }
        self._loads: defaultdict[int, list[tuple[pulp.LpVariable, float]]] = defaultdict(list)
        for (_, link), flow in self._flows.items():
            self._loads[link].append((flow, 1.0))
        self._limits: dict[int, list[pulp.LpConstraint]] = {}
        self._conserve()

    def add(self, constraint: pulp.LpConstraint) -> None:
        self.model.addConstraint(constraint)

    def limit(self, limits_bps: Floats) -> None:
        """No link above its limit."""
        for link, terms in self._loads.items():
            row = pulp.LpConstraint(
                pulp.LpAffineExpression(terms), pulp.LpConstraintLE, f"c{link}", float(limits_bps[link]) / self.unit_bps
            )
            self.add(row)
            self._limits[link] = [row]

    def worst(self, capacities_bps: Floats) -> pulp.LpAffineExpression:
        """The maximum utilisation."""
        worst = pulp.LpVariable("worst", 0)
        for link, terms in self._loads.items():
            load = pulp.LpAffineExpression([*terms, (worst, -float(capacities_bps[link]) / self.unit_bps)])
            row = pulp.LpConstraint(load, pulp.LpConstraintLE, f"w{link}", 0)
            self.add(row)
            self._limits.setdefault(link, []).append(row)
        return 1 * worst

    def delay(self) -> pulp.LpAffineExpression:
        """Total delay in mean delays."""
        delays = (self.instance.delays_s / _mean(self.instance.delays_s)).tolist()
        return pulp.LpAffineExpression([(flow, delays[link]) for (_, link), flow in self._flows.items()])

    def queueing(self) -> pulp.LpAffineExpression:
        """The sum of the links' costs, each at least its every tangent."""
        terms = []
        for link, flows in self._loads.items():
            cost = pulp.LpVariable(f"cost{link}", 0)
            terms.append((cost, 1.0))
            capacity = float(self.instance.capacities_bps[link]) / self.unit_bps
            offset = np.cumsum(np.diff(QUEUEING_SLOPES, prepend=0.0) * QUEUEING_FROM).tolist()
            for segment, (slope, below) in enumerate(zip(QUEUEING_SLOPES.tolist(), offset, strict=True)):
                tangent = pulp.LpAffineExpression([*((flow, slope / capacity) for flow, _ in flows), (cost, -1.0)])
                row = pulp.LpConstraint(tangent, pulp.LpConstraintLE, f"q{link}_{segment}", below)
                self.add(row)
                self.costs.setdefault(link, []).append(row)
        return pulp.LpAffineExpression(terms)

    def minimise(self, objective: pulp.LpAffineExpression) -> float | None:
        """Solve; the optimum, or None where there is no solution."""
        self.model.setObjective(objective)
        limit = self.watch.left_s()
        outcome = run(self.model, self.solver, limit if np.isfinite(limit) else None)
        return None if outcome == pulp.LpSolutionInfeasible else float(pulp.value(self.model.objective) or 0.0)

    def must(self, value: float | None) -> float:
        """The optimum of a program that always has one."""
        if value is None:
            raise SolverError(f"{self.solver} calls a program infeasible that has a solution; use another solver")
        return value

    def flow(self) -> Flow:
        """The flow found, shape (targets, links), bit/s."""
        values = np.array([max(flow.value() or 0.0, 0.0) for flow in self._flows.values()])
        rows, links = np.array(list(self._flows), dtype=np.intp).reshape(-1, 2).T
        flow = csr_array((values * self.unit_bps, (rows, links)), shape=(self.instance.targets, self.instance.links))
        flow.eliminate_zeros()
        return flow

    def prices(self, rows: dict[int, list[pulp.LpConstraint]] | None = None) -> Floats:
        """Dual prices of links, not negative; 0 where the solver tells none."""
        prices = np.zeros(self.instance.links)
        for link, constraints in (self._limits if rows is None else rows).items():
            for constraint in constraints:
                scale = 1.0
                if rows is not None:
                    scale = max(abs(factor) for variable, factor in constraint.items() if variable.name[0] == "f")
                prices[link] += scale * max(0.0, -float(constraint.pi or 0.0))
        return prices

    def _conserve(self) -> None:
        instance = self.instance
        opened = instance.rates_bps if self.open_bps is None else self.open_bps
        given = np.zeros(len(opened)) if self.given_bps is None else self.given_bps
        asks: defaultdict[tuple[int, int], float] = defaultdict(float)
        fixed: defaultdict[tuple[int, int], float] = defaultdict(float)
        for row, vertex, rate, whole in zip(
            instance.rows.tolist(), instance.origins.tolist(), opened.tolist(), given.tolist(), strict=True
        ):
            asks[row, vertex] += rate / self.unit_bps
            fixed[row, vertex] += whole / self.unit_bps
        # A source that no link leaves must make the program infeasible, not vanish from it.
        balance: defaultdict[tuple[int, int], list[tuple[pulp.LpVariable, float]]] = defaultdict(list)
        for pair in asks:
            balance[pair] += []
        tails, heads = instance.tails.tolist(), instance.heads.tolist()
        for (row, link), flow in self._flows.items():
            balance[row, tails[link]].append((flow, 1.0))
            if heads[link] != instance.target_vertices[row]:
                balance[row, heads[link]].append((flow, -1.0))
        for (row, vertex), terms in balance.items():
            asked, whole = asks.get((row, vertex), 0.0), fixed.get((row, vertex), 0.0)
            if self.open_bps is None:
                whole += asked
            elif asked:
                terms = [*terms, (self.share, -asked)]
            expression = pulp.LpAffineExpression(terms)
            self.add(pulp.LpConstraint(expression, pulp.LpConstraintEQ, f"b{row}_{vertex}", whole))


def _mean(delays_s: Floats) -> float:
    return float(delays_s.mean()) or 1.0
