"""Shared checks of routings, and Hypothesis strategies that draw fabrics and demands."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import strategies as st

from solver.demand import Demand
from solver.routing import Path, Routing
from topologies.fabric import Fabric, Link, Node, NodeKind

TOLERANCE = 1e-6
"""Relative to the largest demand or capacity: what a solver's arithmetic may leave over."""


def assert_conserves(routing: Routing) -> None:
    """At every node, what flows towards each destination enters, leaves or ends, and nothing is lost."""
    scale = max((demand.rate_bps for demand in routing.demands), default=1.0)
    flows = routing.flow_bps.toarray()
    if not flows.min(initial=0.0) >= 0:
        raise AssertionError("a flow is negative")
    for row, target in enumerate(routing.targets):
        balance: Counter[str] = Counter()
        for link, flow in zip(routing.fabric.links, flows[row], strict=True):
            balance[link.source] += flow
            balance[link.target] -= flow
        for demand, carried in zip(routing.demands, routing.carried_bps, strict=True):
            if demand.target == target:
                balance[demand.source] -= carried
                balance[target] += carried
        for node, surplus in balance.items():
            if abs(surplus) > TOLERANCE * scale:
                raise AssertionError(f"{surplus:g} bit/s towards {target} appear or vanish at {node}")


def assert_within_capacity(routing: Routing) -> None:
    """No link carries more than its allowed share."""
    allowed = routing.max_utilisation_allowed * routing.fabric.capacities_bps
    over = routing.loads_bps() > allowed * (1 + TOLERANCE)
    for index in np.flatnonzero(over):
        raise AssertionError(f"link {routing.fabric.links[int(index)].id} carries more than it is allowed to")


def assert_path(fabric: Fabric, path: Path, source: str, target: str) -> None:
    """The links exist, follow each other from source to target, and visit nothing twice and no other host."""
    visited = [source]
    for link_id in path:
        link = fabric.link_by_id[link_id]
        if link.source != visited[-1]:
            raise AssertionError(f"path {source} → {target} jumps to {link.id}")
        visited.append(link.target)
    if visited[-1] != target or len(set(visited)) != len(visited):
        raise AssertionError(f"path {source} → {target} visits {visited}")
    for node in visited[1:-1]:
        if fabric.node_by_id[node].kind is not NodeKind.SWITCH:
            raise AssertionError(f"path {source} → {target} leads through the host {node}")


def assert_single_paths_valid(routing: Routing) -> None:
    """Every demand has one path, and the flows are exactly the sum of the paths."""
    if routing.single_paths is None:
        raise AssertionError("the routing has no single paths")
    fabric = routing.fabric
    expected = np.zeros((len(routing.targets), len(fabric.links)))
    for demand, path, carried in zip(routing.demands, routing.single_paths, routing.carried_bps, strict=True):
        assert_path(fabric, path, demand.source, demand.target)
        for link in path:
            expected[routing.targets.index(demand.target), fabric.link_index[link]] += carried
    np.testing.assert_allclose(routing.flow_bps.toarray(), expected, rtol=1e-9)


@st.composite
def fabrics(draw: st.DrawFn, *, max_switches: int = 6, max_hosts: int = 6) -> Fabric:
    """Connected switches, sometimes with parallel cables, and 2 or more hosts on them; all cables duplex."""
    switches = draw(st.integers(1, max_switches))
    hosts = draw(st.integers(2, max_hosts))
    cables = [(f"s{draw(st.integers(1, new - 1))}", f"s{new}") for new in range(2, switches + 1)]
    if switches > 1:
        ends = st.lists(st.integers(1, switches), min_size=2, max_size=2, unique=True)
        cables += [(f"s{a}", f"s{b}") for a, b in draw(st.lists(ends, max_size=2 * switches))]
    cables += [(f"h{host}", f"s{draw(st.integers(1, switches))}") for host in range(1, hosts + 1)]
    nodes = [Node(f"s{n}", NodeKind.SWITCH, tier=1, dpid=n) for n in range(1, switches + 1)]
    nodes += [
        Node(f"h{n}", NodeKind.HOST, tier=0, ip=f"10.0.0.{n}", mac=f"02:00:00:00:00:{n:02x}")
        for n in range(1, hosts + 1)
    ]
    ports: Counter[str] = Counter()
    links: list[Link] = []
    for a, b in cables:
        ports.update((a, b))
        capacity_bps = draw(st.sampled_from((1e7, 2e7, 4e7)))
        delay_s = draw(st.sampled_from((0.0, 1e-6, 2e-6, 5e-6)))
        links.append(Link(a, ports[a], b, ports[b], capacity_bps, delay_s))
        links.append(Link(b, ports[b], a, ports[a], capacity_bps, delay_s))
    return Fabric(tuple(nodes), tuple(links))


@st.composite
def demands(draw: st.DrawFn, fabric: Fabric, *, max_demands: int = 8, max_rate_bps: int = 10**7) -> tuple[Demand, ...]:
    """Demands between hosts of the fabric; a pair may come more than once."""
    names = [host.id for host in fabric.hosts]
    pairs = st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True)
    rates = st.integers(1_000, max_rate_bps)
    drawn = draw(st.lists(st.tuples(pairs, rates), min_size=1, max_size=max_demands))
    return tuple(Demand(source, target, float(rate)) for (source, target), rate in drawn)
