"""Linear programs over given paths: for candidate lists, tunnels and bounded hops; warm from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array

from solver.engines.fairness import common_share, fair_rates
from solver.engines.program import Found, Program, path_columns
from solver.errors import SolverError
from solver.instance import Floats, Flow, Instance, Ints
from solver.linear import INFINITE, LinearProgram, Optimum
from solver.routing import Objective, PathFlows
from solver.solution import Solution
from solver.watch import Watch

_MARGIN = 1e-10
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

    def worst(self, instance: Instance, rates_bps: Floats) -> float:
        """Utilisation of the fullest link."""
        loads = np.bincount(self.links, np.repeat(rates_bps, np.diff(self.starts)), instance.links)
        return float((loads / instance.capacities_bps).max(initial=0.0))

    def flow(self, instance: Instance, rates_bps: Floats) -> Flow:
        """The sum of the paths, shape (targets, links)."""
        counts = np.diff(self.starts)
        rows = np.repeat(instance.rows[self.owners], counts)
        summed = csr_array((np.repeat(rates_bps, counts), (rows, self.links)), shape=(instance.targets, instance.links))
        summed.sum_duplicates()
        return summed


class Tunnels:
    """The best routings over given paths, for one set of rates after the other.

    Parameters
    ----------
    choice : Choice
    """

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._balanced: _Balanced | None = None

    def least(self, instance: Instance, objective: Objective, caps_bps: Floats, watch: Watch) -> Solution | None:
        """The best routing for an objective; None where the demands do not fit.

        Parameters
        ----------
        instance : Instance
            The same links and pairs every time; other rates.
        caps_bps : array, shape (demands,)
            The most that is carried of each demand; matters where less or more than all may be.
        """
        choice, allowed = self._choice, instance.allowed_bps
        level_prices: tuple[Floats, ...] = ()
        carried = instance.rates_bps
        if objective is Objective.MIN_MAX_UTILISATION:
            if self._balanced is None:
                self._balanced = _Balanced(instance, choice)
            short, level, prices = self._balanced.rates(carried, watch)
            # The second program may lose in rounding what the first one had won.
            worst = [choice.worst(instance, _exact(choice, one, carried)) for one in (short, level)]
            rates = short if worst[0] <= worst[1] * (1 + 1e-8) else level
            return self._solution(instance, carried, rates, prices, "least maximum utilisation, then least delay")
        columns = path_columns(instance, choice.owners, choice.starts, choice.links)
        if objective.may_carry_less:

            def share(open_bps: Floats, given_bps: Floats, most: float) -> tuple[float, Floats]:
                level = _must(Program(instance, columns, watch).largest_share(allowed, open_bps, given_bps, most))
                return level.value, level.prices

            def distances(weights: Floats) -> Floats:
                return choice.distances(weights, len(instance.rates_bps))

            fair = objective is Objective.MAX_MIN_FAIR
            shares = (
                fair_rates(instance, caps_bps, share, distances, watch)
                if fair
                else common_share(instance, caps_bps, share)
            )
            carried, level_prices = shares.carried_bps, shares.level_prices
            rest = replace(instance, rates_bps=carried)
            found = _must(Program(rest, columns, watch).least_delay(allowed * (1 + _MARGIN)))
            rates, prices, what = found.rates_bps, shares.prices, "shares, then least delay"
        else:
            program = Program(instance, columns, watch)
            queueing = objective is Objective.MIN_QUEUEING_DELAY
            least = program.least_queueing(allowed) if queueing else program.least_delay(allowed)
            if least is None:
                return None
            rates, prices = least.rates_bps, least.prices
            what = "least queueing cost" if queueing else "least delay"
        return self._solution(instance, carried, rates, prices, what, level_prices)

    def jam(self, instance: Instance, watch: Watch) -> tuple[Floats, float]:
        """Prices under which demands that do not fit need more than there is, and how much they need."""
        columns = path_columns(instance, self._choice.owners, self._choice.starts, self._choice.links)
        prices = _must(Program(instance, columns, watch).largest_share(instance.allowed_bps)).prices
        return prices, float(instance.rates_bps @ self._choice.distances(prices, len(instance.rates_bps)))

    def _solution(
        self,
        instance: Instance,
        carried_bps: Floats,
        rates_bps: Floats,
        prices: Floats,
        what: str,
        level_prices: tuple[Floats, ...] = (),
    ) -> Solution:
        choice = self._choice
        rates = _exact(choice, rates_bps, carried_bps)
        used = np.flatnonzero(rates > 0)
        counts = np.diff(choice.starts)
        flows = PathFlows(
            choice.owners[used], np.concatenate([[0], np.cumsum(counts[used])]),
            choice.links[np.repeat(rates > 0, counts)], rates[used],
        )  # fmt: skip
        return Solution(
            choice.flow(instance, rates), carried_bps, prices, "paths", f"{what}, over the given paths",
            level_prices=level_prices, path_flows=flows,
        )  # fmt: skip


class _Balanced:
    """The least maximum utilisation, then the least delay, in one program that stays warm while rates change."""

    def __init__(self, instance: Instance, choice: Choice) -> None:
        paths, demands = len(choice.owners), len(instance.rates_bps)
        counts = np.diff(choice.starts)
        self._unit_bps = float(instance.capacities_bps.max())
        self._demands = demands
        loaded, of_link = np.unique(choice.links, return_inverse=True)
        # HiGHS' tolerance is the same for every row: links are measured in what they carry.
        crossed = self._unit_bps / instance.capacities_bps[choice.links]
        # Rows: each demand carried, each link below U of its capacity. Columns: paths, U.
        rows = np.concatenate([choice.owners, demands + of_link, demands + np.arange(len(loaded))])
        columns = np.concatenate([np.arange(paths), np.repeat(np.arange(paths), counts), np.full(len(loaded), paths)])
        values = np.concatenate([np.ones(paths), crossed, -np.ones(len(loaded))])
        self._delays = np.append(np.add.reduceat(instance.delays_s[choice.links], choice.starts[:-1]), 0.0)
        self._delays /= self._delays.mean() or 1.0
        self._worst = np.append(np.zeros(paths), 1.0)
        self._loaded, self._links = loaded, instance.links
        self._capacities_bps = instance.capacities_bps[loaded]
        zeros, endless = np.zeros(demands), np.full(paths + 1, INFINITE)
        self._program = LinearProgram(
            self._worst,
            csc_array(coo_array((values, (rows, columns)), shape=(demands + len(loaded), paths + 1))),
            np.append(zeros, np.full(len(loaded), -INFINITE)), np.append(zeros, np.zeros(len(loaded))),
            np.zeros(paths + 1), endless,
        )  # fmt: skip

    def rates(self, rates_bps: Floats, watch: Watch) -> tuple[Floats, Floats, Floats]:
        """Rate of each path with the least delay, and without regard to it, shape (paths,); price of each link."""
        worst, program = np.array([len(self._worst) - 1]), self._program
        # Everything grows with the rates, so they are measured in the largest of them each time.
        unit_bps = float(rates_bps.max(initial=0.0)) or 1.0
        wanted = rates_bps / unit_bps
        program.set_row_bounds(np.arange(self._demands), wanted, wanted)
        program.set_column_bounds(worst, np.zeros(1), np.full(1, INFINITE))
        program.set_costs(self._worst)
        first = _optimum(program.minimise(watch.left_s()))
        prices = np.zeros(self._links)
        prices[self._loaded] = np.maximum(-first.duals[self._demands :], 0.0) / self._capacities_bps
        program.set_column_bounds(worst, np.zeros(1), np.array([first.value * (1 + _MARGIN)]))
        program.set_costs(self._delays)
        second = _optimum(program.minimise(watch.left_s()))
        found = [np.maximum(one.columns[:-1], 0.0) * unit_bps for one in (second, first)]
        return found[0], found[1], prices


def _optimum(optimum: Optimum | None) -> Optimum:
    if optimum is None:
        raise SolverError("HiGHS calls a program infeasible that has a solution; use another engine")
    return optimum


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
