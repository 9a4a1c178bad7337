"""One path for each demand out of candidates: no link too full, then as cheap as can be.

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

from solver.backends import run
from solver.candidates import Links
from solver.errors import SolverError
from solver.instance import Floats, Ints
from solver.queueing import QUEUEING_FROM, QUEUEING_SLOPES

_MARGIN = 1e-6
_EXACT_UP_TO = 4_000
"""Candidate paths up to which the mixed-integer program is tried."""
_EXACT_LIMIT_S = 5.0
_STEPS_PER_DEMAND, _MOST_STEPS = 60, 6_000
_NEVER = 1e6
"""Cost of what must not be, beside costs near 1."""


@dataclass(frozen=True)
class Choice:
    """The chosen candidate of each demand, and the utilisation of the worst link that follows."""

    paths: tuple[Links, ...]
    worst: float
    method: str


@dataclass(frozen=True, eq=False)
class Cost:
    """What a choice is to cost as little as possible of, once no link is too full.

    Attributes
    ----------
    per_bps : array, shape (links,)
        Cost of each bit/s on each link.
    queueing : bool
        Whether the piecewise linear queueing cost is added for each link.
    goal : float
        What no choice can better.
    """

    per_bps: Floats
    queueing: bool
    goal: float


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
    cost: Cost | None = None,
    backend: str,
    seed: int,
) -> Choice:
    """Choose one candidate per demand.

    Parameters
    ----------
    candidates : per demand, at least one path as link indices
    rates_bps : array, shape (demands,)
    capacities_bps : array, shape (links,)
    bound : float
        Worst utilisation below which nothing can come, or need not; reaching it ends the search.
    cost : Cost or None
        What to lower next, while no link gets above the bound, or above the least that was found.

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
    small = len(search.owner) <= _EXACT_UP_TO
    if search.worst() > bound * (1 + _MARGIN) and small:
        exact = _exact(search, bound, None, backend, seed)
        if exact is not None:
            search.take_if_better(exact)
            method = f"mixed-integer program ({backend})"
    ceiling = max(bound, search.worst())
    if cost is None:
        search.descend(lambda load: load**2, np.zeros(len(search.owner)), search.worst())
        return Choice(tuple(search.chosen_paths()), search.worst(), method)
    method = _cheapen(search, cost, ceiling, method, backend if small else None, seed)
    return Choice(tuple(search.chosen_paths()), search.worst(), method)


def _cheapen(search: _Search, cost: Cost, ceiling: float, method: str, backend: str | None, seed: int) -> str:
    """Lower the cost below a ceiling of utilisation; returns how."""
    linear = search.costs_of(cost.per_bps)
    scale = float(linear.mean()) or 1.0
    rises = list(zip(np.diff(QUEUEING_SLOPES, prepend=0.0).tolist(), QUEUEING_FROM.tolist(), strict=True))

    def queueing(load: Floats) -> Floats:
        total: Floats = sum((rise * np.maximum(load - start, 0.0) for rise, start in rises), np.zeros_like(load))
        return total

    def total() -> float:
        cost_now = float(linear[search.chosen].sum())
        return cost_now + (float(queueing(search.loads[:-1]).sum()) if cost.queueing else 0.0)

    if cost.queueing:
        search.descend(queueing, linear, ceiling)
    else:
        # Among paths of one cost the loads are evened out.
        search.descend(lambda load: 1e-6 * load**2, linear / scale, ceiling)
    if backend is None or total() <= cost.goal * (1 + _MARGIN):
        return f"{method} and local moves"
    before = total(), search.chosen.copy()
    exact = _exact(search, ceiling, cost, backend, seed)
    if exact is None:
        return f"{method} and local moves"
    search.restore(exact)
    if total() >= before[0] or search.worst() > ceiling * (1 + _MARGIN):
        search.restore(before[1])
        return f"{method} and local moves"
    return f"mixed-integer program ({backend})"


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
        self.rates: Floats = rates_bps[self.owner]
        self.adds: Floats = self.rates[:, None] / padded[self.links]
        self.loads: Floats = np.zeros(dummy + 1)
        self.chosen: Ints = np.full(len(candidates), -1, dtype=np.intp)

    def worst(self) -> float:
        return float(self.loads.max())

    def chosen_paths(self) -> list[Links]:
        return [self._paths[index] for index in self.chosen.tolist()]

    def costs_of(self, per_bps: Floats) -> Floats:
        """Cost of each candidate, shape (candidates,)."""
        costs: Floats = np.append(per_bps, 0.0)[self.links].sum(axis=1) * self.rates
        return costs

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
            cost[tabu_until[moves] > step] += _NEVER
            move = int(moves[np.argmin(cost)])
            demand = int(self.owner[move])
            tabu_until[self.chosen[demand]] = step + 3 + int(0.6 * hit.sum()) + int(self._random.integers(8))
            self._move(demand, move)
            if self.worst() < best_worst * (1 - _MARGIN):
                best, best_worst = self.chosen.copy(), self.worst()
        self.restore(best)

    def descend(self, penalty: Callable[[Floats], Floats], linear: Floats, ceiling: float) -> None:
        """Lower a cost of loads and candidates, one move at a time, with no link above a ceiling."""
        ceiling *= 1 + 1e-12
        for _ in range(2 * len(self.chosen)):
            moves = np.flatnonzero(np.arange(len(self.owner)) != self.chosen[self.owner])
            if not len(moves):
                return
            cost = self._cost_of(moves, lambda load: penalty(load) + _NEVER * (load > ceiling))
            cost += linear[moves] - linear[self.chosen[self.owner[moves]]]
            best = int(np.argmin(cost))
            if cost[best] > -1e-9:
                return
            self._move(int(self.owner[moves[best]]), int(moves[best]))

    def take_if_better(self, chosen: Ints) -> None:
        """Adopt another choice if its worst link is better."""
        before, worst = self.chosen.copy(), self.worst()
        self.restore(chosen)
        if self.worst() >= worst:
            self.restore(before)

    def restore(self, chosen: Ints) -> None:
        """Adopt another choice."""
        self.loads[:] = 0.0
        np.add.at(self.loads, self.links[chosen], self.adds[chosen])
        self.chosen = chosen.copy()

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


def _exact(search: _Search, bound: float, cost: Cost | None, backend: str, seed: int) -> NDArray[np.intp] | None:
    """The mixed-integer program over all candidates; None where it ends without a choice.

    It finds the least worst utilisation above the bound; or, given a cost, the cheapest choice below it.
    """
    program = pulp.LpProblem("single_paths", pulp.LpMinimize)
    worst = pulp.LpVariable("worst", bound, None if cost is None else bound)
    takes = [pulp.LpVariable(f"x{index}", cat=pulp.LpBinary) for index in range(len(search.owner))]
    objective: list[tuple[pulp.LpVariable, float]] = [(worst, 1.0 if cost is None else 0.0)]
    if cost is not None:
        objective += list(zip(takes, search.costs_of(cost.per_bps).tolist(), strict=True))
    for demand in range(len(search.chosen)):
        one = [(takes[index], 1.0) for index in range(search.first[demand], search.first[demand + 1])]
        program.addConstraint(pulp.LpConstraint(pulp.LpAffineExpression(one), pulp.LpConstraintEQ, f"d{demand}", 1))
    terms: dict[int, list[tuple[pulp.LpVariable, float]]] = {}
    for index, (links, adds) in enumerate(zip(search.links.tolist(), search.adds.tolist(), strict=True)):
        for link, add in zip(links, adds, strict=True):
            if add > 0:
                terms.setdefault(link, []).append((takes[index], add))
    offsets = np.cumsum(np.diff(QUEUEING_SLOPES, prepend=0.0) * QUEUEING_FROM).tolist()
    for link, entries in terms.items():
        load = pulp.LpAffineExpression([*entries, (worst, -1.0)])
        program.addConstraint(pulp.LpConstraint(load, pulp.LpConstraintLE, f"c{link}", 0))
        if cost is not None and cost.queueing:
            queue = pulp.LpVariable(f"q{link}", 0)
            objective.append((queue, 1.0))
            for segment, (slope, below) in enumerate(zip(QUEUEING_SLOPES.tolist(), offsets, strict=True)):
                tangent = pulp.LpAffineExpression([*((take, slope * add) for take, add in entries), (queue, -1.0)])
                row = pulp.LpConstraint(tangent, pulp.LpConstraintLE, f"t{link}_{segment}", below)
                program.addConstraint(row)
    program.setObjective(pulp.LpAffineExpression(objective))
    try:
        outcome = run(program, backend, _EXACT_LIMIT_S, seed=seed)
    except SolverError:
        return None
    if outcome == pulp.LpSolutionInfeasible:
        return None
    values = np.array([take.value() or 0.0 for take in takes])
    bounds = zip(search.first[:-1].tolist(), search.first[1:].tolist(), strict=True)
    return np.array([begin + int(np.argmax(values[begin:end])) for begin, end in bounds], dtype=np.intp)
