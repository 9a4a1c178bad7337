"""Makes a solver's flow exact: no cycles, nothing lost to rounding, every source served.

A flow without cycles is, for each destination, a split at each vertex. Sending the demands anew through
these splits conserves them to the last digit, whatever the solver's tolerance was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from solver.cycles import cancel_cycles
from solver.errors import SolverError
from solver.instance import Floats, Flow, Instance, Ints

_DUST = 1e-9
"""Flow below this part of its destination's total is the solver's tolerance, not a decision."""


@dataclass(frozen=True, eq=False)
class Ratios:
    """How vertices split what they have for each destination.

    Attributes
    ----------
    starts : array of int, shape (targets + 1,)
        Where the entries of each destination begin.
    links : array of int, shape (entries,)
    shares : array of float, shape (entries,)
        Part of what the link's tail has for that destination; they add up to 1 at each tail.
    """

    starts: Ints
    links: Ints
    shares: Floats


def split_ratios(instance: Instance, flow_bps: Flow) -> Ratios:
    """The splits of a flow without cycles, shape (targets, links)."""
    flow = flow_bps.tocsr()
    flow.sort_indices()
    links = flow.indices.astype(np.intp)
    rows = np.repeat(np.arange(instance.targets), np.diff(flow.indptr))
    places, total = _sum_by(rows * instance.vertices + instance.tails[links], flow.data)
    return Ratios(flow.indptr.astype(np.intp), links, flow.data / total[places])


def carry(
    instance: Instance, ratios: Ratios, rows: Ints, row_of: Ints, origins: Ints, rates_bps: Floats
) -> tuple[Ints, Ints, Floats]:
    """Send demands through splits.

    Parameters
    ----------
    rows : array of int, shape (demands,)
        Any grouping of the demands; the flows of one row are added up.
    row_of : array of int
        The destination in ``ratios`` of each row.
    origins, rates_bps : arrays, shape (demands,)

    Returns
    -------
    tuple of arrays, shape (entries,)
        Row, link and flow in bit/s.

    Raises
    ------
    SolverError
        The splits lead to a dead end or round in a ring.
    """
    used = np.unique(rows)
    counts = np.diff(ratios.starts)[row_of[used]]
    of_row = np.repeat(used, counts)
    place = np.arange(len(of_row)) - np.repeat(np.cumsum(counts) - counts, counts)
    entry = np.repeat(ratios.starts[row_of[used]], counts) + place
    links, shares = ratios.links[entry], ratios.shares[entry]
    keys, at = np.unique(of_row * instance.vertices + instance.tails[links], return_inverse=True)
    goal = instance.heads[links] == instance.target_vertices[row_of[of_row]]
    onward = np.flatnonzero(~goal)
    next_keys = of_row[onward] * instance.vertices + instance.heads[links[onward]]
    ahead = _positions(keys, next_keys)
    waiting = np.bincount(
        _positions(keys, rows * instance.vertices + origins), weights=rates_bps, minlength=len(keys)
    )  # fmt: skip
    flow = np.zeros(len(links))
    for _ in range(instance.vertices + 1):
        moved = waiting[at] * shares
        flow += moved
        if not moved[onward].any():
            used_entries = np.flatnonzero(flow)
            return of_row[used_entries], links[used_entries], flow[used_entries]
        waiting = np.bincount(ahead, weights=moved[onward], minlength=len(keys))
    raise SolverError("the flow goes round in a ring; it is not used, report it")


def polished(instance: Instance, flow_bps: Flow) -> Flow:
    """The flow that the splits of a solver's flow stand for: exact, acyclic, all demands carried whole.

    Raises
    ------
    SolverError
        The flow does not lead every demand to its destination.
    """
    if not instance.targets:
        return flow_bps
    # Rings leave crumbs behind where they are taken out, hence the second time.
    flow = _without_dust(instance, without_cycles(instance, _without_dust(instance, flow_bps)))
    rows, links, rates = carry(
        instance, split_ratios(instance, flow), instance.rows, np.arange(instance.targets),
        instance.origins, instance.rates_bps,
    )  # fmt: skip
    return csr_array((rates, (rows, links)), shape=flow.shape)


def without_cycles(instance: Instance, flow_bps: Flow) -> Flow:
    """The same flow without the rings in it."""
    flow = flow_bps.tocsr()
    rows = np.repeat(np.arange(flow.shape[0]), np.diff(flow.indptr))
    keys, places = np.unique(
        np.concatenate([rows * instance.vertices + ends[flow.indices] for ends in (instance.tails, instance.heads)]),
        return_inverse=True,
    )
    tails, heads = np.split(places, 2)
    graph = csr_array((np.ones(len(tails), dtype=np.int8), (tails, heads)), shape=(len(keys), len(keys)))
    _, component = connected_components(graph, directed=True, connection="strong")
    in_ring = np.unique(rows[component[tails] == component[heads]])
    if not len(in_ring):
        return flow
    tails_of, heads_of = instance.tails.tolist(), instance.heads.tolist()
    kept = ~np.isin(rows, in_ring)
    new_rows, new_links, new_rates = [rows[kept]], [flow.indices[kept]], [flow.data[kept]]
    for row in in_ring.tolist():
        part = slice(flow.indptr[row], flow.indptr[row + 1])
        left = cancel_cycles(
            dict(zip(flow.indices[part].tolist(), flow.data[part].tolist(), strict=True)), tails_of, heads_of
        )
        new_rows.append(np.full(len(left), row))
        new_links.append(np.array(list(left), dtype=np.intp))
        new_rates.append(np.array(list(left.values()), dtype=np.float64))
    entries = (np.concatenate(new_rows), np.concatenate(new_links))
    return csr_array((np.concatenate(new_rates), entries), shape=flow.shape)


def _without_dust(instance: Instance, flow_bps: Flow) -> Flow:
    """Drop what is too small to be meant, and what leads nowhere for lack of it; the best way out always stays."""
    flow = flow_bps.tocsr()
    rows = np.repeat(np.arange(flow.shape[0]), np.diff(flow.indptr))
    links, rates = flow.indices.astype(np.intp), flow.data
    offered = np.bincount(instance.rows, weights=instance.rates_bps, minlength=instance.targets)
    tails = rows * instance.vertices + instance.tails[links]
    heads = rows * instance.vertices + instance.heads[links]
    arrived = instance.heads[links] == instance.target_vertices[rows]
    _, place = np.unique(tails, return_inverse=True)
    most = np.zeros(len(tails))
    np.maximum.at(most, place, rates)
    keep = (rates > 0) & ((rates > _DUST * offered[rows]) | (rates == most[place]))
    while True:
        lost = keep & ~arrived & ~np.isin(heads, tails[keep])
        if not lost.any():
            break
        keep &= ~lost
    left = csr_array((rates[keep], (rows[keep], links[keep])), shape=flow.shape)
    stranded = ~np.isin(instance.rows * instance.vertices + instance.origins, tails[keep])
    return _with_shortest(instance, left, np.flatnonzero(stranded)) if stranded.any() else left


def _with_shortest(instance: Instance, flow: Flow, demands: Ints) -> Flow:
    """Add shortest ways for demands that a solver's tolerance has swallowed, up to where others lead on."""
    away = instance.distances(instance.delays_s + instance.delays_s.mean())
    leaving: dict[int, list[int]] = {}
    for link, tail in enumerate(instance.tails.tolist()):
        leaving.setdefault(tail, []).append(link)
    added = flow.tolil()
    for demand in demands.tolist():
        row, vertex = int(instance.rows[demand]), int(instance.origins[demand])
        while vertex != instance.target_vertices[row] and not any(added[row, link] for link in leaving.get(vertex, ())):
            if not np.isfinite(away[row, vertex]):
                raise SolverError("a demand without a path reached the solver; report it")
            link = min(
                leaving[vertex], key=lambda link: float(instance.delays_s[link] + away[row, instance.heads[link]])
            )
            added[row, link] = float(instance.rates_bps[demand])
            vertex = int(instance.heads[link])
    return csr_array(added)


def _sum_by(keys: Ints, values: Floats) -> tuple[Ints, Floats]:
    distinct, places = np.unique(keys, return_inverse=True)
    return places, np.bincount(places, weights=values, minlength=len(distinct)).astype(np.float64)


def _positions(keys: Ints, wanted: Ints) -> Ints:
    places = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    if len(wanted) and (not len(keys) or np.any(keys[places] != wanted)):
        raise SolverError("the flow ends before its destination; it is not used, report it")
    return places
