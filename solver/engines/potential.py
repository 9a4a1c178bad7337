"""The largest share by a potential: linear programs' answer, to a gap, where no linear program fits.

Every destination keeps a few routings of its whole demand, its atoms, and a weight for each; the flow is
their mean. Links are priced by how full they are, exponentially. Under these prices a destination's
shortest-path tree is a new atom, and weight moves to it from the worst atom the destination has, as far as
the potential falls. The prices prove a bound, whatever found them, and get steeper as the two close in.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_array

from solver.engines.trees import Trees
from solver.errors import SolverError
from solver.instance import Answer, Floats, Instance, Ints, loads_of
from solver.polish import polished, without_cycles
from solver.watch import Watch

_BATCH = 16
"""Destinations that step together; 8 and 32 take longer on Kdl and on fat-trees."""
_ATOMS = 8
"""Routings that a destination remembers. Without memory GtsCe needs more than 15 s to 0.1 %, with it 0.1 s."""
_MEMORY_BYTES = 2**31
"""For the atoms; larger instances remember fewer."""
_FIRST_SHARPNESS = 20.0
_GROWTH = 1.3
_SOFT = 0.25
"""Part of the wanted gap that the potential's softness may take before it is sharpened no further."""
_FADE = 0.7
"""Of the older prices at each pass; the mean of prices often proves more than the last."""
_DEEPEST = -40.0
"""Smallest exponent of a price: beside the full links the others count by their hops."""
_PATIENCE = 300
"""Passes without a narrower gap before arithmetic is called the end."""
_SWEEPS = 8


def largest_share(
    instance: Instance, watch: Watch, *, gap: float = 0.01, seed: int = 0, enough: float = math.inf
) -> Answer:
    """Carry the largest common share of all demands, to a proven gap.

    Parameters
    ----------
    instance : Instance
        With demands; about 80 bytes are needed for each (destination, link).
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
      Problems", 2002, chapters 2 and 3; prices and bound: Garg and Könemann, "Faster and Simpler Algorithms
      for Multicommodity Flow", SIAM J. Comput. 37(2), 2007, section 5; one commodity after the other:
      Grigoriadis and Khachiyan, "Fast Approximation Schemes for Convex Programs with Many Blocks and
      Coupling Constraints", SIAM J. Optim. 4(1), 1994.
    - Weight moved from the worst atom to the best: Lacoste-Julien and Jaggi, "On the Global Linear
      Convergence of Frank-Wolfe Optimization Variants", NIPS 2015, section 2 (pairwise steps).
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
        self._sharpness = _FIRST_SHARPNESS
        self._faded = np.zeros(instance.links)
        self._passes = 0
        atoms = int(np.clip(_MEMORY_BYTES // (8 * instance.targets * instance.links), 2, _ATOMS))
        first = self._trees.flows(1 / instance.allowed_bps, np.arange(instance.targets))
        self._atoms = np.zeros((instance.targets, atoms, instance.links))
        self._atoms[:, 0] = first
        self._weights = np.zeros((instance.targets, atoms))
        self._weights[:, 0] = 1.0
        self._loads = first.sum(axis=0)
        self.share, self._best = 1 / self._fullest(), first
        self.bound, self._prices = math.inf, np.zeros(instance.links)
        self._prove(narrowest_star(instance))

    @property
    def gap(self) -> float:
        return 1 - self.share / self.bound

    def step(self, gap: float, watch: Watch) -> None:
        """Let every destination move once; then take stock."""
        self._passes += 1
        summed = np.zeros(self._instance.links)
        order = self._random.permutation(self._instance.targets)
        for start in range(0, len(order), _BATCH):
            if watch.expired():
                break
            prices = self._priced()
            summed += prices
            self._move(order[start : start + _BATCH], prices)
        self._loads = self._weights.ravel() @ self._atoms.reshape(-1, self._instance.links)
        fullest = self._fullest()
        if fullest * self.share < 1:
            self.share = 1 / fullest
            self._best = np.matmul(self._weights[:, None, :], self._atoms)[:, 0]
        prices = self._priced()
        bound = self._prove(prices)
        if summed.any():
            self._prove(summed / summed.sum())
        self._faded = _FADE * self._faded + prices + summed
        self._prove(self._faded / self._faded.sum())
        # The gap at these prices has two parts: what the potential blurs, and what the descent has yet to gain.
        blurred = 1 - float(prices @ self._loads) / fullest / float(prices @ self._instance.allowed_bps)
        if blurred > _SOFT * gap and 1 - 1 / (fullest * bound) < 2 * blurred:
            self._sharpness *= _GROWTH

    def answer(self) -> Answer:
        """The best routing, made exact, and the best prices."""
        instance = self._instance
        # Rings go first: beside their flow, what leads on to the destination may pass for dust.
        flow = polished(instance, without_cycles(instance, csr_array(self._best)))
        share = 1 / float((loads_of(flow) / instance.allowed_bps).max())
        return Answer(share * flow, share, self._prices, f"potential method, {self._passes} passes")

    def _fullest(self) -> float:
        return float((self._loads / self._instance.allowed_bps).max())

    def _priced(self) -> Floats:
        """The slope of the potential for each link, shape (links,), per bit/s; the fullest counts 1."""
        used = self._loads / self._instance.allowed_bps
        steep: Floats = np.exp(np.maximum(self._sharpness * (used / used.max() - 1), _DEEPEST))
        return steep / self._instance.allowed_bps

    def _prove(self, prices: Floats) -> float:
        """The bound that prices prove, which are kept if they are the best."""
        crossing = self._trees.crossing_demand(prices)
        bound = float(self._instance.allowed_bps @ prices) / crossing if crossing > 0 else math.inf
        if bound < self.bound:
            self.bound, self._prices = bound, prices / crossing
        return bound

    def _move(self, rows: Ints, prices: Floats) -> None:
        """Move weight of some destinations from the worst atom of each to its shortest-path tree."""
        instance = self._instance
        trees = self._trees.flows(prices, rows)
        costs = self._atoms[rows] @ prices
        costs[self._weights[rows] <= 0] = -1.0
        worst = costs.argmax(axis=1)
        change = trees - self._atoms[rows, worst]
        per_unit = self._sharpness / self._fullest() / instance.allowed_bps
        steep = prices * instance.allowed_bps
        scaled = change * per_unit
        moved = _quadratic_step(scaled @ steep, (scaled * steep) @ scaled.T, self._weights[rows, worst])
        together = moved @ change
        length = self._along(together)
        self._loads = self._loads + length * together
        self._remember(rows, worst, length * moved, trees)

    def _along(self, change: Floats) -> float:
        """How much of a change of the loads, up to all, lowers the potential furthest; by bisection."""
        allowed, fullest = self._instance.allowed_bps, self._fullest()
        base = self._sharpness * (self._loads / allowed / fullest - 1)
        slope = self._sharpness * change / allowed / fullest

        def rising(length: float) -> bool:
            # A step that would overflow rises for sure.
            return bool(slope @ np.exp(np.minimum(base + length * slope, 700.0)) > 0)

        if not rising(1.0):
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if rising(middle) else (middle, high)
        return low

    def _remember(self, rows: Ints, worst: Ints, moved: Floats, trees: Floats) -> None:
        """Give the new atoms their weight; where no place is free, the lightest atom melts into the first."""
        steps = np.flatnonzero(moved > 0)
        rows, moved, weights = rows[steps], moved[steps], self._weights
        weights[rows, worst[steps]] = np.maximum(weights[rows, worst[steps]] - moved, 0.0)
        place = 1 + weights[rows, 1:].argmin(axis=1)
        melted = weights[rows, place]
        total = melted + weights[rows, 0]
        full = np.flatnonzero(melted > 0)
        part = (melted[full] / total[full])[:, None]
        self._atoms[rows[full], 0] += part * (self._atoms[rows[full], place[full]] - self._atoms[rows[full], 0])
        weights[rows, 0] = total
        weights[rows, place] = moved
        self._atoms[rows, place] = trees[steps]


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


def _quadratic_step(slopes: Floats, curvature: Floats, limits: Floats) -> Floats:
    """Minimise ``slopes x + x curvature x / 2`` over ``0 <= x <= limits``, nearly: a few rounds of coordinates.

    Parameters
    ----------
    slopes, limits : array, shape (steps,)
    curvature : array, shape (steps, steps)
        Positive semidefinite.
    """
    step = np.zeros(len(slopes))
    slope = slopes.copy()
    own = np.diag(curvature)
    for _ in range(_SWEEPS):
        before = step.copy()
        for index in np.flatnonzero(own > 0).tolist():
            wanted = min(max(step[index] - slope[index] / own[index], 0.0), limits[index])
            slope += curvature[index] * (wanted - step[index])
            step[index] = wanted
        if np.abs(step - before).max() <= 1e-3 * np.abs(step).max():
            break
    return step
