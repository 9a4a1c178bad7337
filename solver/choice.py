"""Which engine answers a question, by its structure, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import numpy as np

from solver import refinement
from solver.backends import HIGHS
from solver.engines import potential, symmetry
from solver.engines.aggregated import Aggregated
from solver.engines.growth import Mask, shortest_arcs
from solver.engines.paths import Tunnels
from solver.engines.reference import Reference
from solver.instance import Answer, Flow, Instance
from solver.permitted import permitted_paths
from solver.question import Question
from solver.routing import Objective
from solver.solution import Solution
from solver.watch import Watch
from topologies.errors import InputError
from topologies.fabric import LinkId, NodeKind

_SMALL = 5_000
"""(destination, link) pairs up to which a program over all of them is quicker than looking for symmetry."""
_MOST_KINDS = 100_000
"""Kinds of (destination, link) pairs from which a program over them is no longer quick."""
_LARGE = 150_000
"""(destination, link) pairs on shortest paths from which a linear program takes minutes."""


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

    def least_delay(self, instance: Instance, watch: Watch, /) -> Answer | None: ...

    def least_utilisation(self, instance: Instance, watch: Watch, floor: float = 0.0, /) -> Answer: ...

    def largest_share(self, instance: Instance, watch: Watch, /) -> Answer: ...

    def least_queueing(self, instance: Instance, watch: Watch, /) -> Answer | None: ...


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

    answers: dict[Objective, tuple[Question, Flow]] = field(default_factory=dict)
    _tunnels: tuple[object, Tunnels] | None = None

    def tunnels(self, question: Question) -> Tunnels:
        """The candidate paths of a question, with the program that answered the last one over the same."""
        key = (question.fabric, question.allowed, [(demand.source, demand.target) for demand in question.demands])
        if self._tunnels is None or self._tunnels[0] != key:
            self._tunnels = (key, Tunnels(permitted_paths(question)))
        return self._tunnels[1]

    def keep(self, question: Question, solution: Solution) -> None:
        """Remember an answer."""
        self.answers[question.objective] = (question, solution.flow_bps)

    def recall(self, question: Question) -> Mask | None:
        """What the last answer used, in the numbers of this question, and shortest paths where that is not enough.

        It is enough for destinations whose links all live and whose sources are the same.
        """
        if question.objective not in self.answers:
            return None
        before, flow = self.answers[question.objective]
        used = _used(before, flow)
        trunk = question.trunk.instance
        position = {question.fabric.link_ids[link]: at for at, link in enumerate(question.trunk.links.tolist())}
        arcs = np.zeros((trunk.targets, trunk.links), dtype=bool)
        changed = np.zeros(trunk.targets, dtype=bool)
        nothing: tuple[frozenset[str], frozenset[LinkId]] = (frozenset(), frozenset())
        for row, (name, origins) in enumerate(zip(*_ends(question), strict=True)):
            sources, links = used.get(name, nothing)
            places = [position[link] for link in links if link in position]
            arcs[row, places] = True
            changed[row] = sources != origins or len(places) < len(links)
        if changed.any():
            arcs[changed] |= shortest_arcs(trunk)[changed]
        return arcs


def _used(question: Question, flow: Flow) -> dict[str, tuple[frozenset[str], frozenset[LinkId]]]:
    """By the name of each destination of the trunk: where its traffic starts, and the links that it used."""
    trunk, ids = question.trunk, question.fabric.link_ids
    number = np.full(question.instance.links, -1, dtype=np.intp)
    number[trunk.links] = np.arange(len(trunk.links))
    entries = flow.tocoo()
    rows, links = trunk.row_of[entries.coords[0]], entries.coords[1]
    used: list[set[LinkId]] = [set() for _ in range(trunk.instance.targets)]
    for row, link in zip(rows.tolist(), links.tolist(), strict=True):
        if row >= 0 and number[link] >= 0:
            used[row].add(ids[link])
    names, origins = _ends(question)
    return {name: (source, frozenset(some)) for name, source, some in zip(names, origins, used, strict=True)}


def _ends(question: Question) -> tuple[list[str], list[frozenset[str]]]:
    """The node of each destination of the trunk, and those from which anything flows to it."""
    whole, trunk = question.instance, question.trunk
    nodes = question.fabric.nodes
    hosts = [number for number, node in enumerate(nodes) if node.kind is NodeKind.HOST]
    names = [*(node.id for node in nodes), *(nodes[host].id for host in hosts)]
    goals = np.where(trunk.down >= 0, whole.tails[trunk.down], whole.target_vertices[whole.rows])
    starts = np.where(trunk.up >= 0, whole.heads[trunk.up], whole.origins)
    found: list[str] = [""] * trunk.instance.targets
    origins: list[set[str]] = [set() for _ in found]
    for demand in np.flatnonzero(trunk.demand_of >= 0).tolist():
        row = int(trunk.instance.rows[trunk.demand_of[demand]])
        found[row] = names[int(goals[demand])]
        origins[row].add(names[int(starts[demand])])
    return found, [frozenset(some) for some in origins]


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
    if spec.engine is Engine.SYMMETRY:
        if question.objective is Objective.MIN_QUEUEING_DELAY:
            raise InputError(f"the engine {spec} knows no {question.objective}; take auto or aggregated")
        return Pick(Symmetric(refinement.classes(trunk)), str(spec), forced)
    auto = spec.engine is Engine.AUTO
    if auto and trunk.targets * trunk.links > _SMALL and question.objective is not Objective.MIN_QUEUEING_DELAY:
        colours = refinement.worthwhile(trunk, most_columns=_MOST_KINDS)
        if colours is not None:
            return Pick(Symmetric(colours), str(Engine.SYMMETRY), "many destinations and links are alike")
    scalable = question.objective in (Objective.MIN_MAX_UTILISATION, Objective.MAX_CONCURRENT_FLOW)
    pairs = int(np.count_nonzero(shortest_arcs(trunk))) if auto and trunk.targets * trunk.links > _LARGE else 0
    if spec.engine is Engine.POTENTIAL or (scalable and pairs > _LARGE):
        if not scalable:
            raise InputError(f"the engine {spec} knows no {question.objective}; take auto or aggregated")
        why = (
            forced
            if spec.engine is Engine.POTENTIAL
            else f"{pairs} (destination, link) pairs on shortest paths are too many for a program"
        )
        return Pick(Potential(question.gap, question.seed), str(Engine.POTENTIAL), why, approximate=True)
    return Pick(grown, str(Engine.AGGREGATED), "no symmetry to use")


@dataclass(frozen=True, slots=True, eq=False)
class Symmetric:
    """Engine ``symmetry``: programs over classes of (destination, link) pairs that nothing can tell apart.

    Attributes
    ----------
    colours : Refinement
        Of the instance that is asked about.
    """

    colours: refinement.Refinement

    def least_delay(self, instance: Instance, watch: Watch) -> Answer | None:
        """The least total delay within what is allowed, then the least utilisation."""
        return symmetry.least_delay(instance, self.colours, watch)

    def least_utilisation(self, instance: Instance, watch: Watch, floor: float = 0.0) -> Answer:
        """The least maximum utilisation, then the least total delay."""
        return symmetry.least_utilisation(instance, self.colours, watch, floor)

    def largest_share(self, instance: Instance, watch: Watch) -> Answer:
        """The largest share of every demand."""
        return symmetry.largest_share(instance, self.colours, watch)

    def least_queueing(self, _instance: Instance, _watch: Watch) -> Answer | None:
        raise InputError("the engine symmetry knows no min-queueing-delay; take auto or aggregated")


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

    def least_delay(self, _instance: Instance, _watch: Watch) -> Answer | None:
        raise InputError("the engine potential knows no min-delay; take auto or aggregated")

    def least_queueing(self, _instance: Instance, _watch: Watch) -> Answer | None:
        raise InputError("the engine potential knows no min-queueing-delay; take auto or aggregated")

    def least_utilisation(self, instance: Instance, watch: Watch, _floor: float = 0.0) -> Answer:
        """The least maximum utilisation, to the gap; delay plays no part."""
        whole = replace(instance, allowed_bps=instance.capacities_bps)
        answer = self.largest_share(whole, watch)
        return replace(answer, flow_bps=(1 / answer.share) * answer.flow_bps, share=1.0)

    def largest_share(self, instance: Instance, watch: Watch) -> Answer:
        """The largest share of every demand, to the gap."""
        return potential.largest_share(instance, watch, gap=self.gap, seed=self.seed)
