"""A question to the solver, checked and numbered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from solver.demand import Demand
from solver.distance import Allowed
from solver.errors import Infeasible
from solver.instance import Floats, Instance, build
from solver.routing import Objective
from solver.trunk import Trunk, reduce
from solver.watch import Watch
from topologies.errors import InputError
from topologies.fabric import Fabric


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked.

    Attributes
    ----------
    demands : tuple of Demand
    instance : Instance
        With the rates that are to be carried: what is requested, or the cap where that is less.
    caps_bps : array, shape (demands,)
        The most that each demand may get; infinite where nothing limits it.
    max_utilisation : float
    allowed : Allowed or None
        The paths that may be taken; None for all.
    gap : float
        With which an approximate engine may stop.
    """

    fabric: Fabric
    demands: tuple[Demand, ...]
    objective: Objective
    instance: Instance
    caps_bps: Floats
    max_utilisation: float
    allowed: Allowed | None
    gap: float
    seed: int
    watch: Watch

    @cached_property
    def trunk(self) -> Trunk:
        return reduce(self.instance)

    @cached_property
    def groups(self) -> list[NDArray[np.bool_]]:
        """The switches of each pod, as sets of the trunk's vertices."""
        pods: dict[int, list[int]] = {}
        for number, node in enumerate(self.fabric.nodes):
            if node.pod is not None:
                pods.setdefault(node.pod, []).append(number)
        trunk = self.trunk
        at = np.full(self.instance.vertices, -1, dtype=np.intp)
        for side in ("tails", "heads"):
            at[getattr(self.instance, side)[trunk.links]] = getattr(trunk.instance, side)
        groups = []
        for members in pods.values():
            inside = np.zeros(trunk.instance.vertices, dtype=bool)
            inside[at[members][at[members] >= 0]] = True
            if inside.any():
                groups.append(inside)
        return groups

    def refuse_unreachable(self) -> None:
        """Raise `Infeasible` with an empty cut where a demand has no path at all."""
        trunk = self.trunk.instance
        away = trunk.distances(np.ones(trunk.links))[trunk.rows, trunk.origins]
        lost = np.flatnonzero(~np.isfinite(away))
        if len(lost):
            number = int(np.flatnonzero(np.isin(self.trunk.demand_of, lost))[0])
            demand = self.demands[number]
            raise Infeasible((), 0.0, demand.rate_bps, pair=(demand.source, demand.target))


def ask(
    fabric: Fabric,
    demands: Sequence[Demand],
    objective: Objective,
    *,
    max_utilisation: float,
    allowed: Allowed | None,
    gap: float,
    seed: int,
    watch: Watch,
) -> Question:
    """Check a question and number it.

    Raises
    ------
    InputError
        No demands, an unknown node, a link without capacity, or without delay where delay is the objective.
    """
    if not demands:
        raise InputError("there are no demands to route; give at least one")
    if not 0 < max_utilisation <= 1:
        raise InputError(f"max_utilisation is {max_utilisation}; it must be above 0 and at most 1")
    if not 0 < gap < 1:
        raise InputError(f"gap is {gap}; it must be above 0 and below 1")
    if objective is Objective.MIN_DELAY:
        # Raises where one is missing; elsewhere hops decide among equals.
        _ = fabric.delays_s
    instance = build(fabric, demands, max_utilisation)
    requested = instance.rates_bps
    given = [demand.cap_bps for demand in demands]
    if objective is Objective.MAX_MIN_FAIR:
        caps = np.array([rate if cap is None else cap for rate, cap in zip(requested.tolist(), given, strict=True)])
    else:
        caps = np.array([np.inf if cap is None else cap for cap in given], dtype=np.float64)
    if not objective.may_carry_less:
        instance = replace(instance, rates_bps=np.minimum(requested, caps))
    return Question(fabric, tuple(demands), objective, instance, caps, max_utilisation, allowed, gap, seed, watch)
