"""The independent check: recomputes what a routing does, and what its prices prove, from nothing but the flows.

It shares no code with the models or the engines. A routing that breaks a capacity, loses or invents
traffic, sends it through a host, or is "better" than its own bound is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from solver.demand import Demand
from solver.errors import CertificateError
from solver.routing import Certificate, Objective, Path
from topologies.fabric import Fabric, NodeKind

TOLERANCE = 1e-6
"""Largest violation and largest contradiction between value and bound that arithmetic explains."""

Floats = NDArray[np.float64]


def certify(
    fabric: Fabric,
    demands: Sequence[Demand],
    targets: Sequence[str],
    flow_bps: csr_array[np.float64, tuple[int, int]],
    carried_bps: Floats,
    prices: Floats,
    *,
    objective: Objective,
    max_utilisation: float = 1.0,
    single_paths: Sequence[Path] | None = None,
) -> Certificate:
    """Check flows and prices, and compute value and bound from them.

    Weak duality gives the bounds, for any prices ``y >= 0``, whatever found them; ``dist_w`` is the
    shortest distance under link weights ``w``, hosts never in between:

    - least delay: ``sum_k r_k dist_{d+y}(s_k, t_k) - sum_e u c_e y_e`` from below,
    - least maximum utilisation: ``sum_k r_k dist_y(s_k, t_k) / sum_e c_e y_e`` from below,
    - largest share: ``sum_e u c_e y_e / sum_k r_k dist_y(s_k, t_k)`` from above.

    Parameters
    ----------
    targets, flow_bps, carried_bps, single_paths
        As in `Routing`.
    prices : array, shape (links,)
        Any scale for the last two objectives (they come back normalised); seconds for least delay.

    Returns
    -------
    Certificate

    Raises
    ------
    CertificateError
        The flows do not do what they claim, or the prices prove nothing.

    References
    ----------
    Ahuja, Magnanti and Orlin, "Network Flows", 1993, section 17.2; Shahrokhi and Matula, "The maximum
    concurrent flow problem", JACM 37(2), 1990.
    """
    _refuse_malformed(fabric, demands, targets, flow_bps, carried_bps, prices)
    largest = max((demand.rate_bps for demand in demands), default=1.0)
    allowed = fabric.capacities_bps * max_utilisation
    loads = np.asarray(flow_bps.sum(axis=0), dtype=np.float64).ravel()
    imbalance = _imbalance(fabric, demands, targets, flow_bps, carried_bps)
    overload = float(np.maximum(loads - allowed, 0.0).max(initial=0.0))
    violation = max(imbalance, overload) / largest
    if violation > TOLERANCE:
        what = "loses or invents" if imbalance >= overload else "overloads a link by"
        raise CertificateError(f"the routing {what} {violation * largest:.6g} bit/s; it is not used, report it")
    if single_paths is not None:
        _check_paths(fabric, demands, targets, flow_bps, carried_bps, single_paths, TOLERANCE * largest)
    rates = np.array([demand.rate_bps for demand in demands], dtype=np.float64)
    if objective is not Objective.MAX_CONCURRENT_FLOW and np.any(np.abs(carried_bps - rates) > TOLERANCE * rates):
        raise CertificateError("the routing does not carry all demands; it is not used, report it")
    value, bound, scaled = _value_and_bound(fabric, demands, targets, loads, carried_bps, prices, objective, allowed)
    if not (np.isfinite(value) and np.isfinite(bound)):
        raise CertificateError(f"value {value} and bound {bound} prove nothing; the routing is not used, report it")
    largest_of_both = max(abs(value), abs(bound))
    gap = abs(value - bound) / largest_of_both if largest_of_both > 0 else 0.0
    too_good = value - bound if objective is Objective.MAX_CONCURRENT_FLOW else bound - value
    if too_good > 10 * TOLERANCE * largest_of_both:
        raise CertificateError(f"value {value:.9g} is better than its bound {bound:.9g}; it is not used, report it")
    return Certificate(objective, value, bound, gap, violation, scaled)


def _refuse_malformed(
    fabric: Fabric,
    demands: Sequence[Demand],
    targets: Sequence[str],
    flow_bps: csr_array[np.float64, tuple[int, int]],
    carried_bps: Floats,
    prices: Floats,
) -> None:
    links = len(fabric.links)
    if flow_bps.shape != (len(targets), links) or carried_bps.shape != (len(demands),) or prices.shape != (links,):
        raise CertificateError("flows, carried rates or prices have the wrong shape; report it")
    if set(targets) != {demand.target for demand in demands} or len(set(targets)) != len(targets):
        raise CertificateError("the routing's destinations are not those of the demands; report it")
    for name, values in (("flow", flow_bps.data), ("carried rate", carried_bps), ("price", prices)):
        if not np.all(np.isfinite(values)) or np.any(values < 0):
            raise CertificateError(f"a {name} is negative or not a number; the routing is not used, report it")


def _imbalance(
    fabric: Fabric,
    demands: Sequence[Demand],
    targets: Sequence[str],
    flow_bps: csr_array[np.float64, tuple[int, int]],
    carried_bps: Floats,
) -> float:
    """The most that appears or vanishes anywhere, or that enters a host which is not its destination, bit/s."""
    index = {node.id: number for number, node in enumerate(fabric.nodes)}
    row_of = {target: row for row, target in enumerate(targets)}
    is_host = np.array([node.kind is NodeKind.HOST for node in fabric.nodes], dtype=bool)
    starts = np.array([index[link.source] for link in fabric.links], dtype=np.intp)
    ends = np.array([index[link.target] for link in fabric.links], dtype=np.intp)
    worst = 0.0
    entries = flow_bps.tocsr()
    offered = np.zeros((len(targets), len(fabric.nodes)))
    for demand, carried in zip(demands, carried_bps.tolist(), strict=True):
        offered[row_of[demand.target], index[demand.source]] += carried
    for row, target in enumerate(targets):
        begin, end = entries.indptr[row], entries.indptr[row + 1]
        links, flows = entries.indices[begin:end], entries.data[begin:end]
        out = np.bincount(starts[links], weights=flows, minlength=len(fabric.nodes))
        into = np.bincount(ends[links], weights=flows, minlength=len(fabric.nodes))
        surplus = out - into - offered[row]
        goal = index[target]
        surplus[goal] += offered[row].sum()
        strangers = is_host.copy()
        strangers[goal] = False
        worst = max(worst, float(np.abs(surplus).max(initial=0.0)), float(into[strangers].max(initial=0.0)))
    return worst


def _check_paths(
    fabric: Fabric,
    demands: Sequence[Demand],
    targets: Sequence[str],
    flow_bps: csr_array[np.float64, tuple[int, int]],
    carried_bps: Floats,
    paths: Sequence[Path],
    tolerance_bps: float,
) -> None:
    position = {link.id: number for number, link in enumerate(fabric.links)}
    if len(paths) != len(demands):
        raise CertificateError(f"{len(paths)} paths are given for {len(demands)} demands; report it")
    rows: list[int] = []
    columns: list[int] = []
    rates: list[float] = []
    for demand, path, carried in zip(demands, paths, carried_bps.tolist(), strict=True):
        here = demand.source
        for step in path:
            number = position.get(step)
            if number is None or fabric.links[number].source != here:
                raise CertificateError(f"the path of {demand.source} → {demand.target} breaks at {step}; report it")
            here = fabric.links[number].target
            rows.append(targets.index(demand.target))
            columns.append(number)
            rates.append(carried)
        if here != demand.target:
            raise CertificateError(f"the path of {demand.source} → {demand.target} ends at {here}; report it")
    summed = csr_array((rates, (rows, columns)), shape=flow_bps.shape)
    difference = abs(summed - flow_bps)
    if difference.nnz and float(difference.max()) > tolerance_bps:
        raise CertificateError("the flows are not the sum of the paths; the routing is not used, report it")


def _value_and_bound(
    fabric: Fabric,
    demands: Sequence[Demand],
    targets: Sequence[str],
    loads: Floats,
    carried_bps: Floats,
    prices: Floats,
    objective: Objective,
    allowed: Floats,
) -> tuple[float, float, Floats]:
    if objective is Objective.MIN_DELAY:
        lengths = _lengths(fabric, demands, targets, fabric.delays_s + prices)
        return float(loads @ fabric.delays_s), lengths - float(allowed @ prices), prices
    lengths = _lengths(fabric, demands, targets, prices)
    if objective is Objective.MIN_MAX_UTILISATION:
        total = float(fabric.capacities_bps @ prices)
        scaled = prices / total if total > 0 else prices
        value = float((loads / fabric.capacities_bps).max(initial=0.0))
        return value, lengths / total if total > 0 else 0.0, scaled
    share = min((carried / demand.rate_bps for demand, carried in zip(demands, carried_bps.tolist(), strict=True)))
    bound = float(allowed @ prices) / lengths if lengths > 0 else float("inf")
    return float(share), bound, prices / lengths if lengths > 0 else prices


def _lengths(fabric: Fabric, demands: Sequence[Demand], targets: Sequence[str], weights: Floats) -> float:
    """``sum_k r_k dist_w(s_k, t_k)``: one Dijkstra per destination, backwards from it."""
    if not demands:
        return 0.0
    # A host is two vertices: packets leave from ``name`` and arrive at ``name, None``, and cannot cross.
    arrive: dict[str, int] = {}
    leave: dict[str, int] = {}
    for number, node in enumerate(fabric.nodes):
        leave[node.id] = number
        arrive[node.id] = number if node.kind is NodeKind.SWITCH else len(fabric.nodes) + number
    lightest: dict[tuple[int, int], float] = {}
    for link, weight in zip(fabric.links, weights.tolist(), strict=True):
        pair = (arrive[link.target], leave[link.source])
        lightest[pair] = min(weight, lightest.get(pair, np.inf))
    ends = np.array(list(lightest), dtype=np.intp).reshape(-1, 2)
    size = 2 * len(fabric.nodes)
    graph = csr_array((np.array(list(lightest.values())), (ends[:, 0], ends[:, 1])), shape=(size, size))
    away = np.asarray(dijkstra(graph, indices=[arrive[target] for target in targets]))
    row_of = {target: row for row, target in enumerate(targets)}
    return float(sum(demand.rate_bps * away[row_of[demand.target], leave[demand.source]] for demand in demands))
