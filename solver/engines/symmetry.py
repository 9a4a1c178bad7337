"""The engine for graphs with symmetry: linear programs over colours, their solutions given to all members alike.

Total flows of whole colours are a flow in the graph of the colours, so a program has one column for each
kind of (destination, link) pair: 10 for all-to-all on any healthy fat-tree, 76 with one slow cable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from solver.errors import SolverError
from solver.instance import Answer, Floats, Flow, Instance, Ints
from solver.linear import INFINITE, LinearProgram, Method, Optimum
from solver.polish import carry, split_ratios, without_cycles
from solver.refinement import Refinement
from solver.watch import Watch

_MARGIN = 1e-10
"""Added to an optimum before it bounds the next program, so that this one stays feasible in floating point."""
_ZERO = 1e-9
"""Prices and reduced costs below this, in mean delays, are arithmetic."""
_DUST = 1e-10
"""A part of a vertex's traffic below this is the solver's tolerance, not a decision."""
_OFF = 1e-9
"""Part of the largest flow or load by which sums of floats may be off."""
_FAR = 100.0
"""A least utilisation this far from its unit is found again in a better one: HiGHS' tolerance is absolute."""
_SIMPLEX = 2_000
"""Columns up to which simplex is as fast as interior point, which needs a fifth of its time at 10,000."""
_TABLE = 1 << 22
"""Triples of colours up to which a table of all beats a search."""
_BLOCK = 1 << 17
"""(destination, link) pairs lifted at once: their arrays stay in the cache."""
_UNSTABLE = "two colours share a hash; refine with another seed, or use another engine"


def least_delay(instance: Instance, refinement: Refinement, watch: Watch) -> Answer | None:
    """The least total delay within what is allowed, then the least utilisation of the links that need not be full.

    Returns
    -------
    Answer or None
        Prices in seconds; None where the demands do not fit.

    Raises
    ------
    OutOfTime
        Before the optimum was found.
    SolverError
        HiGHS failed, or the colours are not stable after all.
    """
    watch.tell("least delay over colours")
    program = _Program(instance, refinement, watch)
    allowed = refinement.of_links(instance.allowed_bps)
    first = program.least_delay(allowed)
    if first is None:
        return None
    prices = program.prices(first, allowed) * (program.delay_unit_s * program.weight_unit)
    prices[prices <= _ZERO * program.delay_unit_s] = 0.0
    flows = _exact(program, program.least_utilisation_at(first, allowed, prices > 0))
    return _answer(program, flows, 1.0, prices, "some links are full" if prices.any() else "no link need be full")


def least_utilisation(instance: Instance, refinement: Refinement, watch: Watch, floor: float = 0.0) -> Answer:
    """The least maximum utilisation of the whole capacities, above 1 or not, then the least total delay.

    Parameters
    ----------
    floor : float
        Reached in any case, on links that are not in the instance.

    Raises
    ------
    OutOfTime
        Before the optimum was found.
    SolverError
        A demand has no path, HiGHS failed, or the colours are not stable after all.
    """
    watch.tell("least utilisation over colours")
    program = _Program(instance, refinement, watch)
    flows, prices = program.least_utilisation(refinement.of_links(instance.capacities_bps), floor)
    return _answer(program, _exact(program, flows), 1.0, prices, "the least utilisation")


def largest_share(instance: Instance, refinement: Refinement, watch: Watch) -> Answer:
    """The largest share of every demand within what is allowed, then the least total delay.

    Infinite where no demand takes a link.

    Raises
    ------
    OutOfTime
        Before the optimum was found.
    SolverError
        A demand has no path, HiGHS failed, or the colours are not stable after all.
    """
    watch.tell("largest share over colours")
    program = _Program(instance, refinement, watch)
    allowed = refinement.of_links(instance.allowed_bps)
    flows, prices = program.least_utilisation(allowed, 0.0)
    flows = _exact(program, flows)
    used = float((program.loads_bps(flows) / allowed).max(initial=0.0))
    return _answer(program, flows, 1 / used if used else np.inf, prices, "the largest common share")


class _Program:
    """Linear programs over the flow that each kind of (destination, link) pair carries.

    Only columns that may matter are in it: none out of a destination, none from a colour to itself, which
    would be a circulation. Flows are in units of the largest rate; ``weight_unit`` keeps costs, which grow
    with the sizes of the colours, near 1.
    """

    def __init__(self, instance: Instance, refinement: Refinement, watch: Watch) -> None:
        self.instance, self.refinement, self._watch = instance, refinement, watch
        goal, members = refinement.is_goal, refinement.pair_sizes
        moves = ~goal[refinement.column_tails] & (refinement.column_tails != refinement.column_heads)
        self.tails, self.heads = refinement.column_tails[moves], refinement.column_heads[moves]
        self.sizes, self.links = refinement.column_sizes[moves], refinement.column_links[moves]
        self.supplies_bps = refinement.supplies_bps
        self.unit_bps = float(self.supplies_bps.max(initial=0.0)) or 1.0
        self.delay_unit_s = (float(instance.delays_s.mean()) if instance.links else 0.0) or 1.0
        self.weight_unit = float(np.sqrt(self.sizes.max(initial=1)))
        self._per_link = self.sizes / refinement.link_sizes[self.links]
        self._costs = (
            self.sizes / self.weight_unit * refinement.of_links(instance.delays_s)[self.links] / self.delay_unit_s
        )
        row = np.cumsum(~goal) - 1
        onward = np.flatnonzero(~goal[self.heads])
        self._balances = (
            np.concatenate([row[self.tails], row[self.heads[onward]]]),
            np.concatenate([np.arange(len(self.sizes)), onward]),
            np.concatenate([self.sizes / members[self.tails], -(self.sizes / members[self.heads])[onward]]),
        )
        self._asked = self.supplies_bps[~goal] / self.unit_bps

    def loads_bps(self, flows_bps: Floats) -> Floats:
        """Load of each link of each colour, shape (link colours,)."""
        crossing = self._per_link * flows_bps
        return np.asarray(np.bincount(self.links, crossing, len(self.refinement.link_sizes)), dtype=np.float64)

    def prices(self, optimum: Optimum, limits_bps: Floats) -> Floats:
        """Price of each single link of each colour, of an optimum whose first limits these are."""
        duals = optimum.duals[len(self._asked) :][: len(limits_bps)]
        return np.maximum(-duals, 0.0) * self.unit_bps / (self.refinement.link_sizes * limits_bps)

    def least_delay(self, limits_bps: Floats) -> Optimum | None:
        """The least cost with loads up to the limits; None where there is none."""
        return self._solve(self._costs, [_Limits(limits_bps, 1.0)])

    def least_utilisation_at(self, optimum: Optimum, allowed_bps: Floats, full: NDArray[np.bool_]) -> Floats:
        """Among the flows of least delay one with the least utilisation of the links that need not be full.

        By complementary slackness these flows fill the links that have a price, and take no column that has
        a reduced cost.
        """
        flows = optimum.columns * self.unit_bps
        capacities = np.where(full, np.inf, self.refinement.of_links(self.instance.capacities_bps))
        used = float((self.loads_bps(flows) / capacities).max(initial=0.0))
        if not used:
            return flows
        limits = _Limits(allowed_bps, 1.0, np.where(full, 1.0, -INFINITE))
        reduced = (self._costs - self._matrix([limits]).T @ optimum.duals) * self.weight_unit
        may = (reduced <= _ZERO * self.sizes) | (flows > 0)
        found = self._solve(
            np.append(np.zeros(len(flows)), 1.0),
            [limits, _Limits(used * capacities, 0.0, shared=True)],
            np.append(np.where(may, INFINITE, 0.0), INFINITE),
        )
        return flows if found is None else found.columns[:-1] * self.unit_bps

    def least_utilisation(self, limits_bps: Floats, floor: float) -> tuple[Floats, Floats]:
        """The least utilisation of some limits, then the least delay.

        Returns
        -------
        tuple of arrays
            Flow of each column in bit/s, and price of each link of each colour.

        Raises
        ------
        SolverError
            A demand has no path.
        """
        nothing = np.zeros(len(self.sizes))
        if not self._asked.any():
            return nothing, np.zeros(len(limits_bps))
        offered = float(self.supplies_bps @ self.refinement.pair_sizes)
        # Below the optimum, since every demand takes a link.
        unit = offered / float(limits_bps @ self.refinement.link_sizes) if len(limits_bps) else 1.0
        while True:
            limits = _Limits(unit * limits_bps, 0.0, shared=True)
            found = self._solve(np.append(nothing, 1.0), [limits], least=floor / unit)
            if found is None:
                raise SolverError("a demand without a path reached the solver; report it")
            if found.value <= _FAR:
                break
            unit *= found.value
        second = self.least_delay(limits_bps * (found.value * unit * (1 + _MARGIN)))
        flows = found.columns[:-1] if second is None else second.columns
        return flows * self.unit_bps, self.prices(found, limits_bps)

    def _matrix(self, limits: Sequence[_Limits]) -> csc_array[np.float64]:
        count, every = len(self._asked), np.arange(len(self.sizes))
        rows, columns, values = ([part] for part in self._balances)
        for block in limits:
            rows.append(count + self.links)
            columns.append(every)
            values.append(self._per_link * (self.unit_bps / block.limits_bps[self.links]))
            if block.shared:
                rows.append(np.arange(count, count + len(block.limits_bps)))
                columns.append(np.full(len(block.limits_bps), len(every)))
                values.append(np.full(len(block.limits_bps), -1.0))
            count += len(block.limits_bps)
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return csc_array(entries, shape=(count, len(every) + any(block.shared for block in limits)))

    def _solve(
        self, costs: Floats, limits: Sequence[_Limits], upper: Floats | None = None, least: float = 0.0
    ) -> Optimum | None:
        """An optimum within limits; the last column, where limits share one, is the utilisation, from ``least`` on."""
        lower = np.zeros(len(costs))
        lower[len(self.sizes) :] = least
        if not len(costs):
            # HiGHS has no answer for programs without columns.
            rows = len(self._asked) + sum(len(block.limits_bps) for block in limits)
            return None if self._asked.any() else Optimum(0.0, np.zeros(0), np.zeros(rows))
        program = LinearProgram(
            costs,
            self._matrix(limits),
            np.concatenate([self._asked, *(np.broadcast_to(block.lower, block.limits_bps.shape) for block in limits)]),
            np.concatenate([self._asked, *(np.full(len(block.limits_bps), block.upper) for block in limits)]),
            lower,
            np.full(len(costs), INFINITE) if upper is None else upper,
            method=Method.SIMPLEX if len(costs) <= _SIMPLEX else Method.INTERIOR_POINT,
        )
        return program.minimise(self._watch.left_s())


@dataclass(frozen=True, eq=False)
class _Limits:
    """Rows ``lower <= load / limit <= upper`` for the links of each colour, the utilisation taken off where shared."""

    limits_bps: Floats
    upper: float
    lower: Floats | float = -INFINITE
    shared: bool = False


def _answer(program: _Program, flows_bps: Floats, share: float, prices: Floats, reason: str) -> Answer:
    """What exact flows and the prices of colours say of the instance, with a share of the demands carried."""
    refinement, instance = program.refinement, program.instance
    each = np.zeros(instance.links)
    each[refinement.links] = prices[refinement.link_colours]
    kinds = f"{len(program.sizes)} kinds of flow instead of {instance.targets * instance.links}"
    flow = _lifted(program, flows_bps, share if np.isfinite(share) else 1.0)
    return Answer(flow, share, each, f"{reason}; by symmetry {kinds}")


def _exact(program: _Program, flows_bps: Floats) -> Floats:
    """The same flow conserved to the last digit, without cycles; shape (columns of the program,).

    A cycle of colours that carries something is one of vertices too: each member has a link on to the next.

    Raises
    ------
    SolverError
        The flow does not lead every demand to its destination.
    """
    refinement = program.refinement
    sink, totals = refinement.pairs, np.maximum(flows_bps, 0.0) * program.sizes
    heads = np.where(refinement.is_goal[program.heads], sink, program.heads)
    starts = np.flatnonzero(program.supplies_bps)
    if not len(starts):
        return np.zeros(len(totals))
    ones, nothing = np.ones(len(totals)), np.zeros(len(starts), dtype=np.intp)
    graph = Instance(
        sink + 1, program.tails, heads, ones, ones, ones, np.array([sink]),
        nothing, starts, program.supplies_bps[starts] * refinement.pair_sizes[starts],
    )  # fmt: skip
    totals = without_cycles(graph, csr_array(totals[None, :])).toarray()[0]
    most = np.zeros(sink + 1)
    np.maximum.at(most, program.tails, totals)
    through = np.bincount(program.tails, weights=totals, minlength=sink + 1)[program.tails]
    keep = (totals > 0) & ((totals > _DUST * through) | (totals == most[program.tails]))
    while True:
        leads = np.zeros(sink + 1, dtype=bool)
        leads[program.tails[keep]] = leads[sink] = True
        if leads[heads[keep]].all():
            break
        keep &= leads[heads]
    flow = csr_array(np.where(keep, totals, 0.0)[None, :])
    _, columns, carried = carry(
        graph, split_ratios(graph, flow), nothing, np.zeros(1, dtype=np.intp), starts, graph.rates_bps
    )
    exact = np.zeros(len(totals))
    exact[columns] = carried / program.sizes[columns]
    return exact


def _lifted(program: _Program, flows_bps: Floats, share: float) -> Flow:
    """Give a share of each colour's flow to every member, and check what comes of it.

    Raises
    ------
    SolverError
        Some vertex takes in what it does not give out, or a link has not its colour's load.
    """
    refinement, instance = program.refinement, program.instance
    busy = np.flatnonzero(flows_bps)
    if not len(busy):
        return csr_array((instance.targets, instance.links), dtype=np.float64)
    kinds = _Kinds.of(program, busy, share * flows_bps[busy])
    some = np.flatnonzero(kinds.of_link[refinement.link_colours] >= 0)
    tails, heads, base = refinement.tails[some], refinement.heads[some], kinds.of_link[refinement.link_colours[some]]
    of_tail, of_head = kinds.of_tail[refinement.pair_colours], kinds.of_head[refinement.pair_colours]
    rows, vertices = refinement.pair_colours.shape
    parts, loads, counts = [], np.zeros(len(some)), np.zeros(rows + 1, dtype=np.int64)
    off_bps = _OFF * share * float(flows_bps.max(initial=0.0))
    step = max(1, _BLOCK // max(1, len(some)))
    row = np.arange(step)[:, None]
    tail_at, head_at, link_at = ((row * size + ends).ravel() for size, ends in (
        (vertices, tails), (vertices, heads), (0, refinement.links[some].astype(np.int32)),
    ))  # fmt: skip
    for first in range(0, rows, step):
        keys = np.take(of_tail[first : first + step], tails, axis=1)
        keys += np.take(of_head[first : first + step], heads, axis=1)
        keys += base
        found = kinds.flows_bps_of(keys)
        loads += found.sum(axis=0)
        counts[first + 1 : first + 1 + len(found)] = np.count_nonzero(found, axis=1)
        places = np.flatnonzero(found)
        flow = found.ravel()[places]
        parts.append((flow, link_at[places]))
        balance = np.bincount(tail_at[places], flow, len(found) * vertices)
        balance -= np.bincount(head_at[places], flow, len(found) * vertices)
        # Destinations, which keep what they take in, offer NaN: comparisons with it are false.
        if np.any(np.abs(balance - share * refinement.offers_bps[first : first + step].ravel()) > off_bps):
            raise SolverError(_UNSTABLE)
    expected = share * program.loads_bps(flows_bps)[refinement.link_colours[some]]
    if np.any(np.abs(loads - expected) > _OFF * expected):
        raise SolverError(_UNSTABLE)
    flow, links = (np.concatenate(part) for part in zip(*parts, strict=True))
    return csr_array((flow, links, np.cumsum(counts)), shape=(rows, instance.links))


@dataclass(frozen=True, eq=False)
class _Kinds:
    """Finds the flow of a (destination, link) pair by the colours of the link and of its ends.

    Attributes
    ----------
    of_link : array of int, shape (link colours,)
        Summand of the key; -1 where nothing flows.
    of_tail, of_head : array of int, shape (pair colours,)
        Summands of the key; 0 where nothing flows.
    keys : array of int or None
        The keys that have a flow, ascending; None where ``flows_bps`` is a table by key.
    flows_bps : array of float
    """

    of_link: Ints
    of_tail: Ints
    of_head: Ints
    keys: Ints | None
    flows_bps: Floats

    @classmethod
    def of(cls, program: _Program, busy: Ints, flows_bps: Floats) -> _Kinds:
        """Number what the columns with flow have at their ends."""
        links, link = np.unique(program.links[busy], return_inverse=True)
        tails, tail = np.unique(program.tails[busy], return_inverse=True)
        heads, head = np.unique(program.heads[busy], return_inverse=True)
        across, size = len(heads) + 1, (len(tails) + 1) * (len(heads) + 1)
        small = len(links) * size <= _TABLE
        of_link = np.full(len(program.refinement.link_sizes), -1, dtype=np.intp)
        of_tail, of_head = (np.zeros(program.refinement.pairs, dtype=np.intp) for _ in range(2))
        of_link[links] = np.arange(len(links)) * size
        of_tail[tails] = (np.arange(len(tails)) + 1) * across
        of_head[heads] = np.arange(len(heads)) + 1
        keys = of_link[links[link]] + of_tail[tails[tail]] + of_head[heads[head]]
        if small:
            table = np.zeros(len(links) * size)
            table[keys] = flows_bps
            return cls(of_link, of_tail, of_head, None, table)
        order = np.argsort(keys)
        return cls(of_link, of_tail, of_head, keys[order], flows_bps[order])

    def flows_bps_of(self, keys: Ints) -> Floats:
        """Flow of each key, 0 where there is none."""
        if self.keys is None:
            return np.asarray(self.flows_bps.take(keys), dtype=np.float64)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.flows_bps[place], 0.0)
