"""Descent of a potential of the loads, a few destinations at a time, each of them a mean of whole routings.

Every destination keeps some routings of its whole demand, its atoms, and a weight for each; the flow is their
mean, so every state is a routing of all demands. A destination's shortest-path tree, under the slopes of the
potential, is a new atom, and weight moves to it from the worst atom that it has, as far as the potential falls.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.sparse import csr_array

from solver.engines.trees import Trees
from solver.instance import Floats, Flow, Ints

_BATCH = 16
"""Destinations that step together; 8 and 32 take longer on Kdl and on fat-trees."""
_ATOMS = 16
"""Routings that a destination remembers. Without memory GtsCe needs more than 15 s to 0.1 %, with it 0.1 s."""
_CORRECTIONS = 3
"""Moves among the remembered for each new tree. Without, Interoute takes 591 passes to 0.1 %; with them, 20."""
_MEMORY_BYTES = 2**31
"""For the atoms; larger instances remember fewer."""
_SWEEPS = 8
_BISECTIONS = 12


class Potential(Protocol):
    """A convex function of the loads, the sum of one of each link."""

    def slopes(self, loads_bps: Floats) -> Floats:
        """Per bit/s, shape (links,), above 0."""

    def curvatures(self, loads_bps: Floats) -> Floats:
        """Per (bit/s)², shape (links,), not negative."""

    def ceilings(self, loads_bps: Floats) -> Floats:
        """Loads that a step may lead to, at least those given, shape (links,), bit/s; infinite where any may be."""


class Atoms:
    """The routings that the destinations remember, and their weights.

    Parameters
    ----------
    trees : Trees
    first : array, shape (targets, links)
        Any flow that carries all demands, bit/s.

    Attributes
    ----------
    loads_bps : array, shape (links,)

    References
    ----------
    - One commodity after the other: Grigoriadis and Khachiyan, "Fast Approximation Schemes for Convex Programs
      with Many Blocks and Coupling Constraints", SIAM J. Optim. 4(1), 1994.
    - Weight from the worst atom to the best: Lacoste-Julien and Jaggi, "On the Global Linear Convergence of
      Frank-Wolfe Optimization Variants", NIPS 2015, section 2 (pairwise steps).
    """

    def __init__(self, trees: Trees, first: Floats) -> None:
        targets, links = first.shape
        count = int(np.clip(_MEMORY_BYTES // (8 * targets * links), 2, _ATOMS))
        self._trees = trees
        self._atoms = np.zeros((targets, count, links))
        self._atoms[:, 0] = first
        self._weights = np.zeros((targets, count))
        self._weights[:, 0] = 1.0
        self.loads_bps: Floats = first.sum(axis=0)

    def batches(self, random: np.random.Generator) -> list[Ints]:
        """All destinations in random order, those together that step together."""
        order = random.permutation(len(self._weights))
        return [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]

    def settle(self) -> None:
        """Take the rounding of many steps out of the loads."""
        self.loads_bps = self._weights.ravel() @ self._atoms.reshape(-1, self._atoms.shape[2])

    def flow_bps(self) -> Flow:
        """Shape (targets, links); there may be rings in it."""
        return csr_array(np.matmul(self._weights[:, None, :], self._atoms)[:, 0])

    def move(self, rows: Ints, potential: Potential) -> None:
        """Move weight of some destinations: to the shortest-path tree of each, then among what it remembers."""
        slopes = potential.slopes(self.loads_bps)
        trees = self._trees.flows(slopes, rows)
        worst = np.where(self._weights[rows] > 0, self._atoms[rows] @ slopes, -np.inf).argmax(axis=1)
        moved = self._shift(trees - self._atoms[rows, worst], self._weights[rows, worst], potential)
        self._remember(rows, worst, moved, trees)
        for _ in range(_CORRECTIONS):
            costs = self._atoms[rows] @ potential.slopes(self.loads_bps)
            worst = np.where(self._weights[rows] > 0, costs, -np.inf).argmax(axis=1)
            best = np.where(self._weights[rows] > 0, costs, np.inf).argmin(axis=1)
            change = self._atoms[rows, best] - self._atoms[rows, worst]
            moved = self._shift(change, self._weights[rows, worst], potential)
            self._weights[rows, worst] -= moved
            self._weights[rows, best] += moved

    def _shift(self, change: Floats, limits: Floats, potential: Potential) -> Floats:
        """Change the loads to where the potential is low.

        Parameters
        ----------
        change : array, shape (rows, links)
            What each destination may change, bit/s.
        limits : array, shape (rows,)
            How much of it at most.

        Returns
        -------
        array, shape (rows,)
            How much of it each does.
        """
        slopes, curvatures = potential.slopes(self.loads_bps), potential.curvatures(self.loads_bps)
        moved = _quadratic_step(change @ slopes, (change * curvatures) @ change.T, limits)
        if moved.any():
            moved *= self._length(moved @ change, potential)
            self.loads_bps = self.loads_bps + moved @ change
        return moved

    def _length(self, change: Floats, potential: Potential) -> float:
        """How much of a change of the loads, up to all, lowers the potential furthest; by bisection.

        Going beyond what the curvature proposes needs more passes on permutations and on Interoute.
        """
        loads = self.loads_bps
        up = change > 0
        room = (potential.ceilings(loads)[up] - loads[up]) / change[up]
        longest = min(1.0, float(room.min(initial=np.inf)))

        def rises(length: float) -> bool:
            return float(change @ potential.slopes(loads + length * change)) > 0

        if not rises(longest):
            return longest
        low, high = 0.0, longest
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if rises(middle) else (middle, high)
        return low

    def _remember(self, rows: Ints, worst: Ints, moved: Floats, trees: Floats) -> None:
        """Give the new atoms their weight; where no place is free, the lightest atom melts into the first."""
        steps = np.flatnonzero(moved > 0)
        rows, moved, weights = rows[steps], moved[steps], self._weights
        weights[rows, worst[steps]] -= moved
        place = 1 + weights[rows, 1:].argmin(axis=1)
        melted = weights[rows, place]
        total = melted + weights[rows, 0]
        full = np.flatnonzero(melted > 0)
        part = (melted[full] / total[full])[:, None]
        self._atoms[rows[full], 0] += part * (self._atoms[rows[full], place[full]] - self._atoms[rows[full], 0])
        weights[rows, 0] = total
        weights[rows, place] = moved
        self._atoms[rows, place] = trees[steps]


def _quadratic_step(slopes: Floats, curvature: Floats, limits: Floats) -> Floats:
    """Minimise ``slopes x + x curvature x / 2`` over ``0 <= x <= limits``, nearly: a few rounds of coordinates.

    Parameters
    ----------
    slopes, limits : array, shape (steps,)
    curvature : array, shape (steps, steps)
        Positive semidefinite.
    """
    own = np.diag(curvature)
    step = np.where((own <= 0) & (slopes < 0), limits, 0.0)
    slope = slopes.copy()
    for _ in range(_SWEEPS):
        before = step.copy()
        for index in np.flatnonzero(own > 0).tolist():
            wanted = min(max(step[index] - slope[index] / own[index], 0.0), limits[index])
            slope += curvature[index] * (wanted - step[index])
            step[index] = wanted
        if np.abs(step - before).max() <= 1e-3 * np.abs(step).max():
            break
    return step
