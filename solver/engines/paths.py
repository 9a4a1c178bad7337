"""Linear programs over given paths: for candidate lists, tunnels and bounded hops; warm from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from solver.engines.fairness import common_share, fair_rates
from solver.engines.program import Found, Program, path_columns
from solver.errors import SolverError
from solver.instance import Floats, Flow, Instance, Ints
from solver.routing import Objective, PathFlows
from solver.solution import Solution
from solver.watch import Watch

_MARGIN = 1e-9
"""Added to an optimum before it bounds the next program, so that this one stays feasible in floating point."""
_DUST = 1e-12
"""Part of a demand below which a path is not used."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The paths that each demand may take.

    Attributes
    ----------
    owners, starts, links
        As in `PathFlows`.
    """

    owners: Ints
    starts: Ints
    links: Ints

    def distances(self, weights: Floats, demands: int) -> Floats:
        """Weight of the lightest path of each demand, shape (demands,)."""
        lengths = np.add.reduceat(weights[self.links], self.starts[:-1])
        lightest = np.full(demands, np.inf)
        np.minimum.at(lightest, self.owners, lengths)
        return lightest

    def flow(self, instance: Instance, rates_bps: Floats) -> Flow:
        """The sum of the paths, shape (targets, links)."""
        counts = np.diff(self.starts)
        rows = np.repeat(instance.rows[self.owners], counts)
        summed = csr_array((np.repeat(rates_bps, counts), (rows, self.links)), shape=(instance.targets, instance.links))
        summed.sum_duplicates()
        return summed


def least_over_paths(
    instance: Instance, choice: Choice, objective: Objective, caps_bps: Floats, watch: Watch
) -> Solution | None:
    """The best routing over given paths; None where the demands do not fit on them.

    Parameters
    ----------
    caps_bps : array, shape (demands,)
        The most that is carried of each demand; matters where less or more than all may be.
    """
    columns = path_columns(instance, choice.owners, choice.starts, choice.links)

    def program() -> Program:
        return Program(instance, columns, watch)

    allowed = instance.allowed_bps
    level_prices: tuple[Floats, ...] = ()
    carried = instance.rates_bps
    if objective is Objective.MIN_MAX_UTILISATION:
        first = _must(program().least_utilisation(instance.capacities_bps))
        found = program().least_delay(instance.capacities_bps * (first.value * (1 + _MARGIN)))
        prices, reason = first.prices, "least maximum utilisation over the given paths, then least delay"
        found = found or first
    elif objective is Objective.MIN_DELAY:
        least = program().least_delay(allowed)
        if least is None:
            return None
        found, prices, reason = least, least.prices, "least delay over the given paths"
    elif objective is Objective.MIN_QUEUEING_DELAY:
        least = program().least_queueing(allowed)
        if least is None:
            return None
        found, prices, reason = least, least.prices, "least queueing cost over the given paths"
    else:

        def share(open_bps: Floats, given_bps: Floats, most: float) -> tuple[float, Floats]:
            level = _must(program().largest_share(allowed, open_bps, given_bps, most))
            return level.value, level.prices

        def distances(weights: Floats) -> Floats:
            return choice.distances(weights, len(instance.rates_bps))

        fair = objective is Objective.MAX_MIN_FAIR
        shares = (
            fair_rates(instance, caps_bps, share, distances, watch) if fair else common_share(instance, caps_bps, share)
        )
        carried, prices, level_prices = shares.carried_bps, shares.prices, shares.level_prices
        rest = replace(instance, rates_bps=carried)
        found = _must(Program(rest, columns, watch).least_delay(allowed * (1 + _MARGIN)))
        reason = "shares over the given paths, then least delay"
    rates = _exact(choice, found.rates_bps, carried)
    used = np.flatnonzero(rates > 0)
    counts = np.diff(choice.starts)
    keep = np.repeat(rates > 0, counts)
    flows = PathFlows(
        choice.owners[used], np.concatenate([[0], np.cumsum(counts[used])]), choice.links[keep], rates[used]
    )
    return Solution(
        choice.flow(instance, rates), carried, prices, "paths", reason, level_prices=level_prices, path_flows=flows
    )


def _must(found: Found | None) -> Found:
    if found is None:
        raise SolverError("HiGHS calls a program infeasible that has a solution; use another engine")
    return found


def _exact(choice: Choice, rates_bps: Floats, carried_bps: Floats) -> Floats:
    """Path rates that add up to what is carried, to the last digit."""
    rates = np.where(rates_bps > _DUST * carried_bps[choice.owners], rates_bps, 0.0)
    total = np.bincount(choice.owners, weights=rates, minlength=len(carried_bps))
    if np.any((total <= 0) & (carried_bps > 0)):
        raise SolverError("a demand got no path; it is not used, report it")
    exact: Floats = rates * (carried_bps / np.maximum(total, 1e-300))[choice.owners]
    return exact
