"""Which engine answers a question, by its structure, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import numpy as np

from solver.backends import HIGHS
from solver.engines import potential
from solver.engines.aggregated import Aggregated
from solver.engines.growth import Mask, shortest_arcs
from solver.engines.paths import Tunnels
from solver.engines.reference import Reference
from solver.instance import Answer, Instance
from solver.permitted import permitted_paths
from solver.question import Question
from solver.routing import Objective
from solver.watch import Watch
from topologies.errors import InputError
from topologies.fabric import LinkId, NodeKind

_LARGE = 200_000
"""(destination, node) pairs from which a linear program takes minutes."""


class Engine(StrEnum):
    """What may compute a routing."""

    AUTO = "auto"
    PULP = "pulp"
    AGGREGATED = "aggregated"
    SYMMETRY = "symmetry"
    COLOURING = "colouring"
    POTENTIAL = "potential"
    PATHS = "paths"


class Method(Protocol):
    """An engine for demands that may split; ``None`` says that the demands do not fit."""

    def least_delay(self, instance: Instance, watch: Watch) -> Answer | None: ...

    def least_utilisation(self, instance: Instance, watch: Watch, floor: float = 0.0) -> Answer: ...

    def largest_share(self, instance: Instance, watch: Watch) -> Answer: ...

    def least_queueing(self, instance: Instance, watch: Watch) -> Answer | None: ...


@dataclass(frozen=True, slots=True)
class Pick:
    """The engine chosen, its name in results, and why."""

    method: Method
    name: str
    reason: str
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """The engine asked for, and for PuLP the solver: ``auto``, ``symmetry``, ``pulp:cbc``."""

    engine: Engine = Engine.AUTO
    solver: str = HIGHS

    @classmethod
    def parse(cls, text: str) -> EngineSpec:
        """Read ``ENGINE`` or ``pulp:SOLVER``.

        Raises
        ------
        InputError
            No such engine.
        """
        name, colon, solver = text.partition(":")
        if name not in set(Engine) or (colon and (name != Engine.PULP or not solver)):
            raise InputError(f"there is no engine {text!r}; take one of {', '.join(Engine)}, or pulp:SOLVER")
        return cls(Engine(name), solver or HIGHS)

    def __str__(self) -> str:
        return f"{self.engine}:{self.solver}" if self.engine is Engine.PULP else str(self.engine)


@dataclass(eq=False)
class Memory:
    """What a question leaves for the next one on the same fabric, or on one that lost or won something.

    Which links were worth having for each destination is remembered by name, and so survives changes.
    """

    used: dict[Objective, dict[str, tuple[frozenset[int], frozenset[LinkId]]]] = field(default_factory=dict)
    _tunnels: tuple[object, Tunnels] | None = None

    def tunnels(self, question: Question) -> Tunnels:
        """The candidate paths of a question, with the program that answered the last one over the same."""
        key = (question.fabric, question.allowed, [(demand.source, demand.target) for demand in question.demands])
        if self._tunnels is None or self._tunnels[0] != key:
            self._tunnels = (key, Tunnels(permitted_paths(question)))
        return self._tunnels[1]

    def keep(self, question: Question, method: Method) -> None:
        """Remember what an engine's answer used."""
        arcs = getattr(method, "arcs", None)
        if arcs is None:
            return
        ids = [question.fabric.link_ids[link] for link in question.trunk.links.tolist()]
        self.used[question.objective] = {
            name: (origins, frozenset(ids[link] for link in np.flatnonzero(row).tolist()))
            for name, origins, row in zip(_target_names(question), _origins(question), arcs, strict=True)
        }

    def recall(self, question: Question) -> Mask | None:
        """What the last answer used, in the numbers of this question, and shortest paths where that is not enough.

        It is enough for destinations whose links all live and whose sources are the same.
        """
        used = self.used.get(question.objective)
        if used is None:
            return None
        position = {question.fabric.link_ids[link]: at for at, link in enumerate(question.trunk.links.tolist())}
        trunk = question.trunk.instance
        arcs = np.zeros((trunk.targets, trunk.links), dtype=bool)
        changed = np.zeros(trunk.targets, dtype=bool)
        for row, (name, origins) in enumerate(zip(_target_names(question), _origins(question), strict=True)):
            before, links = used.get(name, (frozenset(), frozenset()))
            places = [position[link] for link in links if link in position]
            arcs[row, places] = True
            changed[row] = before != origins or len(places) < len(links)
        if changed.any():
            arcs[changed] |= shortest_arcs(trunk)[changed]
        return arcs


def _origins(question: Question) -> list[frozenset[int]]:
    """The vertices from which anything flows to each destination of the trunk."""
    trunk = question.trunk.instance
    origins: list[set[int]] = [set() for _ in range(trunk.targets)]
    for row, origin in zip(trunk.rows.tolist(), trunk.origins.tolist(), strict=True):
        origins[row].add(origin)
    return [frozenset(some) for some in origins]


def _target_names(question: Question) -> list[str]:
    """The node of each destination of the trunk."""
    trunk = question.trunk
    at = np.empty(trunk.instance.vertices, dtype=np.intp)
    goals = np.where(
        trunk.down >= 0, question.instance.tails[trunk.down], question.instance.target_vertices[question.instance.rows]
    )
    crossing = trunk.demand_of >= 0
    at[trunk.instance.target_vertices[trunk.instance.rows[trunk.demand_of[crossing]]]] = goals[crossing]
    nodes = question.fabric.nodes
    hosts = [number for number, node in enumerate(nodes) if node.kind is NodeKind.HOST]
    every = [*range(len(nodes)), *hosts]
    return [nodes[every[vertex]].id for vertex in at[trunk.instance.target_vertices].tolist()]


def pick(question: Question, spec: EngineSpec, memory: Memory | None) -> Pick:
    """Choose an engine for demands that may split.

    Raises
    ------
    InputError
        The engine asked for does not answer such questions.
    """
    forced = "asked for"
    if spec.engine is Engine.PULP:
        return Pick(Reference(spec.solver), str(spec), forced)
    if spec.engine in (Engine.COLOURING, Engine.PATHS):
        raise InputError(f"the engine {spec} answers other questions: colouring single paths, paths candidate paths")
    trunk = question.trunk.instance
    arcs = memory.recall(question) if memory is not None else None
    grown = Aggregated(question.groups, arcs)
    if spec.engine is Engine.AGGREGATED:
        return Pick(grown, str(spec), forced)
    scalable = question.objective in (Objective.MIN_MAX_UTILISATION, Objective.MAX_CONCURRENT_FLOW)
    pairs = trunk.targets * trunk.vertices
    if spec.engine is Engine.POTENTIAL or (scalable and pairs > _LARGE):
        if not scalable:
            raise InputError(f"the engine {spec} knows no {question.objective}; take auto or aggregated")
        why = (
            forced
            if spec.engine is Engine.POTENTIAL
            else f"{pairs} (destination, node) pairs are too many for a program"
        )
        return Pick(Potential(question.gap, question.seed), str(Engine.POTENTIAL), why, approximate=True)
    return Pick(grown, str(Engine.AGGREGATED), "no symmetry to use")


@dataclass(frozen=True, slots=True)
class Potential:
    """Engine ``potential``: a largest share to a gap, and the least utilisation as its reciprocal.

    Attributes
    ----------
    gap : float
    seed : int
    """

    gap: float
    seed: int

    def least_delay(self, instance: Instance, watch: Watch) -> Answer | None:
        raise InputError("the engine potential knows no min-delay; take auto or aggregated")

    def least_queueing(self, instance: Instance, watch: Watch) -> Answer | None:
        raise InputError("the engine potential knows no min-queueing-delay; take auto or aggregated")

    def least_utilisation(self, instance: Instance, watch: Watch, floor: float = 0.0) -> Answer:
        """The least maximum utilisation, to the gap; delay plays no part."""
        whole = replace(instance, allowed_bps=instance.capacities_bps)
        answer = self.largest_share(whole, watch)
        return replace(answer, flow_bps=(1 / answer.share) * answer.flow_bps, share=1.0)

    def largest_share(self, instance: Instance, watch: Watch) -> Answer:
        """The largest share of every demand, to the gap."""
        return potential.largest_share(instance, watch, gap=self.gap, seed=self.seed)
