"""From a fractional routing to one path per demand, held against the fractional bound."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from solver.backends import Backend
from solver.candidates import Candidates, Links
from solver.certificate import certify
from solver.decompose import all_paths
from solver.errors import SolverError
from solver.network import Floats, Network
from solver.routing import Objective, Routing, Status
from solver.single_path import Choice, choose, integral_bound

_MARGIN = 1e-6
_MOST_PATHS = 256
"""Candidates per demand: all shortest paths of a fat-tree up to k=32."""
_EXTRA_HOPS = 2
_MOST_LONGER_PATHS = 64


def choose_paths(
    network: Network,
    rates_bps: Floats,
    delays_s: Floats,
    fractional: tuple[tuple[Links, ...], ...],
    bound: float,
    *,
    backend: Backend,
    seed: int,
) -> tuple[Choice, float]:
    """One path per demand, with the least utilisation of the worst link.

    The choice is among all shortest paths; where these leave the worst link above the bound, those of
    the fractional routing come in, then all slightly longer ones.

    Parameters
    ----------
    rates_bps : array, shape (demands,)
    fractional : per demand, the paths of a fractional routing
    bound : float
        Utilisation of the worst link that no fractional routing can go below.

    Returns
    -------
    tuple of Choice and float
        The choice, and the bound for whole demands.
    """
    capacities = network.fabric.capacities_bps
    least = integral_bound(bound, rates_bps, capacities)
    walks = Candidates(network, delays_s, limit=_MOST_PATHS, seed=seed)
    detours = Candidates(network, delays_s, limit=_MOST_LONGER_PATHS, seed=seed)
    options: list[list[Links]] = [[] for _ in network.demands]
    best: Choice | None = None
    for more in (
        [walks.shortest(demand.source, demand.target) for demand in network.demands],
        fractional,
        (detours.longer(demand.source, demand.target, _EXTRA_HOPS) for demand in network.demands),
    ):
        wider = [sorted({*known, *new}) for known, new in zip(options, more, strict=True)]
        if wider == options:
            continue
        options = wider
        choice = choose(options, rates_bps, capacities, least, backend=backend, seed=seed)
        if best is None or choice.worst < best.worst * (1 - _MARGIN):
            best = choice
        if best.worst <= least * (1 + _MARGIN):
            break
    if best is None:
        raise SolverError("there are no demands to choose paths for; give at least one")
    return best, least


def path_indices(routing: Routing) -> tuple[tuple[Links, ...], ...]:
    """The paths that a routing decomposes into, as link indices, per demand."""
    index = routing.fabric.link_index
    return tuple(tuple(tuple(index[link] for link in path.links) for path in paths) for paths in all_paths(routing))


def one_path_each(routing: Routing, *, backend: Backend = Backend.HIGHS, seed: int = 0) -> Routing:
    """Turn a certified fractional routing into one path per demand, against the same bound.

    Parameters
    ----------
    routing : Routing
        With its certificate; its prices prove the bound of the result too.
    backend : Backend
        For the mixed-integer program, where one is needed.
    seed : int
        Of the search.

    Raises
    ------
    SolverError
        No choice of paths was found that stays within capacity.
    """
    begun = time.perf_counter()
    if routing.certificate is None:
        raise SolverError("a baseline has no bound to compare single paths with; solve the demands instead")
    fabric, demands, objective = routing.fabric, routing.demands, routing.certificate.objective
    network = Network.build(fabric, demands)
    rates = np.array([demand.rate_bps for demand in demands])
    known = all(link.delay_s is not None for link in fabric.links)
    delays = fabric.delays_s if known else np.ones(len(fabric.links))
    # Least delay only has to fit; the other objectives are the worst link itself, or its reciprocal.
    allowed = routing.max_utilisation_allowed
    if objective is Objective.MIN_DELAY:
        bound = allowed
    elif objective is Objective.MAX_CONCURRENT_FLOW:
        bound = allowed / routing.certificate.bound
    else:
        bound = routing.certificate.bound
    choice, _ = choose_paths(network, rates, delays, path_indices(routing), bound, backend=backend, seed=seed)
    share = allowed / choice.worst if objective is Objective.MAX_CONCURRENT_FLOW else 1.0
    if share * choice.worst > allowed * (1 + _MARGIN):
        raise SolverError(
            f"no single path per demand was found within capacity (worst link at {choice.worst:.4g} of its capacity, "
            f"allowed {allowed:g}); let demands split, or ask for less"
        )
    carried = rates * share
    flow = sum_of(network, choice.paths, carried)
    ids = tuple(tuple(fabric.links[link].id for link in path) for path in choice.paths)
    solved = time.perf_counter()
    proof = certify(
        fabric, demands, routing.targets, flow, carried, routing.certificate.prices,
        objective=objective, max_utilisation=allowed, single_paths=ids,
    )  # fmt: skip
    seconds = replace(
        routing.seconds,
        solve=routing.seconds.solve + solved - begun,
        certify=routing.seconds.certify + time.perf_counter() - solved,
    )
    return replace(
        routing, flow_bps=flow, carried_bps=carried, single_paths=ids, certificate=proof, seconds=seconds,
        status=Status.OPTIMAL if proof.gap <= _MARGIN else Status.FEASIBLE,
        reason=f"{routing.reason}; single paths by {choice.method}",
    )  # fmt: skip


def sum_of(network: Network, paths: tuple[Links, ...], rates_bps: Floats) -> csr_array[np.float64, tuple[int, int]]:
    """Flow towards each destination on each link when every demand takes its one path."""
    row_of = {target: row for row, target in enumerate(network.targets)}
    lengths = [len(path) for path in paths]
    rows = np.repeat([row_of[demand.target] for demand in network.demands], lengths)
    links = np.concatenate([np.array(path, dtype=np.intp) for path in paths])
    shape = (len(network.targets), len(network.tails))
    summed = csr_array((np.repeat(rates_bps, lengths), (rows, links)), shape=shape)
    summed.sum_duplicates()
    return summed
