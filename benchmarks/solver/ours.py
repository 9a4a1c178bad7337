"""Heddle as it is measured: from a fabric and demands in memory to a routing with its proof."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.solver.child import Reading, Run
from benchmarks.solver.instances import AllToAll, Recipe, fresh, without_cable
from solver.demand import Demand
from solver.routing import Objective, Routing
from solver.solve import Session, proof_of, solve
from topologies.fat_tree import fat_tree


@dataclass(frozen=True, slots=True)
class Ours:
    """A solve from cold."""

    recipe: Recipe
    objective: Objective
    single_path: bool = False

    def __call__(self) -> Run:
        fabric, demands = self.recipe.build()
        warm_up(single_path=self.single_path)

        def run() -> Reading:
            unseen = fresh(fabric)
            begun = time.perf_counter()
            routing = solve(unseen, demands, self.objective, single_path=self.single_path)
            return reading(routing, time.perf_counter() - begun)

        return run


@dataclass(frozen=True, slots=True)
class AfterFailure:
    """A session's second solve, after a cable between two switches was lost; or the same from cold."""

    recipe: Recipe
    cable: tuple[str, str]
    warm: bool

    def __call__(self) -> Run:
        fabric, demands = self.recipe.build()
        after = without_cable(fabric, *self.cable)
        warm_up(single_path=True)

        def run() -> Reading:
            changed = fresh(after)
            session = Session(fresh(fabric) if self.warm else changed)
            if self.warm:
                session.solve(demands, Objective.MIN_MAX_UTILISATION, single_path=True)
            begun = time.perf_counter()
            session.change(changed)
            routing = session.solve(demands, Objective.MIN_MAX_UTILISATION, single_path=True)
            return reading(routing, time.perf_counter() - begun)

        return run


def warm_up(*, single_path: bool = False) -> None:
    """Do what costs once in a process: imports and each solver's first call."""
    fabric, demands = AllToAll(4).build()
    for objective in (Objective.MIN_DELAY, Objective.MIN_MAX_UTILISATION):
        solve(fabric, demands, objective)
    if single_path:
        tree = fat_tree(2, capacity_bps=1.0)
        solve(tree, [Demand("h1", "h2", 1.0)], Objective.MIN_MAX_UTILISATION, single_path=True)


def reading(routing: Routing, seconds: float) -> Reading:
    """What a routing says of itself."""
    proof = proof_of(routing)
    return Reading(seconds, routing.engine, proof.value, proof.bound, proof.gap)
