"""The peers: what a user would take instead, each in the formulation that suits it best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
import pulp
from scipy.optimize import linprog
from scipy.sparse import vstack

from benchmarks.solver.child import Reading, Run
from benchmarks.solver.instances import Recipe, fresh
from benchmarks.solver.matrix import MatrixProgram, aggregated
from benchmarks.solver.textbook import textbook
from solver.demand import Demand
from solver.routing import Objective
from topologies.fabric import Fabric


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer.

    Attributes
    ----------
    name, package : str
        As shown, and the distribution that brings it.
    module : str
        What must be importable for it.
    optimum : callable
        The optimal value of an objective on a fabric with demands.
    exact : bool
        Whether it goes on to the optimum.
    """

    name: str
    package: str
    module: str
    optimum: Callable[[Fabric, Sequence[Demand], Objective], float]
    exact: bool = True

    @property
    def here(self) -> bool:
        return find_spec(self.module) is not None


def _textbook_cbc(fabric: Fabric, demands: Sequence[Demand], objective: Objective) -> float:
    return textbook(fabric, demands, objective, pulp.PULP_CBC_CMD(msg=False))


def _textbook_highs(fabric: Fabric, demands: Sequence[Demand], objective: Objective) -> float:
    return textbook(fabric, demands, objective, pulp.HiGHS(msg=False))


def _simplex(fabric: Fabric, demands: Sequence[Demand], objective: Objective) -> float:
    return _linprog(aggregated(fabric, demands, objective), "highs-ds")


def _interior_point(fabric: Fabric, demands: Sequence[Demand], objective: Objective) -> float:
    return _linprog(aggregated(fabric, demands, objective), "highs-ipm")


def _glop(fabric: Fabric, demands: Sequence[Demand], objective: Objective) -> float:
    return _ortools(aggregated(fabric, demands, objective), "glop")


def _pdlp(fabric: Fabric, demands: Sequence[Demand], objective: Objective) -> float:
    return _ortools(aggregated(fabric, demands, objective), "pdlp")


def _linprog(program: MatrixProgram, method: Literal["highs-ds", "highs-ipm"]) -> float:
    found = linprog(
        program.costs, program.most, program.limits, program.equal, program.supply, bounds=(0, None), method=method
    )
    if found.status != 0:
        raise RuntimeError(f"linprog says {found.message}")
    return float(found.fun) * program.unit


def _ortools(program: MatrixProgram, solver: str) -> float:
    # An extra: only who measures it has it.
    from ortools.linear_solver.python.model_builder_helper import ModelBuilderHelper, ModelSolverHelper, SolveStatus

    columns = len(program.costs)
    model = ModelBuilderHelper()
    model.fill_model_from_sparse_data(
        np.zeros(columns), np.full(columns, np.inf), program.costs,
        np.concatenate([program.supply, np.full(len(program.limits), -np.inf)]),
        np.concatenate([program.supply, program.limits]),
        vstack([program.equal, program.most], format="csr"),
    )  # fmt: skip
    solving = ModelSolverHelper(solver)
    solving.solve(model)
    if solving.status() != SolveStatus.OPTIMAL:
        raise RuntimeError(f"{solver} says {solving.status().name}")
    return float(solving.objective_value()) * program.unit


SIMPLEX = Peer("SciPy linprog, simplex", "scipy", "scipy", _simplex)
TEXTBOOK = (
    Peer("PuLP textbook, CBC", "pulp", "pulp", _textbook_cbc),
    Peer("PuLP textbook, HiGHS", "pulp", "pulp", _textbook_highs),
)
MATRIX = (
    SIMPLEX,
    Peer("SciPy linprog, interior point", "scipy", "scipy", _interior_point),
    Peer("OR-Tools GLOP", "ortools", "ortools", _glop),
    Peer("OR-Tools PDLP", "ortools", "ortools", _pdlp, exact=False),
)


def absent() -> list[Peer]:
    """The peers that are not installed."""
    return [peer for peer in (*TEXTBOOK, *MATRIX) if not peer.here]


@dataclass(frozen=True, slots=True)
class PeerTask:
    """A peer on an instance, from fabric and demands in memory to the optimum."""

    peer: Peer
    recipe: Recipe
    objective: Objective

    def __call__(self) -> Run:
        fabric, demands = self.recipe.build()
        # Imports and first calls cost once; the smallest program that the peer can be asked.
        tiny = fabric_of_two(fabric)
        self.peer.optimum(*tiny, self.objective)

        def run() -> Reading:
            unseen = fresh(fabric)
            begun = time.perf_counter()
            value = self.peer.optimum(unseen, demands, self.objective)
            return Reading(time.perf_counter() - begun, self.peer.name, value)

        return run


def fabric_of_two(fabric: Fabric) -> tuple[Fabric, list[Demand]]:
    """Two nodes of a fabric with what joins them, and a demand."""
    link = next(link for link in fabric.links if not {link.source, link.target} & {host.id for host in fabric.hosts})
    ends = {link.source, link.target}
    between = tuple(each for each in fabric.links if {each.source, each.target} == ends)
    nodes = tuple(node for node in fabric.nodes if node.id in ends)
    rate_bps = (link.capacity_bps or 1.0) / 2
    return Fabric(nodes, between), [Demand(link.source, link.target, rate_bps)]
