"""The independent check: recomputes what a routing does, and what its prices prove, from nothing but the flows.

It shares no code with the models or the engines. A routing that breaks a capacity, loses or invents
traffic, sends it through a host, or is "better" than its own bound is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solver.demand import Demand
from solver.distance import Allowed, demand_distances
from solver.errors import CertificateError
from solver.proof import fair_levels, queueing_bound, queueing_cost, share_bound
from solver.routing import Certificate, Level, Objective, PathFlows
from topologies.fabric import Fabric

TOLERANCE = 1e-6
"""Largest violation and largest contradiction between value and bound that arithmetic explains."""

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Flow = csr_array[np.float64, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Claim:
    """What a routing says that it does, and the prices that it shows for it.

    Attributes
    ----------
    targets, flow_bps, carried_bps, path_flows
        As in `Routing`.
    prices : array, shape (links,)
        Seconds for least delay, 1/(bit/s) for queueing, any scale for shares and utilisations (they come
        back normalised); unused for max-min fairness.
    level_prices : sequence of array, shape (links,)
        For max-min fairness: the prices of each level's full cut, lowest level first.
    single_path : bool
        Whether one path for each demand was asked for: then fair rates are fair on the paths taken.
    """

    targets: Sequence[str]
    flow_bps: Flow
    carried_bps: Floats
    prices: Floats
    path_flows: PathFlows | None = None
    level_prices: Sequence[Floats] = ()
    single_path: bool = False


def certify(
    fabric: Fabric,
    demands: Sequence[Demand],
    claim: Claim,
    *,
    objective: Objective,
    max_utilisation: float = 1.0,
    allowed: Allowed | None = None,
) -> Certificate:
    """Check flows and prices, and compute value and bound from them.

    Weak duality gives the bounds, for any prices ``y >= 0``, whatever found them; ``dist_w`` is the
    shortest distance under link weights ``w``, hosts never in between, over the allowed paths:

    - least delay: ``sum_k r_k dist_{d+y}(s_k, t_k) - sum_e u c_e y_e`` from below,
    - least maximum utilisation: ``sum_k r_k dist_y(s_k, t_k) / sum_e c_e y_e`` from below,
    - largest share: ``sum_e u c_e y_e / sum_k r_k dist_y(s_k, t_k)`` from above,
    - queueing: ``sum_k r_k dist_y(s_k, t_k) - sum_e max_f (y_e f - cost_e(f))`` from below,
    - max-min fairness: the bound of the share at each level, what lower levels carry taken as given.

    Parameters
    ----------
    allowed : Allowed or None
        The paths that demands may take; None for all.

    Raises
    ------
    CertificateError
        The flows do not do what they claim, or the prices prove nothing.

    References
    ----------
    Ahuja, Magnanti and Orlin, "Network Flows", 1993, section 17.2; Shahrokhi and Matula, "The maximum
    concurrent flow problem", JACM 37(2), 1990; Fortz and Thorup, INFOCOM 2000; Nace and Pioro, "Max-min
    fairness and its applications to routing and load-balancing", IEEE Comm. Surveys 10(4), 2008.
    """
    _refuse_malformed(fabric, demands, claim)
    sources, targets = _ends(fabric, demands)
    rates = np.array([demand.rate_bps for demand in demands], dtype=np.float64)
    # Fair shares stop at what was asked for; the largest common share may be more.
    uncapped = [demand.rate_bps if objective is Objective.MAX_MIN_FAIR else np.inf for demand in demands]
    caps = np.array(
        [free if demand.cap_bps is None else demand.cap_bps for free, demand in zip(uncapped, demands, strict=True)]
    )
    limits = fabric.capacities_bps * max_utilisation
    loads = np.asarray(claim.flow_bps.sum(axis=0), dtype=np.float64).ravel()
    # Paths first: what is wrong with one says more than what it does to the flows.
    if claim.path_flows is not None:
        _check_paths(fabric, demands, claim, claim.path_flows, sources, targets)
        if allowed is not None:
            allowed.check(fabric, demands, claim.path_flows)
    elif allowed is not None:
        raise CertificateError("paths were prescribed and the routing shows none; it is not used, report it")
    imbalance = _imbalance(fabric, claim, sources, targets)
    # The least maximum utilisation is an answer above 1 too: how much the worst link is asked for.
    free = objective is Objective.MIN_MAX_UTILISATION
    overload = 0.0 if free else float(((loads - limits) / limits).max(initial=0.0))
    violation = max(imbalance, overload)
    if imbalance > TOLERANCE:
        raise CertificateError(
            f"the routing loses or invents {100 * imbalance:.4g} % of what a destination gets; it is not used"
        )
    if overload > TOLERANCE:
        raise CertificateError(
            f"the routing overloads a link by {100 * overload:.4g} % of what it may carry; it is not used, report it"
        )
    wanted = np.minimum(rates, caps)
    if objective.may_carry_less:
        if np.any(claim.carried_bps > caps * (1 + TOLERANCE)):
            raise CertificateError("the routing carries more than a demand's cap; it is not used, report it")
    elif np.any(np.abs(claim.carried_bps - wanted) > TOLERANCE * wanted):
        raise CertificateError("the routing does not carry all demands; it is not used, report it")

    def distances(weights: Floats) -> Floats:
        return demand_distances(fabric, sources, targets, weights, allowed)

    prices = claim.prices
    levels: tuple[Level, ...] = ()
    if objective is Objective.MIN_DELAY:
        value = float(loads @ fabric.delays_s)
        bound = float(wanted @ distances(fabric.delays_s + prices)) - float(limits @ prices)
    elif objective is Objective.MIN_MAX_UTILISATION:
        value = float((loads / fabric.capacities_bps).max(initial=0.0))
        total = float(fabric.capacities_bps @ prices)
        prices = prices / total if total > 0 else prices
        bound = float(wanted @ distances(prices))
    elif objective is Objective.MIN_QUEUEING_DELAY:
        value = queueing_cost(loads, fabric.capacities_bps)
        bound = float(wanted @ distances(prices)) - queueing_bound(prices, fabric.capacities_bps, limits)
    elif objective is Objective.MAX_CONCURRENT_FLOW:
        open_ = claim.carried_bps < caps * (1 - TOLERANCE)
        ratios = claim.carried_bps / rates
        value = float(ratios[open_].min() if open_.any() else ratios.max())
        away = distances(prices)
        total = float(rates @ away)
        bound = share_bound(float(limits @ prices), rates, caps, away)
        prices = prices / total if total > 0 else prices
    else:
        own = _own_paths(claim.path_flows, len(demands)) if claim.single_path else None
        levels = fair_levels(rates, caps, claim.carried_bps, limits, claim.level_prices, own or distances, TOLERANCE)
        value, bound = levels[0].ratio, levels[0].bound
        if own is not None:
            # Fair on these paths; what other paths could give the least of the demands is another question.
            bound = share_bound(float(limits @ prices), rates, caps, distances(prices))
        else:
            prices = levels[0].prices
    if not (np.isfinite(value) and np.isfinite(bound)):
        raise CertificateError(f"value {value} and bound {bound} prove nothing; the routing is not used, report it")
    pairs = [(value, bound), *((level.ratio, level.bound) for level in levels)]
    for ours, best in pairs:
        too_good = ours - best if objective.may_carry_less else best - ours
        if too_good > 10 * TOLERANCE * max(abs(ours), abs(best)):
            raise CertificateError(f"value {ours:.9g} is better than its bound {best:.9g}; it is not used, report it")
    return Certificate(objective, value, bound, max(_gap(*pair) for pair in pairs), violation, prices, levels)


def _own_paths(paths: PathFlows | None, demands: int) -> Callable[[Floats], Floats] | None:
    """From weights to the length of each demand's path, where each has exactly one."""
    if paths is None or not np.array_equal(paths.owners, np.arange(demands)):
        return None
    return lambda weights: np.add.reduceat(weights[paths.links], paths.starts[:-1])


def _gap(value: float, bound: float) -> float:
    largest = max(abs(value), abs(bound))
    return abs(value - bound) / largest if largest > 0 else 0.0


def _ends(fabric: Fabric, demands: Sequence[Demand]) -> tuple[Ints, Ints]:
    number = {node.id: place for place, node in enumerate(fabric.nodes)}
    sources = np.array([number[demand.source] for demand in demands], dtype=np.intp)
    return sources, np.array([number[demand.target] for demand in demands], dtype=np.intp)


def _refuse_malformed(fabric: Fabric, demands: Sequence[Demand], claim: Claim) -> None:
    links = len(fabric.links)
    shapes = (claim.flow_bps.shape, claim.carried_bps.shape, claim.prices.shape)
    if shapes != ((len(claim.targets), links), (len(demands),), (links,)):
        raise CertificateError("flows, carried rates or prices have the wrong shape; report it")
    distinct = set(claim.targets)
    if distinct != {demand.target for demand in demands} or len(distinct) != len(claim.targets):
        raise CertificateError("the routing's destinations are not those of the demands; report it")
    given = [("flow", claim.flow_bps.data), ("carried rate", claim.carried_bps), ("price", claim.prices)]
    given += [("price", prices) for prices in claim.level_prices]
    for name, values in given:
        if not np.all(np.isfinite(values)) or np.any(values < 0):
            raise CertificateError(f"a {name} is negative or not a number; the routing is not used, report it")


def _imbalance(fabric: Fabric, claim: Claim, sources: Ints, targets: Ints) -> float:
    """The most that appears or vanishes anywhere, or that enters a host which is not its destination.

    Relative to all that goes to that destination.
    """
    number = {node.id: place for place, node in enumerate(fabric.nodes)}
    nodes, links = len(fabric.nodes), len(fabric.links)
    goals = np.array([number[target] for target in claim.targets], dtype=np.intp)
    row_at = np.full(nodes, -1, dtype=np.intp)
    row_at[goals] = np.arange(len(goals))
    starts, ends = fabric.ends
    every, ones = np.arange(links), np.ones(links)
    flow = claim.flow_bps.tocsr()
    # What leaves a node counts for it, what enters against; demands and destinations settle it to 0 everywhere.
    incidence = csr_array(
        (np.concatenate([ones, -ones]), (np.concatenate([every, every]), np.concatenate([starts, ends]))),
        shape=(links, nodes),
    )
    rows = row_at[targets]
    settled = csr_array(
        (
            np.concatenate([claim.carried_bps, -claim.carried_bps]),
            (np.tile(rows, 2), np.concatenate([sources, targets])),
        ),
        shape=(len(goals), nodes),
    )
    totals = np.bincount(rows, weights=claim.carried_bps, minlength=len(goals)).astype(np.float64)
    surplus = _largest_part(abs(flow @ incidence - settled), totals)
    doors = np.flatnonzero(fabric.is_host[ends])
    entered = (flow @ csr_array((ones[doors], (doors, ends[doors])), shape=(links, nodes))).tocoo()
    strays = entered.coords[1] != goals[entered.coords[0]]
    stray = entered.data[strays] / np.maximum(totals[entered.coords[0][strays]], 1e-300)
    return max(surplus, float(stray.max(initial=0.0)))


def _largest_part(amounts: Flow, totals: Floats) -> float:
    """The largest entry, relative to what its row's destination gets."""
    rows = amounts.tocsr()
    of_row = np.repeat(np.maximum(totals, 1e-300), np.diff(rows.indptr))
    return float((rows.data / of_row).max(initial=0.0))


def _check_paths(
    fabric: Fabric,
    demands: Sequence[Demand],
    claim: Claim,
    paths: PathFlows,
    sources: Ints,
    targets: Ints,
) -> None:
    lengths = np.diff(paths.starts)
    owners, links = paths.owners, paths.links
    if (
        paths.starts[0] != 0 or paths.starts[-1] != len(links) or np.any(lengths < 1)
        or len(owners) != len(lengths) or len(paths.rates_bps) != len(lengths)
        or np.any((links < 0) | (links >= len(fabric.links))) or np.any((owners < 0) | (owners >= len(demands)))
    ):  # fmt: skip
        raise CertificateError("the paths are malformed; report it")
    if not np.all(np.isfinite(paths.rates_bps)) or np.any(paths.rates_bps < 0):
        raise CertificateError("a path's rate is negative or not a number; the routing is not used, report it")
    begins, ends = fabric.ends[0][links], fabric.ends[1][links]
    first, last = paths.starts[:-1], paths.starts[1:] - 1
    joined = np.ones(len(links), dtype=bool)
    joined[1:] = begins[1:] == ends[:-1]
    joined[first] = begins[first] == sources[owners]
    of_link = np.repeat(np.arange(len(lengths)), lengths)
    for place in np.flatnonzero(~joined)[:1].tolist():
        demand = demands[int(owners[of_link[place]])]
        step = fabric.links[int(links[place])].id
        raise CertificateError(f"the path of {demand.source} → {demand.target} breaks at {step}; report it")
    for path in np.flatnonzero(ends[last] != targets[owners])[:1].tolist():
        demand, here = demands[int(owners[path])], fabric.nodes[int(ends[last[path]])].id
        raise CertificateError(f"the path of {demand.source} → {demand.target} ends at {here}; report it")
    nodes = len(fabric.nodes)
    visits = np.sort(np.concatenate([of_link * nodes + ends, np.arange(len(lengths)) * nodes + sources[owners]]))
    for twice in visits[1:][visits[1:] == visits[:-1]][:1].tolist():
        demand = demands[int(owners[twice // len(fabric.nodes)])]
        node = fabric.nodes[twice % len(fabric.nodes)].id
        raise CertificateError(f"the path of {demand.source} → {demand.target} visits {node} twice; report it")
    rows = {target: row for row, target in enumerate(claim.targets)}
    row_of = np.array([rows[demand.target] for demand in demands], dtype=np.intp)
    spread = csr_array(
        (np.repeat(paths.rates_bps, lengths), (row_of[owners][of_link], links)), shape=claim.flow_bps.shape
    )
    totals = np.bincount(row_of, weights=claim.carried_bps, minlength=len(claim.targets)).astype(np.float64)
    if _largest_part(abs(spread - claim.flow_bps), totals) > TOLERANCE:
        raise CertificateError("the flows are not the sum of the paths; the routing is not used, report it")
    carried = np.bincount(owners, weights=paths.rates_bps, minlength=len(demands))
    if np.any(np.abs(carried - claim.carried_bps) > TOLERANCE * claim.carried_bps):
        raise CertificateError("the paths do not add up to what is carried; the routing is not used, report it")
