"""Makes any routing better while time lasts: a few destinations re-balance at a time, and nothing gets worse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit

from solver.engines.atoms import Atoms, Potential
from solver.engines.potential import FIRST_SHARPNESS, GROWTH, Fullness, largest_share
from solver.engines.trees import Trees
from solver.errors import SolverError
from solver.instance import Floats, Flow, Instance, loads_of
from solver.polish import polished, without_cycles
from solver.queueing import QUEUEING_FROM, QUEUEING_SLOPES
from solver.watch import Watch

_FIT = 1e-9
"""A link that is over by no more than this part is not over."""
_FIRST_BLUR = 0.1
_LAST_BLUR = 1e-5
"""Part of the cost that barriers weigh at the first and at the last; corners are rounded by a tenth of it."""
_SOFTEST = 1e-4
"""Part of the fullest link by which the potential may differ from it before it is sharpened no further."""
_NARROWEST = 1e-6
"""Room, of what is allowed, from which a barrier rises no more: a link may be full at the start."""
_HOP = 1e-7
"""Weight of a hop beside the mean delay: among equal delays fewer hops win."""
_WIN = 1e-5
"""Part of the cost that a pass must win to count."""
_PATIENCE = 30
"""Passes without such a win, all as sharp as can be, before it is called the end."""
_START_GAP = 1e-3


@dataclass(frozen=True, eq=False)
class Cost:
    """What a routing costs: first its overload, then a sum over its links.

    Of two routings the one is better whose fullest link, load over what is allowed, is lower, as long as it is
    above ``level``; and among those at or below ``level`` the one with the lower
    ``sum_e per_bps_e capacity_e phi(load_e / capacity_e)``, where ``phi`` is 0 at 0 and rises with
    ``slopes[i]`` from utilisation ``starts[i]`` on.

    Attributes
    ----------
    level : float
        0 for the least maximum utilisation, where the sum never counts; 1 for capacities as limits.
    per_bps : array, shape (links,)
        Of each link's load at slope 1, not negative.
    slopes, starts : arrays, shape (segments,)
        Increasing, the first start 0.
    """

    level: float
    per_bps: Floats
    slopes: Floats
    starts: Floats

    @classmethod
    def utilisation(cls, instance: Instance) -> Cost:
        """The fullest link, as low as can be."""
        return cls(0.0, np.zeros(instance.links), np.ones(1), np.zeros(1))

    @classmethod
    def delay(cls, instance: Instance) -> Cost:
        """``sum_e delay_e load_e`` in bit, within what is allowed."""
        return cls(1.0, instance.delays_s, np.ones(1), np.zeros(1))

    @classmethod
    def queueing(cls, instance: Instance) -> Cost:
        """Fortz and Thorup's ``sum_e phi(load_e / capacity_e)``, within what is allowed."""
        return cls(1.0, 1 / instance.capacities_bps, QUEUEING_SLOPES, QUEUEING_FROM)

    def fullest(self, instance: Instance, loads_bps: Floats) -> float:
        """Load over what is allowed of the fullest link, or the level where that is higher."""
        return max(float((loads_bps / instance.allowed_bps).max(initial=0.0)), self.level * (1 + _FIT))

    def total(self, instance: Instance, loads_bps: Floats) -> float:
        """The sum over the links."""
        used = loads_bps / instance.capacities_bps
        rises = zip(np.diff(self.slopes, prepend=0.0), self.starts, strict=True)
        phi = sum((rise * np.maximum(used - start, 0.0) for rise, start in rises), np.zeros(instance.links))
        return float((self.per_bps * instance.capacities_bps) @ phi)

    def of(self, instance: Instance, loads_bps: Floats) -> tuple[float, float]:
        """What puts routings in order, the better first."""
        return self.fullest(instance, loads_bps), self.total(instance, loads_bps)


def improve(instance: Instance, flow: Flow, watch: Watch, cost: Cost, *, seed: int = 0) -> Flow:
    """Lower the cost of a routing until time is up or nothing improves.

    Parameters
    ----------
    instance : Instance
        About 160 bytes are needed for each (destination, link).
    flow : sparse array, shape (targets, links)
        All demands, bit/s; it may overload links.
    watch : Watch
        Told of the fullest link while that is above the cost's level, and of the sum afterwards.
    cost : Cost
        `Cost.utilisation`, `Cost.delay` or `Cost.queueing` of the instance, or another.
    seed : int
        Of the order in which destinations move.

    Returns
    -------
    sparse array, shape (targets, links)
        All demands, conserved and without rings, at no more than the cost of the flow given.

    Raises
    ------
    SolverError
        The flow does not lead every demand to its destination.

    References
    ----------
    - One at a time, never worse: sequential source-destination optimisation (SSDO); here all demands of a
      destination move together, and a smooth potential decides, since the fullest link alone leaves
      destinations stuck that could only improve it together.
    - The queueing cost: Fortz and Thorup, "Internet Traffic Engineering by Optimizing OSPF Weights", INFOCOM
      2000, section II. Barriers: Boyd and Vandenberghe, "Convex Optimization", 2004, section 11.2.
    """
    if not instance.targets:
        return flow
    exact = polished(instance, without_cycles(instance, flow))
    descent = _Descent(instance, cost, exact, seed)
    while not watch.expired() and not descent.done:
        descent.step(watch)
    if descent.best is exact:
        return exact
    better = polished(instance, without_cycles(instance, descent.best))
    return min((exact, better), key=lambda found: cost.of(instance, loads_of(found)))


def start(instance: Instance, watch: Watch, *, seed: int = 0) -> Flow:
    """Route all demands within what is allowed, if that is found quickly; else as little over as was found.

    Shortest paths by delay where they fit, otherwise the potential method until no link is over.

    Raises
    ------
    SolverError
        There are no demands, or one has no path.
    """
    if not instance.targets:
        raise SolverError("there are no demands to carry; name at least one")
    hop = _HOP * (float(instance.delays_s.mean()) or 1.0)
    shortest = Trees(instance).flows(instance.delays_s + hop, np.arange(instance.targets))
    if (shortest.sum(axis=0) <= instance.allowed_bps).all():
        return csr_array(shortest)
    answer = largest_share(instance, watch, gap=_START_GAP, seed=seed, enough=1.0)
    return (1 / answer.share) * answer.flow_bps


@dataclass(frozen=True, eq=False)
class _Rounded:
    """The sum of a cost with its corners rounded, and a barrier before every limit.

    Attributes
    ----------
    width : float
        Of a corner, in utilisation.
    barrier : float
        ``-barrier log(room_e / allowed_e)`` is added for each link.
    """

    instance: Instance
    cost: Cost
    width: float
    barrier: float

    def slopes(self, loads_bps: Floats) -> Floats:
        steep = np.full(len(loads_bps), self.cost.slopes[0])
        for rise, corner in self._corners(loads_bps):
            steep += rise * corner
        return np.asarray(self.cost.per_bps * steep + self.barrier / self._room(loads_bps))

    def curvatures(self, loads_bps: Floats) -> Floats:
        bent = np.zeros(len(loads_bps))
        for rise, corner in self._corners(loads_bps):
            bent += rise * corner * (1 - corner) / self.width
        bends = self.cost.per_bps / self.instance.capacities_bps * bent
        return np.asarray(bends + self.barrier / self._room(loads_bps) ** 2)

    def ceilings(self, loads_bps: Floats) -> Floats:
        return np.maximum(self.cost.level * self.instance.allowed_bps, loads_bps)

    def _corners(self, loads_bps: Floats) -> Iterator[tuple[float, Floats]]:
        """How much steeper each corner makes it, and how far each link is past it, from 0 to 1."""
        used = loads_bps / self.instance.capacities_bps
        for rise, start in zip(np.diff(self.cost.slopes), self.cost.starts[1:], strict=True):
            yield float(rise), expit((used - start) / self.width)

    def _room(self, loads_bps: Floats) -> Floats:
        allowed = self.cost.level * self.instance.allowed_bps
        return np.maximum(allowed - loads_bps, _NARROWEST * allowed)


class _Descent:
    """The state of one improvement.

    Attributes
    ----------
    best : sparse array, shape (targets, links)
    done : bool
        Nothing improves any more.
    """

    def __init__(self, instance: Instance, cost: Cost, flow: Flow, seed: int) -> None:
        self._instance = instance
        self._cost = cost
        self._random = np.random.default_rng(seed)
        self._trees = Trees(instance)
        self._atoms = Atoms(self._trees, flow.toarray())
        self._sharpness = FIRST_SHARPNESS
        self._blur = _FIRST_BLUR
        self._stale = 0
        self.best = flow
        self._fullest, self._total = cost.of(instance, self._atoms.loads_bps)

    @property
    def done(self) -> bool:
        nothing_to_sum = not self._over and self._total <= 0
        return nothing_to_sum or self._stale >= _PATIENCE

    @property
    def _over(self) -> bool:
        return self._fullest > self._cost.level * (1 + _FIT)

    def step(self, watch: Watch) -> None:
        """Let every destination move once; then take stock."""
        before = self._fullest, self._total
        over = self._over
        for rows in self._atoms.batches(self._random):
            if watch.expired():
                break
            self._atoms.move(rows, self._potential())
        self._atoms.settle()
        found = self._cost.of(self._instance, self._atoms.loads_bps)
        if found < before:
            (self._fullest, self._total), self.best = found, self._atoms.flow_bps()
        watch.tell("improvement", self._fullest if over else self._total)
        won = before[0] - self._fullest > _WIN * before[0] or (not over and before[1] - self._total > _WIN * before[1])
        sharpened = self._sharpen_fullness() if over else self._sharpen_sum()
        self._stale = 0 if won or sharpened else self._stale + 1

    def _potential(self) -> Potential:
        loads, links = self._atoms.loads_bps, self._instance.links
        if self._over:
            return Fullness.at(loads, self._instance.allowed_bps, self._sharpness)
        barrier = self._blur * self._total / links
        return _Rounded(self._instance, self._cost, self._blur / 10, barrier)

    def _sharpen_fullness(self) -> bool:
        """Once the descent has less to gain than the potential blurs; whether it did."""
        loads, allowed = self._atoms.loads_bps, self._instance.allowed_bps
        potential = Fullness.at(loads, allowed, self._sharpness)
        slopes = potential.slopes(loads)
        blurred = 1 - float(slopes @ loads) / float(slopes @ allowed) / potential.fullest
        if blurred <= _SOFTEST or self._to_gain(potential) > blurred:
            return False
        self._sharpness *= GROWTH
        return True

    def _sharpen_sum(self) -> bool:
        if self._blur <= _LAST_BLUR or self._to_gain(self._potential()) > self._blur:
            return False
        self._blur /= 2
        return True

    def _to_gain(self, potential: Potential) -> float:
        """Part of the priced load that shortest paths would save: what the descent has yet to gain at most."""
        slopes = potential.slopes(self._atoms.loads_bps)
        priced = float(slopes @ self._atoms.loads_bps)
        return 1 - self._trees.crossing_demand(slopes) / priced if priced > 0 else 0.0
