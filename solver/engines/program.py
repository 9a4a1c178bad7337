"""One linear program over given (destination, link) pairs: conservation, loads, and an objective."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array

from solver.instance import Floats, Flow, Instance, Ints
from solver.linear import INFINITE, LinearProgram, Optimum
from solver.watch import Watch

SLOPES: Floats = np.array([1.0, 3.0, 10.0, 70.0])
"""Of the cost of a link, per unit of utilisation, from the utilisations `FROM` on (Fortz and Thorup 2000)."""
FROM: Floats = np.array([0.0, 1 / 3, 2 / 3, 9 / 10])


@dataclass(frozen=True, eq=False)
class Found:
    """The optimum of a program.

    Attributes
    ----------
    value : float
        A utilisation, a delay in bit, or a cost.
    flow_bps : sparse array, shape (targets, links)
    prices : array, shape (links,)
        Dual price of each link's capacity or load, not negative: 1/(bit/s) for a utilisation and a cost,
        seconds for a delay.
    """

    value: float
    flow_bps: Flow
    prices: Floats


class Program:
    """Conservation for each destination and the load of each link; one objective, asked once, adds the rest.

    Flows are measured in what their destination gets in all and loads in the most that any gets, so that the
    numbers handed to HiGHS are near 1.

    Parameters
    ----------
    arcs : array of bool, shape (targets, links)
        The pairs that may carry anything: the columns.
    """

    def __init__(self, instance: Instance, arcs: NDArray[np.bool_], watch: Watch | None = None) -> None:
        self._instance = instance
        self._watch = watch or Watch()
        self._rows, self._links = np.nonzero(arcs)
        totals = np.bincount(instance.rows, weights=instance.rates_bps, minlength=instance.targets)
        self._unit_bps = float(totals.max(initial=0.0)) or 1.0
        # HiGHS drops coefficients below 1e-9.
        self._row_unit = np.maximum(totals / self._unit_bps, 1e-6)
        self._loaded = np.unique(self._links)
        self._entries: list[tuple[Ints, Ints, Floats]] = []
        self._balances = self._conserve()

    def least_utilisation(
        self, limits_bps: Floats, floor: float = 0.0, *, full: NDArray[np.bool_] | None = None
    ) -> Found | None:
        """The least ``max_e load_e / limit_e``, over the links that need not be full; None where nothing fits."""
        flows, loads = len(self._rows), len(self._loaded)
        limits = limits_bps[self._loaded] / self._unit_bps
        tight = np.zeros(loads, dtype=bool) if full is None else full[self._loaded]
        free = np.flatnonzero(~tight)
        self._add(len(self._balances) + free, np.full(len(free), flows), -limits[free])
        costs = np.append(np.zeros(flows), 1.0)
        optimum = self._solve(
            costs, np.where(tight, limits, -INFINITE), np.where(tight, limits, 0.0),
            np.append(np.zeros(flows), floor), np.full(flows + 1, INFINITE),
        )  # fmt: skip
        return None if optimum is None else self._found(optimum, float(optimum.columns[flows]), 1 / self._unit_bps)

    def least_delay(self, limits_bps: Floats) -> Found | None:
        """The least ``sum_e delay_e load_e`` within the limits; None where the demands do not fit."""
        flows, delays = len(self._rows), self._instance.delays_s
        unit_s = float(delays.mean()) or 1.0
        costs = delays[self._links] / unit_s * self._row_unit[self._rows]
        limits = limits_bps[self._loaded] / self._unit_bps
        optimum = self._solve(
            costs, np.full(len(limits), -INFINITE), limits, np.zeros(flows), np.full(flows, INFINITE)
        )  # fmt: skip
        return None if optimum is None else self._found(optimum, optimum.value * unit_s * self._unit_bps, unit_s)

    def least_queueing(self, limits_bps: Floats) -> Found | None:
        """The least sum of the links' piecewise linear costs of utilisation, within the limits."""
        flows, loads = len(self._rows), len(self._loaded)
        capacities = self._instance.capacities_bps[self._loaded] / self._unit_bps
        most = limits_bps[self._loaded] / self._instance.capacities_bps[self._loaded]
        ends = np.minimum(np.append(FROM[1:], 1.0)[:, None], most[None, :])
        widths = np.maximum(ends - FROM[:, None], 0.0) * capacities
        segments = len(SLOPES) * loads
        self._add(
            len(self._balances) + np.tile(np.arange(loads), len(SLOPES)), flows + np.arange(segments),
            np.full(segments, -1.0),
        )  # fmt: skip
        costs = np.concatenate([np.zeros(flows), (SLOPES[:, None] / capacities[None, :]).ravel()])
        optimum = self._solve(
            costs, np.zeros(loads), np.zeros(loads), np.zeros(flows + segments),
            np.concatenate([np.full(flows, INFINITE), widths.ravel()]),
        )  # fmt: skip
        return None if optimum is None else self._found(optimum, optimum.value, 1 / self._unit_bps)

    def _conserve(self) -> Floats:
        """Add the conservation rows; returns their right-hand sides."""
        instance, columns = self._instance, np.arange(len(self._rows))
        tails = self._rows * instance.vertices + instance.tails[self._links]
        heads = self._rows * instance.vertices + instance.heads[self._links]
        onward = instance.heads[self._links] != instance.target_vertices[self._rows]
        offered = instance.rows * instance.vertices + instance.origins
        # A source that no arc leaves must make the program infeasible, not vanish from it.
        keys = np.unique(np.concatenate([tails, heads[onward], offered]))
        self._add(np.searchsorted(keys, tails), columns, np.ones(len(columns)))
        self._add(np.searchsorted(keys, heads[onward]), columns[onward], -np.ones(int(onward.sum())))
        balances = np.bincount(np.searchsorted(keys, offered), weights=instance.rates_bps, minlength=len(keys))
        link_rows = len(keys) + np.searchsorted(self._loaded, self._links)
        self._add(link_rows, columns, self._row_unit[self._rows])
        scaled: Floats = balances / (self._row_unit * self._unit_bps)[keys // instance.vertices]
        return scaled

    def _add(self, rows: Ints, columns: Ints, values: Floats) -> None:
        self._entries.append((rows, columns, values))

    def _solve(
        self, costs: Floats, load_lower: Floats, load_upper: Floats, lower: Floats, upper: Floats
    ) -> Optimum | None:
        rows, columns, values = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        shape = (len(self._balances) + len(self._loaded), len(costs))
        matrix = csc_array(coo_array((values, (rows, columns)), shape=shape))
        program = LinearProgram(
            costs, matrix, np.concatenate([self._balances, load_lower]), np.concatenate([self._balances, load_upper]),
            lower, upper,
        )  # fmt: skip
        return program.minimise(self._watch.left_s() if math.isfinite(self._watch.limit_s) else math.inf)

    def _found(self, optimum: Optimum, value: float, price_unit: float) -> Found:
        rates = np.maximum(optimum.columns[: len(self._rows)], 0.0)
        rates = rates * (self._row_unit * self._unit_bps)[self._rows]
        flow = csr_array((rates, (self._rows, self._links)), shape=(self._instance.targets, self._instance.links))
        flow.eliminate_zeros()
        prices = np.zeros(self._instance.links)
        prices[self._loaded] = np.maximum(-optimum.duals[len(self._balances) :], 0.0) * price_unit
        return Found(value, flow, prices)
