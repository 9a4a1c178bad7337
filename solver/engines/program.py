"""One linear program over flows on links or on paths: demands, loads, and an objective."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array

from solver.errors import SolverError
from solver.instance import Floats, Flow, Instance, Ints
from solver.linear import INFINITE, LinearProgram, Method, Optimum
from solver.queueing import QUEUEING_FROM, QUEUEING_SLOPES
from solver.watch import Watch

_SIMPLEX = 5_000
"""Columns from which interior points beat the simplex on piecewise linear costs: 4 times on Cogentco."""


@dataclass(frozen=True, eq=False)
class Columns:
    """What a program decides: how much flows on each (destination, link) pair or on each path.

    Attributes
    ----------
    unit_bps : array, shape (columns,)
        What 1 stands for; near the size of the flows, so that the numbers handed to HiGHS are near 1.
    load_links, load_columns : arrays, shape (crossings,)
        Which link each column loads, once for every link of it.
    balance_rows, balance_columns, balance_signs : arrays
        What each column does to which balance: out of a vertex +1, into it -1; 1 for a path of a demand.
    row_of : array of int, shape (demands,)
        The balance that each demand feeds.
    balance_unit_bps : array, shape (balances,)
    """

    unit_bps: Floats
    load_links: Ints
    load_columns: Ints
    balance_rows: Ints
    balance_columns: Ints
    balance_signs: Floats
    row_of: Ints
    balance_unit_bps: Floats


@dataclass(frozen=True, eq=False)
class Found:
    """The optimum of a program.

    Attributes
    ----------
    value : float
        A utilisation, a share, a delay in bit, or a cost.
    rates_bps : array, shape (columns,)
    prices : array, shape (links,)
        Dual price of each link's capacity or load, not negative: 1/(bit/s) for a utilisation, a share and a
        cost, seconds for a delay.
    """

    value: float
    rates_bps: Floats
    prices: Floats


class Program:
    """All demands served by the columns; each question adds its objective.

    Parameters
    ----------
    instance : Instance
        The demands, and what links carry.
    columns : Columns
    watch : Watch or None
    """

    def __init__(self, instance: Instance, columns: Columns, watch: Watch | None = None) -> None:
        self._instance = instance
        self._columns = columns
        self._watch = watch or Watch()
        self._unit_bps = float(columns.balance_unit_bps.max(initial=0.0)) or 1.0
        self._loaded, of_link = np.unique(columns.load_links, return_inverse=True)
        self._balances = len(columns.balance_unit_bps)
        self._count = len(columns.unit_bps)
        scale = columns.unit_bps[columns.balance_columns] / columns.balance_unit_bps[columns.balance_rows]
        self._entries: list[tuple[Ints, Ints, Floats]] = [
            (columns.balance_rows, columns.balance_columns, columns.balance_signs * scale),
            (
                self._balances + of_link,
                columns.load_columns,
                columns.unit_bps[columns.load_columns] / self._unit_bps,
            ),
        ]

    def least_utilisation(
        self, limits_bps: Floats, floor: float = 0.0, *, full: NDArray[np.bool_] | None = None
    ) -> Found | None:
        """The least ``max_e load_e / limit_e``, over the links that need not be full; None where nothing fits."""
        limits = limits_bps[self._loaded] / self._unit_bps
        tight = np.zeros(len(limits), dtype=bool) if full is None else full[self._loaded]
        free = np.flatnonzero(~tight)
        extra = (self._balances + free, np.full(len(free), self._count), -limits[free])
        optimum = self._solve(
            limits_bps, np.append(np.zeros(self._count), 1.0), self._asked(), np.where(tight, limits, -INFINITE),
            np.where(tight, limits, 0.0), np.append(np.zeros(self._count), floor), None, extra,
        )  # fmt: skip
        if optimum is None:
            return None
        return self._found(optimum, float(optimum.columns[self._count]), 1 / self._unit_bps)

    def largest_share(
        self,
        limits_bps: Floats,
        open_bps: Floats | None = None,
        given_bps: Floats | None = None,
        most: float = math.inf,
    ) -> Found | None:
        """The largest share of some rates that fits beside others that are given; None where these do not fit.

        Parameters
        ----------
        open_bps, given_bps : arrays, shape (demands,)
            The rates that a share of is carried (default: all), and those carried whole (default: none).
        most : float
            Where to stop.
        """
        rates = self._instance.rates_bps
        asked = self._asked(rates if open_bps is None else open_bps)
        given = self._asked(np.zeros(len(rates)) if given_bps is None else given_bps)
        limits = limits_bps[self._loaded] / self._unit_bps
        rows = np.flatnonzero(asked)
        extra = (rows, np.full(len(rows), self._count), -asked[rows])
        upper = np.append(np.full(self._count, INFINITE), min(most, INFINITE))
        optimum = self._solve(
            limits_bps, np.append(np.zeros(self._count), -1.0), given, np.full(len(limits), -INFINITE), limits,
            np.zeros(self._count + 1), upper, extra,
        )  # fmt: skip
        if optimum is None:
            return None
        return self._found(optimum, float(optimum.columns[self._count]), 1 / self._unit_bps)

    def least_delay(self, limits_bps: Floats) -> Found | None:
        """The least ``sum_e delay_e load_e`` within the limits; None where the demands do not fit."""
        columns, delays = self._columns, self._instance.delays_s
        unit_s = float(delays.mean()) or 1.0
        costs = np.bincount(
            columns.load_columns, weights=delays[columns.load_links] / unit_s, minlength=self._count
        )  # fmt: skip
        limits = limits_bps[self._loaded] / self._unit_bps
        optimum = self._solve(
            limits_bps,
            costs * columns.unit_bps / self._unit_bps, self._asked(), np.full(len(limits), -INFINITE), limits,
            np.zeros(self._count), None, None,
        )  # fmt: skip
        return None if optimum is None else self._found(optimum, optimum.value * unit_s * self._unit_bps, unit_s)

    def least_queueing(self, limits_bps: Floats) -> Found | None:
        """The least sum of the links' piecewise linear costs of utilisation, within the limits."""
        loads = len(self._loaded)
        capacities = self._instance.capacities_bps[self._loaded] / self._unit_bps
        most = limits_bps[self._loaded] / self._instance.capacities_bps[self._loaded]
        ends = np.minimum(np.append(QUEUEING_FROM[1:], 1.0)[:, None], most[None, :])
        widths = np.maximum(ends - QUEUEING_FROM[:, None], 0.0) * capacities
        costs = QUEUEING_SLOPES[:, None] / capacities[None, :]
        segments = len(QUEUEING_SLOPES) * loads
        extra = (
            self._balances + np.tile(np.arange(loads), len(QUEUEING_SLOPES)),
            self._count + np.arange(segments),
            np.full(segments, -1.0),
        )
        optimum = self._solve(
            limits_bps, np.concatenate([np.zeros(self._count), costs.ravel()]),
            self._asked(), np.zeros(loads), np.zeros(loads), np.zeros(self._count + segments),
            np.concatenate([np.full(self._count, INFINITE), widths.ravel()]), extra,
            Method.INTERIOR_POINT if self._count > _SIMPLEX else Method.SIMPLEX,
        )  # fmt: skip
        return None if optimum is None else self._found(optimum, optimum.value, 1 / self._unit_bps)

    def _asked(self, rates_bps: Floats | None = None) -> Floats:
        rates = self._instance.rates_bps if rates_bps is None else rates_bps
        summed = np.bincount(self._columns.row_of, weights=rates, minlength=self._balances)
        asked: Floats = summed / self._columns.balance_unit_bps
        return asked

    def _solve(
        self,
        limits_bps: Floats,
        costs: Floats,
        balances: Floats,
        load_lower: Floats,
        load_upper: Floats,
        lower: Floats,
        upper: Floats | None,
        extra: tuple[Ints, Ints, Floats] | None,
        method: Method = Method.SIMPLEX,
    ) -> Optimum | None:
        entries = [*self._entries, extra] if extra is not None else self._entries
        rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        # HiGHS' tolerance is the same for every row: rows of narrow links are measured in what these carry.
        scale = 1 / np.minimum(limits_bps[self._loaded] / self._unit_bps, 1.0)
        values = values * np.concatenate([np.ones(self._balances), scale])[rows]
        shape = (self._balances + len(self._loaded), len(costs))
        program = LinearProgram(
            costs, csc_array(coo_array((values, (rows, columns)), shape=shape)),
            np.concatenate([balances, load_lower * scale]), np.concatenate([balances, load_upper * scale]),
            lower, np.full(len(costs), INFINITE) if upper is None else upper, method=method,
        )  # fmt: skip
        optimum = program.minimise(self._watch.left_s())
        if optimum is None:
            return None
        duals = optimum.duals * np.concatenate([np.ones(self._balances), scale])
        return replace(optimum, duals=duals)

    def _found(self, optimum: Optimum, value: float, price_unit: float) -> Found:
        if not (np.isfinite(value) and np.isfinite(optimum.columns).all() and np.isfinite(optimum.duals).all()):
            raise SolverError("HiGHS returned what is no number; use another engine")
        rates = np.maximum(optimum.columns[: self._count], 0.0) * self._columns.unit_bps
        prices = np.zeros(self._instance.links)
        prices[self._loaded] = np.maximum(-optimum.duals[self._balances :], 0.0) * price_unit
        return Found(value, rates, prices)


def arc_columns(instance: Instance, arcs: NDArray[np.bool_]) -> Columns:
    """One column for each (destination, link) pair, in row-major order; what enters a vertex leaves it again.

    Parameters
    ----------
    arcs : array of bool, shape (targets, links)
    """
    rows, links = np.nonzero(arcs)
    totals = np.bincount(instance.rows, weights=instance.rates_bps, minlength=instance.targets)
    # HiGHS drops coefficients below 1e-9.
    totals = np.maximum(totals, 1e-6 * totals.max(initial=0.0))
    count = np.arange(len(rows))
    tails = rows * instance.vertices + instance.tails[links]
    heads = rows * instance.vertices + instance.heads[links]
    onward = instance.heads[links] != instance.target_vertices[rows]
    offered = instance.rows * instance.vertices + instance.origins
    # A source that no arc leaves must make the program infeasible, not vanish from it.
    keys = np.unique(np.concatenate([tails, heads[onward], offered]))
    return Columns(
        unit_bps=totals[rows],
        load_links=links,
        load_columns=count,
        balance_rows=np.concatenate([np.searchsorted(keys, tails), np.searchsorted(keys, heads[onward])]),
        balance_columns=np.concatenate([count, count[onward]]),
        balance_signs=np.concatenate([np.ones(len(count)), -np.ones(int(onward.sum()))]),
        row_of=np.searchsorted(keys, offered),
        balance_unit_bps=totals[keys // instance.vertices],
    )


def arc_flow(instance: Instance, arcs: NDArray[np.bool_], rates_bps: Floats) -> Flow:
    """The flow that a program over these arcs found."""
    rows, links = np.nonzero(arcs)
    flow = csr_array((rates_bps, (rows, links)), shape=(instance.targets, instance.links))
    flow.eliminate_zeros()
    return flow


def path_columns(instance: Instance, owners: Ints, starts: Ints, links: Ints) -> Columns:
    """One column for each path; the paths of a demand add up to it.

    Parameters
    ----------
    owners, starts, links
        As in `PathFlows`.
    """
    count = np.arange(len(owners))
    largest = float(instance.rates_bps.max(initial=0.0))
    units = np.maximum(instance.rates_bps, 1e-6 * largest)
    return Columns(
        unit_bps=units[owners],
        load_links=links,
        load_columns=np.repeat(count, np.diff(starts)),
        balance_rows=owners,
        balance_columns=count,
        balance_signs=np.ones(len(owners)),
        row_of=np.arange(len(instance.rates_bps)),
        balance_unit_bps=units,
    )
