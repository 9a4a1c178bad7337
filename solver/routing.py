"""A routing: flows on links, the paths they decompose into, and the proof that they are good."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solver.demand import Demand
from topologies.fabric import Fabric, LinkId

Path: TypeAlias = tuple[LinkId, ...]
"""Consecutive directed links from a demand's source to its target, access links included."""


class Objective(StrEnum):
    """What a routing is best at."""

    MIN_DELAY = "min-delay"
    MIN_MAX_UTILISATION = "min-max-utilisation"
    MAX_CONCURRENT_FLOW = "max-concurrent-flow"
    MAX_MIN_FAIR = "max-min-fair"
    MIN_QUEUEING_DELAY = "min-queueing-delay"

    @property
    def may_carry_less(self) -> bool:
        """Whether what is carried is a result; the other objectives carry every demand whole."""
        return self in (Objective.MAX_CONCURRENT_FLOW, Objective.MAX_MIN_FAIR)

    @property
    def is_about_the_worst_link(self) -> bool:
        """Whether the utilisation of the worst link alone decides."""
        return self in (Objective.MIN_MAX_UTILISATION, Objective.MAX_CONCURRENT_FLOW)


class Status(StrEnum):
    """How good a routing is known to be."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"


@dataclass(frozen=True, slots=True)
class PathFlow:
    """A share of a demand on one path."""

    links: Path
    rate_bps: float


@dataclass(frozen=True, eq=False)
class PathFlows:
    """Paths of demands as arrays.

    Attributes
    ----------
    owners : array of int, shape (paths,)
        The demand that each path serves, ascending.
    starts : array of int, shape (paths + 1,)
        Where the links of each path begin in ``links``.
    links : array of int
        Positions in ``fabric.links``, in order from source to target.
    rates_bps : array of float, shape (paths,)
    """

    owners: NDArray[np.intp]
    starts: NDArray[np.intp]
    links: NDArray[np.intp]
    rates_bps: NDArray[np.float64]

    def of(self, path: int) -> NDArray[np.intp]:
        """The links of one path."""
        return self.links[self.starts[path] : self.starts[path + 1]]


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One step of max-min fairness: the demands that can get no more than this.

    Attributes
    ----------
    ratio, bound : float
        Carried over requested of these demands, and what the prices prove that they cannot exceed.
    prices : array of float, shape (links,)
        Prices of the cut that is full at this level.
    demands : array of int
        The demands that end at this level, and those whose cap does.
    """

    ratio: float
    bound: float
    prices: NDArray[np.float64]
    demands: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """The independent check of a routing, and the prices with which anybody can repeat it.

    Attributes
    ----------
    value, bound, gap : float
        Objective recomputed from the flows, bound recomputed from the prices, and
        ``|value - bound| / max(|value|, |bound|)`` (0 where both are 0). For max-min fairness the least
        ratio and its bound, and the largest gap of all levels.
    violation : float
        Largest violation of a capacity, relative to what that link may carry, or of conservation, relative to
        what that destination gets.
    prices : array of float, shape (links,)
        Dual price of each link, not negative; scaled as the objective's bound wants it.
    levels : tuple of Level
        Of max-min fairness, lowest first; empty for other objectives.
    """

    objective: Objective
    value: float
    bound: float
    gap: float
    violation: float
    prices: NDArray[np.float64]
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True)
class Seconds:
    """Where the time went."""

    build: float = 0.0
    solve: float = 0.0
    certify: float = 0.0

    @property
    def total(self) -> float:
        return self.build + self.solve + self.certify


@dataclass(frozen=True, eq=False)
class Routing:
    """Flows on links per destination, with their proof.

    Attributes
    ----------
    fabric : Fabric
    demands : tuple of Demand
    targets : tuple of str
        Destinations, the rows of `flow_bps`.
    flow_bps : sparse array, shape (targets, links)
        Flow towards each destination on each link of ``fabric.links``, bit/s.
    carried_bps : array, shape (demands,)
        What of each demand is carried, bit/s.
    path_flows : PathFlows or None
        The paths, where the method chose paths; `solver.decompose` finds some for any routing.
    max_utilisation_allowed : float
        The share of each capacity that the routing was allowed to use.
    certificate : Certificate or None
        None only for baselines, which optimise nothing.
    engine, reason : str
        What computed it, and why that was chosen.
    single_path : bool
        Whether one path for each demand was asked for.
    """

    fabric: Fabric
    demands: tuple[Demand, ...]
    targets: tuple[str, ...]
    flow_bps: csr_array[np.float64, tuple[int, int]]
    carried_bps: NDArray[np.float64]
    status: Status
    engine: str
    reason: str
    max_utilisation_allowed: float = 1.0
    path_flows: PathFlows | None = None
    certificate: Certificate | None = None
    seconds: Seconds = field(default_factory=Seconds)
    single_path: bool = False

    @cached_property
    def single_paths(self) -> tuple[Path, ...] | None:
        """The path of each demand, where the routing gives every demand exactly one."""
        paths = self.path_flows
        if paths is None or not np.array_equal(paths.owners, np.arange(len(self.demands))):
            return None
        ids, starts = self.fabric.link_ids, paths.starts.tolist()
        named = [ids[link] for link in paths.links.tolist()]
        return tuple(tuple(named[begin:end]) for begin, end in pairwise(starts))

    def loads_bps(self) -> NDArray[np.float64]:
        """Load on each link, shape (links,), bit/s."""
        return np.asarray(self.flow_bps.sum(axis=0), dtype=np.float64).ravel()

    def utilisations(self) -> NDArray[np.float64]:
        """Load over capacity of each link, shape (links,)."""
        return self.loads_bps() / self.fabric.capacities_bps

    def total_delay(self) -> float:
        """``sum_e d_e f_e`` in bit: what is in flight at any moment."""
        return float(self.loads_bps() @ self.fabric.delays_s)
