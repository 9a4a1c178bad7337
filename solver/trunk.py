"""The fabric without the cables of single-homed hosts: what is left to decide, and the way back.

A host with one cable has no choice on it, so its demands are the switch's, and demands between the same
two switches are one: a fabric of 8,192 hosts shrinks to its 1,280 switches, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solver.instance import Floats, Flow, Instance, Ints
from solver.polish import carry, split_ratios


@dataclass(frozen=True, eq=False)
class Trunk:
    """An instance reduced to what is undecided.

    Attributes
    ----------
    whole, instance : Instance
        Before and after; ``instance`` has its own numbers for vertices, links and destinations, and one
        demand for each pair of ends.
    links : array of int, shape (links of ``instance``,)
        The link of ``whole`` that each one is.
    up, down : array of int, shape (demands of ``whole``,)
        Access link at each demand's start and end; -1 where it has none of its own.
    demand_of : array of int, shape (demands of ``whole``,)
        Demand of ``instance`` that each one is part of; -1 where both ends hang on one switch.
    row_of : array of int, shape (destinations of ``whole``,)
        Destination of ``instance`` where each one's traffic leaves it; -1 where none crosses it.
    exits : array of int, shape (destinations of ``whole``,)
        Link to each destination; -1 where the destination is in ``instance`` itself.
    """

    whole: Instance
    instance: Instance
    links: Ints
    up: Ints
    down: Ints
    demand_of: Ints
    row_of: Ints
    exits: Ints

    def access_loads_bps(self) -> Floats:
        """What all demands put on the links that are not in ``instance``, shape (links of ``whole``,)."""
        loads = np.zeros(self.whole.links)
        for ends in (self.up, self.down):
            has = ends >= 0
            loads += np.bincount(ends[has], weights=self.whole.rates_bps[has], minlength=self.whole.links)
        return loads

    def lift(self, flow_bps: Flow) -> Flow:
        """Flow towards every destination of ``whole`` that a flow of ``instance`` carrying all demands stands for.

        Demands that meet at a switch on the way to the same exit are split alike from there on.
        """
        crossing = self.demand_of >= 0
        split = self.row_of[self.row_of >= 0]
        if np.array_equal(split, np.arange(self.instance.targets)) and len(split) == len(self.row_of):
            return self._renumbered(flow_bps)
        entries = [self._access(self.up, np.arange(len(self.up))), self._access(self.down, np.arange(len(self.down)))]
        if crossing.any():
            ratios = split_ratios(self.instance, flow_bps)
            rows = self.whole.rows[crossing]
            starts = self.instance.origins[self.demand_of[crossing]]
            entries.append(carry(self.instance, ratios, rows, self.row_of, starts, self.whole.rates_bps[crossing]))
            entries[-1] = (entries[-1][0], self.links[entries[-1][1]], entries[-1][2])
        rows, links, rates = (np.concatenate(part) for part in zip(*entries, strict=True))
        lifted = csr_array((rates, (rows, links)), shape=(self.whole.targets, self.whole.links))
        lifted.sum_duplicates()
        return lifted

    def _renumbered(self, flow_bps: Flow) -> Flow:
        """The lifted flow where every destination has a row of its own: the same flow, and access links."""
        flow = flow_bps.tocsr()
        lifted = csr_array(
            (flow.data, self.links[flow.indices], flow.indptr), shape=(self.whole.targets, self.whole.links)
        )
        parts = [self._access(ends, np.arange(len(ends))) for ends in (self.up, self.down)]
        rows, links, rates = (np.concatenate(part) for part in zip(*parts, strict=True))
        if not len(rows):
            return lifted
        access = csr_array((rates, (rows, links)), shape=lifted.shape)
        return csr_array(lifted + access)

    def lift_prices(self, prices: Floats) -> Floats:
        """Prices of all links of ``whole``; access links cost nothing."""
        lifted = np.zeros(self.whole.links)
        lifted[self.links] = prices
        return lifted

    def _access(self, ends: Ints, demands: Ints) -> tuple[Ints, Ints, Floats]:
        has = ends >= 0
        return self.whole.rows[demands[has]], ends[has], self.whole.rates_bps[demands[has]]


def reduce(whole: Instance) -> Trunk:
    """Take away the cables of hosts that have one, and add up demands between the same switches."""
    leaving = np.bincount(whole.tails, minlength=whole.vertices)
    arriving = np.bincount(whole.heads, minlength=whole.vertices)
    is_up = (arriving[whole.tails] == 0) & (leaving[whole.tails] == 1) & (leaving[whole.heads] > 0)
    is_down = (leaving[whole.heads] == 0) & (arriving[whole.heads] == 1) & (arriving[whole.tails] > 0)
    starts = _inverse(whole.tails, np.flatnonzero(is_up), whole.vertices)
    ends = _inverse(whole.heads, np.flatnonzero(is_down), whole.vertices)
    up, exits = starts[whole.origins], ends[whole.target_vertices]
    down = exits[whole.rows]
    # The entry past the end stands for no link, -1.
    origins = np.where(up >= 0, np.append(whole.heads, 0)[up], whole.origins)
    targets = np.where(exits >= 0, np.append(whole.tails, 0)[exits], whole.target_vertices)
    goals = targets[whole.rows]
    crossing = origins != goals
    links = np.flatnonzero(~(is_up | is_down))
    vertices = np.unique(np.concatenate([whole.tails[links], whole.heads[links], origins[crossing], goals[crossing]]))
    number = np.full(whole.vertices, -1, dtype=np.intp)
    number[vertices] = np.arange(len(vertices))
    target_vertices = _in_order(goals[crossing])
    row_at = _inverse(target_vertices, np.arange(len(target_vertices)), whole.vertices)
    pairs, demand_of = np.unique(row_at[goals[crossing]] * whole.vertices + origins[crossing], return_inverse=True)
    instance = Instance(
        vertices=len(vertices),
        tails=number[whole.tails[links]],
        heads=number[whole.heads[links]],
        capacities_bps=whole.capacities_bps[links],
        delays_s=whole.delays_s[links],
        allowed_bps=whole.allowed_bps[links],
        target_vertices=number[target_vertices],
        rows=pairs // whole.vertices,
        origins=number[pairs % whole.vertices],
        rates_bps=np.bincount(demand_of, weights=whole.rates_bps[crossing], minlength=len(pairs)).astype(np.float64),
    )
    of = np.full(len(whole.rates_bps), -1, dtype=np.intp)
    of[crossing] = demand_of
    row_of = row_at[targets]
    return Trunk(whole, instance, links, up, down, of, row_of, exits)


def _inverse(values: Ints, places: Ints, size: int) -> Ints:
    """Where in ``values[places]`` each number stands, as the place; -1 where it does not."""
    found = np.full(size, -1, dtype=np.intp)
    found[values[places]] = places
    return found


def _in_order(values: NDArray[np.intp]) -> Ints:
    """The distinct values in order of their first appearance."""
    _, first = np.unique(values, return_index=True)
    distinct: Ints = values[np.sort(first)]
    return distinct
