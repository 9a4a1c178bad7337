"""One path for each demand so that the worst link carries as little as possible.

Choosing is NP-hard in general, and so are the ties: a tabu search over conflicting demands does it in
milliseconds on fabrics; where it stays above a proven bound and the problem is small, a mixed-integer
program decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pulp
from numpy.typing import NDArray

from solver.backends import Backend, run
from solver.candidates import Links
from solver.errors import SolverError
from solver.network import Floats, Ints

_MARGIN = 1e-6
_EXACT_UP_TO = 4_000
"""Candidate paths up to which the mixed-integer program is tried."""
_EXACT_LIMIT_S = 20.0
_STEPS_PER_DEMAND, _MOST_STEPS = 60, 6_000


@dataclass(frozen=True)
class Choice:
    """The chosen candidate of each demand, and the utilisation of the worst link that follows."""

    paths: tuple[Links, ...]
    worst: float
    method: str


def integral_bound(fractional: float, rates_bps: Floats, capacities_bps: Floats) -> float:
    """The least worst utilisation that whole demands can reach, given what fractional ones reach.

    Equal demands load a link of capacity c by multiples of r/c only.
    """
    rate = float(rates_bps[0])
    if not np.allclose(rates_bps, rate, rtol=1e-12):
        return fractional
    whole = np.ceil(fractional * capacities_bps / rate * (1 - _MARGIN))
    return max(fractional, float((whole * rate / capacities_bps).min()))


def choose(
    candidates: Sequence[Sequence[Links]],
    rates_bps: Floats,
    capacities_bps: Floats,
    bound: float,
    *,
    backend: Backend,
    seed: int,
) -> Choice:
    """Choose one candidate per demand.

    Parameters
    ----------
    candidates : per demand, at least one path as link indices
    rates_bps : array, shape (demands,)
    capacities_bps : array, shape (links,)
    bound : float
        Worst utilisation below which nothing can come; reaching it ends the search.

    Notes
    -----
    Tabu search as for graph colouring (Hertz and de Werra, 1987): a demand on an overfull link moves
    to the path with the least excess, and may not move back for a while. The last step evens out the
    loads below the worst one, so that ties are spread and not stacked.
    """
    search = _Search(candidates, rates_bps, capacities_bps, np.random.default_rng(seed))
    search.fill_greedily()
    search.repair(bound)
    method = "tabu search"
    if search.worst() > bound * (1 + _MARGIN) and len(search.owner) <= _EXACT_UP_TO:
        exact = _exact(search, bound, backend, seed)
        if exact is not None:
            search.take_if_better(exact)
            method = f"mixed-integer program ({backend})"
    search.spread()
    return Choice(tuple(search.chosen_paths()), search.worst(), method)


class _Search:
    """A choice under way: loads follow every move.

    ``links`` holds the candidates of all demands, padded with a dummy link without load.
    """

    def __init__(
        self,
        candidates: Sequence[Sequence[Links]],
        rates_bps: Floats,
        capacities_bps: Floats,
        random: np.random.Generator,
    ) -> None:
        self._random = random
        self._paths = [path for paths in candidates for path in paths]
        self.owner: Ints = np.repeat(np.arange(len(candidates)), [len(paths) for paths in candidates])
        self.first: Ints = np.concatenate([[0], np.cumsum([len(paths) for paths in candidates])])
        dummy = len(capacities_bps)
        longest = max(len(path) for path in self._paths)
        self.links = np.full((len(self._paths), longest), dummy, dtype=np.intp)
        for row, path in zip(self.links, self._paths, strict=True):
            row[: len(path)] = path
        padded = np.append(capacities_bps, np.inf)
        self.adds: Floats = rates_bps[self.owner][:, None] / padded[self.links]
        self.loads: Floats = np.zeros(dummy + 1)
        self.chosen: Ints = np.full(len(candidates), -1, dtype=np.intp)

    def worst(self) -> float:
        return float(self.loads.max())

    def chosen_paths(self) -> list[Links]:
        return [self._paths[index] for index in self.chosen.tolist()]

    def fill_greedily(self) -> None:
        """Each demand in random order takes the path whose links are least loaded."""
        for demand in self._random.permutation(len(self.chosen)).tolist():
            options = np.arange(self.first[demand], self.first[demand + 1])
            after = self.loads[self.links[options]] + self.adds[options]
            cost = after.max(axis=1) + 1e-3 * (after**2).sum(axis=1) + 1e-9 * self._random.random(len(options))
            self._move(demand, int(options[np.argmin(cost)]))

    def repair(self, bound: float) -> None:
        """Move demands off links above the bound until none is, or the steps are used up; keep the best."""
        limit = bound * (1 + _MARGIN)
        best, best_worst = self.chosen.copy(), self.worst()
        tabu_until = np.zeros(len(self._paths), dtype=np.intp)
        for step in range(min(_MOST_STEPS, 200 + _STEPS_PER_DEMAND * len(self.chosen))):
            if best_worst <= limit:
                break
            hit = np.asarray((self.loads[self.links[self.chosen]] > limit).any(axis=1), dtype=np.bool_)
            moves = np.flatnonzero(hit[self.owner] & (np.arange(len(self.owner)) != self.chosen[self.owner]))
            if not len(moves):
                break
            cost = self._cost_of(moves, lambda load: np.maximum(load - limit, 0.0) + 1e-3 * load**2)
            cost += 1e-9 * self._random.random(len(moves))
            cost[tabu_until[moves] > step] += 1e6
            move = int(moves[np.argmin(cost)])
            demand = int(self.owner[move])
            tabu_until[self.chosen[demand]] = step + 3 + int(0.6 * hit.sum()) + int(self._random.integers(8))
            self._move(demand, move)
            if self.worst() < best_worst * (1 - _MARGIN):
                best, best_worst = self.chosen.copy(), self.worst()
        self._restore(best)

    def spread(self) -> None:
        """Even out the squares of the loads, one move at a time, without raising the worst link."""
        ceiling = self.worst() * (1 + 1e-12)
        for _ in range(2 * len(self.chosen)):
            moves = np.flatnonzero(np.arange(len(self.owner)) != self.chosen[self.owner])
            if not len(moves):
                return
            cost = self._cost_of(moves, lambda load: load**2 + 1e6 * (load > ceiling))
            best = int(np.argmin(cost))
            if cost[best] > -1e-9:
                return
            self._move(int(self.owner[moves[best]]), int(moves[best]))

    def take_if_better(self, chosen: Ints) -> None:
        """Adopt another choice if its worst link is better."""
        before, worst = self.chosen.copy(), self.worst()
        self._restore(chosen)
        if self.worst() >= worst:
            self._restore(before)

    def _cost_of(self, moves: Ints, penalty: Callable[[Floats], Floats]) -> Floats:
        """Change of a penalty, summed over links, for each candidate that its demand might move to."""
        now = self.chosen[self.owner[moves]]
        here, there = self.links[now], self.links[moves]
        shared_here = (here[:, :, None] == there[:, None, :]).any(axis=2)
        shared_there = (there[:, :, None] == here[:, None, :]).any(axis=2)
        left, entered = self.loads[here], self.loads[there]
        gain = np.where(shared_here, 0.0, penalty(left - self.adds[now]) - penalty(left))
        loss = np.where(shared_there, 0.0, penalty(entered + self.adds[moves]) - penalty(entered))
        total: Floats = gain.sum(axis=1) + loss.sum(axis=1)
        return total

    def _move(self, demand: int, candidate: int) -> None:
        old = int(self.chosen[demand])
        if old >= 0:
            self.loads[self.links[old]] -= self.adds[old]
        self.loads[self.links[candidate]] += self.adds[candidate]
        self.chosen[demand] = candidate

    def _restore(self, chosen: Ints) -> None:
        self.loads[:] = 0.0
        np.add.at(self.loads, self.links[chosen], self.adds[chosen])
        self.chosen = chosen.copy()


def _exact(search: _Search, bound: float, backend: Backend, seed: int) -> NDArray[np.intp] | None:
    """The mixed-integer program over all candidates; None where it ends without a choice."""
    program = pulp.LpProblem("single_paths", pulp.LpMinimize)
    worst = pulp.LpVariable("worst", bound)
    takes = [pulp.LpVariable(f"x{index}", cat=pulp.LpBinary) for index in range(len(search.owner))]
    program.setObjective(1.0 * worst)
    for demand in range(len(search.chosen)):
        one = [(takes[index], 1.0) for index in range(search.first[demand], search.first[demand + 1])]
        program.addConstraint(pulp.LpConstraint(pulp.LpAffineExpression(one), pulp.LpConstraintEQ, f"d{demand}", 1))
    terms: dict[int, list[tuple[pulp.LpVariable, float]]] = {}
    for index, (links, adds) in enumerate(zip(search.links.tolist(), search.adds.tolist(), strict=True)):
        for link, add in zip(links, adds, strict=True):
            if add > 0:
                terms.setdefault(link, []).append((takes[index], add))
    for link, entries in terms.items():
        load = pulp.LpAffineExpression([*entries, (worst, -1.0)])
        program.addConstraint(pulp.LpConstraint(load, pulp.LpConstraintLE, f"c{link}", 0))
    try:
        outcome = run(program, backend, _EXACT_LIMIT_S, seed=seed)
    except SolverError:
        return None
    if outcome == pulp.LpSolutionInfeasible:
        return None
    values = np.array([take.value() or 0.0 for take in takes])
    bounds = zip(search.first[:-1].tolist(), search.first[1:].tolist(), strict=True)
    return np.array([begin + int(np.argmax(values[begin:end])) for begin, end in bounds], dtype=np.intp)
