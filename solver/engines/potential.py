"""The largest share by a potential: linear programs' answer, to a gap, where no linear program fits.

Links are priced by how full they are, exponentially, and the flow descends the sum of it. Whatever found
them, the prices prove a bound; they get steeper as the flow and the bound close in on each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from solver.engines.atoms import Atoms
from solver.engines.trees import Trees
from solver.errors import SolverError
from solver.instance import Answer, Floats, Flow, Instance, loads_of
from solver.polish import polished, without_cycles
from solver.watch import Watch

FIRST_SHARPNESS = 20.0
GROWTH = 1.3
_SOFT = 0.25
"""Part of the wanted gap that the potential's softness may take before it is sharpened no further."""
_FADE = 0.7
"""Of the older prices at each pass; the mean of prices often proves more than the last."""
_DEEPEST = -40.0
"""Smallest exponent of a price: beside the full links the others count by their hops."""
_STEEPEST = 600.0
_PATIENCE = 300
"""Passes without a narrower gap before arithmetic is called the end."""


@dataclass(frozen=True, eq=False)
class Fullness:
    """``sum_e exp(sharpness (load_e / allowed_e / fullest - 1))``, up to a factor: the fuller, the steeper.

    Attributes
    ----------
    allowed_bps : array, shape (links,)
    sharpness : float
    fullest : float
        Load over what is allowed, where a link's exponent is 0.
    """

    allowed_bps: Floats
    sharpness: float
    fullest: float

    @classmethod
    def at(cls, loads_bps: Floats, allowed_bps: Floats, sharpness: float) -> Fullness:
        """Such that the fullest of these loads has the exponent 0."""
        return cls(allowed_bps, sharpness, float((loads_bps / allowed_bps).max()))

    def slopes(self, loads_bps: Floats) -> Floats:
        exponents = self.sharpness * (loads_bps / self.allowed_bps / self.fullest - 1)
        return np.asarray(np.exp(np.clip(exponents, _DEEPEST, _STEEPEST)) / self.allowed_bps)

    def curvatures(self, loads_bps: Floats) -> Floats:
        return self.slopes(loads_bps) * (self.sharpness / self.fullest) / self.allowed_bps

    def ceilings(self, loads_bps: Floats) -> Floats:
        return np.full(len(loads_bps), np.inf)


def largest_share(
    instance: Instance, watch: Watch, *, gap: float = 0.01, seed: int = 0, enough: float = math.inf
) -> Answer:
    """Carry the largest common share of all demands, to a proven gap.

    Parameters
    ----------
    instance : Instance
        With demands; about 160 bytes are needed for each (destination, link).
    watch : Watch
        When it expires, the best so far is the answer; that is shortest paths at the least.
    gap : float
        ``(bound - share) / bound`` that is good enough.
    seed : int
        Of the order in which destinations move.
    enough : float
        A share that is good enough whatever the gap.

    Returns
    -------
    Answer
        Flow that carries ``share`` of every demand and fills the fullest link to what is allowed, and the
        best prices seen: ``sum_e allowed_e y_e / sum_k r_k dist_y(k)`` bounds the share. The least maximum
        utilisation is its reciprocal, with the same prices.

    Raises
    ------
    SolverError
        There are no demands, or one has no path.

    References
    ----------
    - The potential: Bienstock, "Potential Function Methods for Approximately Solving Linear Programming
      Problems", 2002, chapters 2 and 3.
    - Prices and bound: Garg and Könemann, "Faster and Simpler Algorithms for Multicommodity Flow", SIAM J.
      Comput. 37(2), 2007, section 5.
    """
    if not instance.targets:
        raise SolverError("there are no demands to carry; name at least one")
    search = _Search(instance, seed)
    stale = 0
    while search.gap > gap and search.share < enough and stale < _PATIENCE and not watch.expired():
        narrowest = search.gap
        search.step(gap, watch)
        watch.tell("potential", search.share, search.bound)
        stale = 0 if search.gap < 0.99 * narrowest else stale + 1
    return search.answer()


class _Search:
    """The state of one search.

    Attributes
    ----------
    share, bound : float
        Of the best routing, and of the best prices.
    """

    def __init__(self, instance: Instance, seed: int) -> None:
        self._instance = instance
        self._trees = Trees(instance)
        self._random = np.random.default_rng(seed)
        self._sharpness = FIRST_SHARPNESS
        self._faded = np.zeros(instance.links)
        self._passes = 0
        first = self._trees.flows(1 / instance.allowed_bps, np.arange(instance.targets))
        self._atoms = Atoms(self._trees, first)
        self._best: Flow = self._atoms.flow_bps()
        self.share = 1 / self._potential().fullest
        self.bound, self._prices = math.inf, np.zeros(instance.links)
        self._prove(narrowest_star(instance))

    @property
    def gap(self) -> float:
        return 1 - self.share / self.bound

    def step(self, gap: float, watch: Watch) -> None:
        """Let every destination move once; then take stock."""
        self._passes += 1
        summed = np.zeros(self._instance.links)
        for rows in self._atoms.batches(self._random):
            if watch.expired():
                break
            potential = self._potential()
            summed += potential.slopes(self._atoms.loads_bps)
            self._atoms.move(rows, potential)
        self._atoms.settle()
        loads, potential = self._atoms.loads_bps, self._potential()
        if potential.fullest * self.share < 1:
            self.share, self._best = 1 / potential.fullest, self._atoms.flow_bps()
        prices = potential.slopes(loads)
        bound = self._prove(prices)
        self._faded = _FADE * self._faded + prices + summed
        for mean in (prices + summed, self._faded):
            self._prove(mean / mean.sum())
        # The gap at these prices has two parts: what the potential blurs, and what the descent has yet to gain.
        blurred = 1 - float(prices @ loads) / float(prices @ self._instance.allowed_bps) / potential.fullest
        if blurred > _SOFT * gap and 1 - 1 / (potential.fullest * bound) < 2 * blurred:
            self._sharpness *= GROWTH

    def answer(self) -> Answer:
        """The best routing, made exact, and the best prices."""
        # Rings go first: beside their flow, what leads on to the destination may pass for dust.
        flow = polished(self._instance, without_cycles(self._instance, self._best))
        share = 1 / float((loads_of(flow) / self._instance.allowed_bps).max())
        return Answer(share * flow, share, self._prices, f"potential method, {self._passes} passes")

    def _potential(self) -> Fullness:
        return Fullness.at(self._atoms.loads_bps, self._instance.allowed_bps, self._sharpness)

    def _prove(self, prices: Floats) -> float:
        """The bound that prices prove, which are kept if they are the best."""
        crossing = self._trees.crossing_demand(prices)
        bound = float(self._instance.allowed_bps @ prices) / crossing if crossing > 0 else math.inf
        if bound < self.bound:
            self.bound, self._prices = bound, prices / crossing
        return bound


def narrowest_star(instance: Instance) -> Floats:
    """Prices of 1 on the links into or out of the vertex whose demand is hardest on them, shape (links,).

    On wide-area networks a site's access links often bound the share, and these prices prove it.
    """
    ends = (
        (instance.tails, instance.origins),
        (instance.heads, instance.target_vertices[instance.rows]),
    )
    ratios: list[Floats] = []
    for at_links, at_demands in ends:
        wanted = np.bincount(at_demands, instance.rates_bps, instance.vertices)
        wide = np.bincount(at_links, instance.allowed_bps, instance.vertices)
        ratios.append(np.divide(wide, wanted, out=np.full(instance.vertices, np.inf), where=wanted > 0))
    side = int(ratios[1].min() < ratios[0].min())
    return np.asarray(ends[side][0] == ratios[side].argmin(), dtype=np.float64)
