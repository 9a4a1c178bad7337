"""What a fabric does without a solver: shortest paths and hashing, as routings to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from solver.demand import Demand
from solver.errors import Infeasible
from solver.instance import build
from solver.routing import Path, PathFlows, Routing, Status
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId
from topologies.shortest import next_hops


def shortest(fabric: Fabric, demands: Sequence[Demand]) -> Routing:
    """Every node sends by the lowest of its ports that lie on a hop-shortest path to the destination.

    This is what default routing of the kind ``shortest`` installs.

    Raises
    ------
    InputError
        No demands, or an unknown node.
    Infeasible
        A demand has no path.
    """
    return _routing(fabric, demands, None, "shortest", "lowest port among the hop-shortest next hops")


def ecmp(fabric: Fabric, demands: Sequence[Demand], seed: int) -> Routing:
    """Every demand is one flow, hashed at each hop on one of the equal-cost next hops.

    The hash is drawn afresh for each demand and hop: ideal, unpolarised ECMP.

    Parameters
    ----------
    seed : int
        Of the hash.

    Raises
    ------
    InputError
        No demands, or an unknown node.
    Infeasible
        A demand has no path.
    """
    return _routing(fabric, demands, np.random.default_rng(seed), "ecmp", f"hashed on equal-cost paths, seed {seed}")


def _routing(
    fabric: Fabric, demands: Sequence[Demand], random: np.random.Generator | None, engine: str, reason: str
) -> Routing:
    if not demands:
        raise InputError("there are no demands to route; give at least one")
    instance = build(fabric, demands)
    targets = tuple(dict.fromkeys(demand.target for demand in demands))
    hops = {target: next_hops(fabric, target) for target in targets}
    paths = [_walk(fabric, demand, hops[demand.target], random) for demand in demands]
    links = np.array([fabric.link_index[link] for path in paths for link in path], dtype=np.intp)
    starts = np.concatenate([[0], np.cumsum([len(path) for path in paths])])
    flows = PathFlows(np.arange(len(paths)), starts, links, instance.rates_bps)
    shape = (instance.targets, instance.links)
    flow = csr_array(
        (np.repeat(instance.rates_bps, np.diff(starts)), (np.repeat(instance.rows, np.diff(starts)), links)),
        shape=shape,
    )
    return Routing(
        fabric, tuple(demands), targets, flow, instance.rates_bps, Status.FEASIBLE, engine, reason, path_flows=flows
    )


def _walk(
    fabric: Fabric, demand: Demand, hops: dict[str, tuple[LinkId, ...]], random: np.random.Generator | None
) -> Path:
    node, path = demand.source, list[LinkId]()
    while node != demand.target:
        options = hops.get(node)
        if not options:
            raise Infeasible((), 0.0, demand.rate_bps, pair=(demand.source, demand.target))
        link = options[0] if random is None else options[int(random.integers(len(options)))]
        path.append(link)
        node = fabric.link_by_id[link].target
    return tuple(path)
