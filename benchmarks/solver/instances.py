"""The networks and demands that are solved: recipes that travel to a child and are built there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from solver.demand import Demand
from solver.files import read_demands
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree
from topologies.files import read_fabric

LINE_RATE_BPS = 1e11
SPARE = 0.9
"""How full all-to-all makes the uplinks of a leaf that has lost one of them."""

Problem: TypeAlias = tuple[Fabric, Sequence[Demand]]


class Recipe(Protocol):
    """Builds a network and its demands."""

    def build(self) -> Problem: ...


class State(StrEnum):
    """What is wrong with the cable between the first edge and the first aggregation switch."""

    HEALTHY = "healthy"
    DEGRADED = "one cable degraded"
    FAILED = "one cable failed"


@dataclass(frozen=True, slots=True)
class AllToAll:
    """A k-ary fat-tree where every edge switch sends to every other, at one rate.

    While all is healthy every uplink of an edge switch is full, so that least delay must mind capacity; with a
    cable degraded or failed there is as much traffic as one uplink less leaves room for.

    Attributes
    ----------
    k : int
    state : State
        A degraded cable has half its capacity.
    """

    k: int
    state: State = State.HEALTHY

    def build(self) -> Problem:
        fabric = fat_tree(self.k, capacity_bps=LINE_RATE_BPS)
        leaves = [node.id for node in fabric.nodes if node.tier == 1]
        uplinks = self.k / 2 if self.state is State.HEALTHY else SPARE * (self.k / 2 - 1)
        rate_bps = uplinks * LINE_RATE_BPS / (len(leaves) - 1)
        demands = [Demand(a, b, rate_bps) for a in leaves for b in leaves if a != b]
        if self.state is State.FAILED:
            fabric = without_cable(fabric, "e0-0", "a0-0")
        elif self.state is State.DEGRADED:
            fabric = _halved(fabric, "e0-0", "a0-0")
        return fabric, demands


@dataclass(frozen=True, slots=True)
class LeafSpine:
    """Two tiers of full bisection: every leaf has a link to every spine, and as many hosts."""

    leaves: int
    spines: int

    @property
    def name(self) -> str:
        return f"leaf–spine {self.leaves}×{self.spines}"

    def build(self) -> Fabric:
        leaves = [f"l{number}" for number in range(self.leaves)]
        spines = [f"s{number}" for number in range(self.spines)]
        nodes = [Node(name, NodeKind.SWITCH, tier=2) for name in spines]
        links: list[Link] = []
        for number, leaf in enumerate(leaves):
            nodes.append(Node(leaf, NodeKind.SWITCH, tier=1, pod=number))
            for up, spine in enumerate(spines):
                links += _cable(leaf, 1 + up, spine, 1 + number)
                nodes.append(Node(f"h{number}-{up}", NodeKind.HOST, tier=0, pod=number))
                links += _cable(f"h{number}-{up}", 1, leaf, 1 + self.spines + up)
        return Fabric(tuple(nodes), tuple(links))


@dataclass(frozen=True, slots=True)
class FatTree:
    """A k-ary fat-tree."""

    k: int

    @property
    def name(self) -> str:
        return f"fat-tree k={self.k}"

    def build(self) -> Fabric:
        return fat_tree(self.k, capacity_bps=LINE_RATE_BPS)


@dataclass(frozen=True, slots=True)
class Rings:
    """All hosts of a network, in random order, each sending to the next of its ring at line rate.

    Attributes
    ----------
    network : LeafSpine or FatTree
    rings : int
        Of equal size.
    failed : float
        Share of the cables between switches that are gone, drawn at random.
    seed : int
        Of the order and of the failures.
    """

    network: LeafSpine | FatTree
    rings: int = 1
    failed: float = 0.0
    seed: int = 0

    def build(self) -> Problem:
        fabric = self.network.build()
        random = np.random.default_rng(self.seed)
        order = random.permutation([host.id for host in fabric.hosts]).reshape(self.rings, -1)
        following = np.roll(order, -1, axis=1)
        demands = [
            Demand(source, target, LINE_RATE_BPS)
            for source, target in zip(order.ravel().tolist(), following.ravel().tolist(), strict=True)
        ]
        if self.failed:
            fabric = _thinned(fabric, self.failed, random)
        return fabric, demands


@dataclass(frozen=True, slots=True)
class Repetita:
    """A network of the REPETITA collection with its demands."""

    folder: Path
    name: str

    def build(self) -> Problem:
        fabric = read_fabric(self.folder / f"{self.name}.graph")
        return fabric, read_demands(self.folder / f"{self.name}.0000.demands", fabric)


@dataclass(frozen=True, slots=True)
class AllPairs:
    """Every node of a network from a file sends 1 to every other."""

    path: Path

    def build(self) -> Problem:
        fabric = read_fabric(self.path)
        names = [node.id for node in fabric.nodes]
        return fabric, [Demand(a, b, 1.0) for a in names for b in names if a != b]


def fresh(fabric: Fabric) -> Fabric:
    """The same fabric without what it remembers, as if it had just been discovered."""
    return Fabric(fabric.nodes, fabric.links, fabric.version)


def without_cable(fabric: Fabric, a: str, b: str) -> Fabric:
    """The fabric without the links between two nodes."""
    return fabric.without_links(link.id for link in fabric.links if {link.source, link.target} == {a, b})


def _halved(fabric: Fabric, a: str, b: str) -> Fabric:
    links = (
        replace(link, capacity_bps=LINE_RATE_BPS / 2) if {link.source, link.target} == {a, b} else link
        for link in fabric.links
    )
    return Fabric(fabric.nodes, tuple(links))


def _thinned(fabric: Fabric, share: float, random: np.random.Generator) -> Fabric:
    hosts = {host.id for host in fabric.hosts}
    # Of the two directions of a cable the first stands for both.
    cables = [
        link for link in fabric.links if not {link.source, link.target} & hosts and link.id < link.reverse_id
    ]  # fmt: skip
    lost = random.choice(len(cables), size=round(share * len(cables)), replace=False).tolist()
    return fabric.without_links(end for number in lost for end in (cables[number].id, cables[number].reverse_id))


def _cable(a: str, a_port: int, b: str, b_port: int) -> tuple[Link, Link]:
    return (
        Link(a, a_port, b, b_port, LINE_RATE_BPS, 1e-6),
        Link(b, b_port, a, a_port, LINE_RATE_BPS, 1e-6),
    )
