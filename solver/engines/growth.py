"""Linear programs with one flow per destination, handed to HiGHS as matrices that grow as needed.

Demands that share a destination are one flow: exact for linear objectives, and smaller by the number of
sources. Each program starts on few links per destination (shortest paths) and takes in those that the
prices ask for, until the prices prove that no other link can help. So programs of wide-area graphs stay at
half their columns, and every round has a feasible routing, a bound and a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from solver.engines.program import Found, Program, arc_columns, arc_flow
from solver.errors import SolverError
from solver.instance import Floats, Flow, Instance, loads_of
from solver.linear import OutOfTime
from solver.queueing import QUEUEING_FROM, QUEUEING_SLOPES
from solver.watch import Watch

EXACT = 1e-9
"""Relative gap at which a program counts as solved."""
_HOP = 1e-7
"""Weight of a hop beside the mean delay: among equal delays fewer hops win."""
_TIE = 1e-9
"""Paths whose weights differ by less, in mean weights, are equal."""
_ROUNDS = 1_000
_CONGESTION = ((2, 1.0), (8, 10.0))
"""Powers of the load, and their weight beside the mean delay, by which links are added: 2 to 4 rounds, not 12 to 15."""

Mask = NDArray[np.bool_]
"""Shape (targets, links): which link may carry what."""


@dataclass(frozen=True, eq=False)
class Solved:
    """What a growing program ended with.

    Attributes
    ----------
    value : float
        Of the last program.
    flow_bps : sparse array, shape (targets, links)
    bound : float
        What no routing can better.
    prices : array, shape (links,)
        What proves the bound.
    arcs : array of bool, shape (targets, links)
        What the program had grown to: a good start for a question that differs a little.
    exact : bool
        Whether it went on to the end, and not only to the time limit.
    """

    value: float
    flow_bps: Flow
    bound: float
    prices: Floats
    arcs: Mask
    exact: bool = True


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a growing program is asked.

    Attributes
    ----------
    run : callable
        Asks a program; what it finds is to be small.
    weights, bound : callables
        From the prices to the weights of links by which paths compete; and with the distances of the demands
        under these to what no routing can better.
    carried : callable
        What of each demand a found flow carries, shape (demands,).
    ask : callable
        Weights whose shortest paths are worth adding.
    """

    run: Callable[[Program], Found | None]
    weights: Callable[[Floats], Floats]
    bound: Callable[[Floats, Floats], float]
    carried: Callable[[Found], Floats]
    ask: Callable[[Found, Flow], list[Floats]]


def least_utilisation(
    instance: Instance,
    limits_bps: Floats,
    watch: Watch,
    *,
    floor: float = 0.0,
    goal: float = 0.0,
    arcs: Mask | None = None,
    known: tuple[float, Floats] | None = None,
) -> Solved:
    """All demands with the least ``max_e load_e / limit_e``.

    Parameters
    ----------
    limits_bps : array, shape (links,)
    floor : float
        Reached in any case, elsewhere: going below it is no use.
    goal : float
        Where the caller is content.
    arcs : array of bool or None
        To start with, beside shortest paths.
    known : tuple of float and array, or None
        A bound and its prices that hold without any program, from a cut.

    Raises
    ------
    OutOfTime
        Before there was any routing.
    """
    rates = instance.rates_bps

    def bound(y: Floats, away: Floats) -> float:
        total = float(limits_bps @ y)
        return float(rates @ away) / total if total > 0 else 0.0

    question = _Asked(
        run=lambda program: program.least_utilisation(limits_bps, floor), weights=lambda y: y, bound=bound,
        carried=lambda _: rates, ask=lambda found, flow: _uncongested(instance, limits_bps, found, flow),
    )  # fmt: skip
    best = known if known is not None else (0.0, np.zeros(instance.links))
    content = max(floor, goal) * (1 + EXACT)
    return _grow(instance, watch, question, arcs=arcs, best=best, content=content, phase="least utilisation")


def least_delay(
    instance: Instance, limits_bps: Floats, watch: Watch, *, arcs: Mask | None = None, fits: bool = False
) -> Solved | None:
    """All demands within limits with the least ``sum_e delay_e load_e``; None where they do not fit.

    Parameters
    ----------
    arcs, fits
        What to start with, and whether all demands are known to fit on it.
    """
    delays = instance.delays_s
    question = _Asked(
        run=lambda program: program.least_delay(limits_bps), weights=lambda y: delays + y,
        bound=lambda y, away: float(instance.rates_bps @ away) - float(limits_bps @ y),
        carried=lambda _: instance.rates_bps, ask=lambda found, _: [delays + found.prices],
    )  # fmt: skip
    if arcs is None or not fits:
        arcs = _enough(instance, limits_bps, watch, arcs)
    if arcs is None:
        return None
    nothing = (0.0, np.zeros(instance.links))
    return _grow(instance, watch, question, arcs=arcs, best=nothing, content=-np.inf, phase="least delay")


def least_queueing(
    instance: Instance, limits_bps: Floats, watch: Watch, *, arcs: Mask | None = None, fits: bool = False
) -> Solved | None:
    """All demands within limits with the least piecewise linear queueing cost; None where they do not fit.

    References
    ----------
    Fortz and Thorup, "Internet traffic engineering by optimizing OSPF weights", INFOCOM 2000, section II.
    """
    most = limits_bps / instance.capacities_bps
    ends = np.minimum(np.append(QUEUEING_FROM[1:], 1.0)[:, None], most[None, :])
    cost = np.cumsum(
        QUEUEING_SLOPES[:, None] * np.maximum(ends - np.minimum(QUEUEING_FROM[:, None], most), 0.0), axis=0
    )

    def bound(y: Floats, away: Floats) -> float:
        best = np.maximum(ends * (y * instance.capacities_bps) - cost, 0.0).max(axis=0)
        return float(instance.rates_bps @ away) - float(best.sum())

    question = _Asked(
        run=lambda program: program.least_queueing(limits_bps), weights=lambda y: y, bound=bound,
        carried=lambda _: instance.rates_bps,
        ask=lambda found, flow: [found.prices, *_uncongested(instance, limits_bps, found, flow)],
    )  # fmt: skip
    if arcs is None or not fits:
        arcs = _enough(instance, limits_bps, watch, arcs)
    if arcs is None:
        return None
    nothing = (0.0, np.zeros(instance.links))
    return _grow(instance, watch, question, arcs=arcs, best=nothing, content=-np.inf, phase="least queueing")


def share_beside(
    instance: Instance,
    limits_bps: Floats,
    open_bps: Floats,
    given_bps: Floats,
    most: float,
    watch: Watch,
    *,
    arcs: Mask | None = None,
) -> Solved:
    """The largest share of open rates, up to ``most``, beside others that are given; ``value`` is its negative.

    Parameters
    ----------
    open_bps, given_bps : arrays, shape (demands,)
    arcs : array of bool or None
        On which the given rates fit; may be None where none are given.
    """

    def bound(y: Floats, away: Floats) -> float:
        needed = float(open_bps @ away)
        return -(float(limits_bps @ y) - float(given_bps @ away)) / needed if needed > 0 else -np.inf

    def run(program: Program) -> Found | None:
        found = program.largest_share(limits_bps, open_bps, given_bps, most)
        return None if found is None else replace(found, value=-found.value)

    question = _Asked(
        run=run, weights=lambda y: y, bound=bound, carried=lambda found: given_bps - found.value * open_bps,
        ask=lambda found, flow: _uncongested(instance, limits_bps, found, flow),
    )  # fmt: skip
    nothing, content = (-np.inf, np.zeros(instance.links)), -most * (1 - EXACT)
    return _grow(instance, watch, question, arcs=arcs, best=nothing, content=content, phase="largest share")


def _uncongested(instance: Instance, limits_bps: Floats, found: Found, flow_bps: Flow) -> list[Floats]:
    """Weights under which shortest paths go round what is full.

    Where prices are 0 delay decides, so that what is added is worth having. Prices name the links that are
    full now; those that would be next are known by their loads, which saves rounds.
    """
    delays = 1e-3 * instance.delays_s / (float(instance.delays_s.mean()) or 1.0)
    used = loads_of(flow_bps) / limits_bps
    used /= float(used.max(initial=0.0)) or 1.0
    scale = float(found.prices.mean()) or 1.0
    return [found.prices / scale + delays, *(weight * used**power + delays for power, weight in _CONGESTION)]


def least_utilisation_at_delay(
    instance: Instance, limits_bps: Floats, prices: Floats, value: float, watch: Watch
) -> Flow | None:
    """The least maximum utilisation among the routings of least delay; None where rounding hides these.

    Complementary slackness describes them: flow only on links that are shortest under delay plus price,
    and priced links full.
    """
    weights = instance.delays_s + prices
    scale = float(weights.mean()) or 1.0
    arcs = on_shortest_paths(instance, weights, 1e-7 * scale)
    full = (prices > 1e-7 * scale) & arcs.any(axis=0)
    found = Program(instance, arc_columns(instance, arcs), watch).least_utilisation(limits_bps, full=full)
    if found is None or found.value > 1 + 1e-7:
        return None
    flow = arc_flow(instance, arcs, found.rates_bps)
    delay = float(flow.sum(axis=0) @ instance.delays_s)
    return flow if delay <= value * (1 + 1e-7) else None


def shortest_arcs(instance: Instance) -> Mask:
    """The links on delay-shortest paths of the demands; among equals those of fewer hops."""
    scale = float(instance.delays_s.mean()) or 1.0
    return on_shortest_paths(instance, instance.delays_s + _HOP * scale, 1e-10 * scale)


def on_shortest_paths(instance: Instance, weights: Floats, slack: float) -> Mask:
    """The links on paths of the demands whose every link is shortest up to a slack, shape (targets, links)."""
    away = instance.distances(weights)
    ahead = away[:, instance.heads]
    with np.errstate(invalid="ignore"):
        tight = np.isfinite(ahead) & (weights + ahead <= away[:, instance.tails] + slack)
    tight &= instance.tails[None, :] != instance.target_vertices[:, None]
    reached = np.zeros((instance.targets, instance.vertices), dtype=bool)
    reached[instance.rows, instance.origins] = True
    order = np.argsort(instance.heads, kind="stable")
    entered, begins = np.unique(instance.heads[order], return_index=True)
    while True:
        through = tight & reached[:, instance.tails]
        before = np.count_nonzero(reached)
        reached[:, entered] |= np.logical_or.reduceat(through[:, order], begins, axis=1)
        if np.count_nonzero(reached) == before:
            return through


def _enough(instance: Instance, limits_bps: Floats, watch: Watch, arcs: Mask | None) -> Mask | None:
    """Links on which all demands fit; None where there are none such."""
    arcs = shortest_arcs(instance) if arcs is None else arcs
    solved = least_utilisation(instance, limits_bps, watch, goal=1.0, arcs=arcs)
    if solved.value <= 1 + EXACT:
        return solved.arcs
    if not solved.exact:
        raise OutOfTime("the time limit came before a routing within capacity was found, or none proven; raise it")
    return None


def _grow(
    instance: Instance,
    watch: Watch,
    question: _Asked,
    *,
    arcs: Mask | None,
    best: tuple[float, Floats],
    content: float,
    phase: str,
) -> Solved:
    bound, prices = best
    usable = shortest_arcs(instance) if arcs is None else arcs.copy()
    solved: Solved | None = None
    widened = arcs is None
    for _ in range(_ROUNDS):
        try:
            found = question.run(Program(instance, arc_columns(instance, usable), watch))
        except OutOfTime:
            if solved is None:
                raise
            return replace(solved, exact=False)
        if found is None and not widened:
            # Links that once were enough, on a fabric or for rates that have changed since.
            usable, widened = usable | shortest_arcs(instance), True
            continue
        if found is None:
            raise SolverError("HiGHS calls a program infeasible that has a solution; use another engine")
        weights = question.weights(found.prices)
        away = instance.distances(weights)[instance.rows, instance.origins]
        proven = question.bound(found.prices, away)
        if proven > bound or (solved is None and not prices.any()):
            bound, prices = max(proven, bound), found.prices
        flow = arc_flow(instance, usable, found.rates_bps)
        solved = Solved(found.value, flow, bound, prices, usable)
        watch.tell(phase, abs(found.value), abs(bound) if np.isfinite(bound) else None)
        if found.value <= content or found.value - bound <= EXACT * abs(found.value):
            return solved
        # Only destinations whose traffic pays more than it must can gain by another link.
        must = np.bincount(instance.rows, weights=question.carried(found) * away, minlength=instance.targets)
        pays = flow @ weights - must
        rows = np.flatnonzero(pays > _TIE * max(float(must.sum()), float(pays.sum())) / instance.targets)
        more = np.zeros((len(rows), instance.links), dtype=bool)
        for asked in question.ask(found, flow):
            more |= on_shortest_paths(instance.towards(rows), asked, _TIE * float(asked.mean()))
        if not (more & ~usable[rows]).any():
            # The rest of the gap is HiGHS' tolerance.
            return solved
        usable = usable.copy()
        usable[rows] |= more
    if solved is None:
        raise SolverError("the program kept growing; report it")
    return solved
