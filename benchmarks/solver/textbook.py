"""The linear program of the textbook, in PuLP: one variable for each commodity and link."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pulp

from benchmarks.solver.matrix import used_links
from solver.demand import Demand
from solver.routing import Objective
from topologies.fabric import Fabric


def textbook(fabric: Fabric, demands: Sequence[Demand], objective: Objective, solver: pulp.LpSolver) -> float:
    """Build and solve it, and return the optimum.

    Raises
    ------
    RuntimeError
        The solver says something else than optimal.
    """
    links = used_links(fabric, demands)
    leaving, arriving = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for number, link in enumerate(links):
        leaving[link.source].append(number)
        arriving[link.target].append(number)
    unit_bps = max(demand.rate_bps for demand in demands)
    model = pulp.LpProblem("multicommodity", pulp.LpMinimize)
    flow = pulp.LpVariable.dicts("f", (range(len(demands)), range(len(links))), 0)
    for number, demand in enumerate(demands):
        for node in leaving.keys() | arriving.keys():
            offered = (node == demand.source) - (node == demand.target)
            out = [(flow[number][link], 1) for link in leaving[node]]
            into = [(flow[number][link], -1) for link in arriving[node]]
            model += pulp.LpAffineExpression(out + into) == offered * demand.rate_bps / unit_bps
    worst = pulp.LpVariable("worst", 0)
    for number, link in enumerate(links):
        load = pulp.lpSum(flow[demand][number] for demand in range(len(demands)))
        capacity = (link.capacity_bps or 0.0) / unit_bps
        model += load <= (capacity * worst if objective is Objective.MIN_MAX_UTILISATION else capacity)
    if objective is Objective.MIN_MAX_UTILISATION:
        unit = 1.0
        model += worst
    else:
        delays_s = [link.delay_s or 0.0 for link in links]
        mean_s = sum(delays_s) / len(delays_s)
        unit = unit_bps * mean_s
        model += pulp.LpAffineExpression(
            (flow[demand][link], delays_s[link] / mean_s)
            for demand in range(len(demands))
            for link in range(len(links))
        )
    model.solve(solver)
    if model.sol_status != pulp.LpSolutionOptimal:
        raise RuntimeError(f"{solver.name} says {pulp.LpSolution[model.sol_status]}")
    return float(pulp.value(model.objective)) * unit
