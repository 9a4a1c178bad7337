"""Paths out of flows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from solver.cycles import cancel_cycles
from solver.decompose import all_paths, paths
from solver.demand import Demand
from solver.errors import SolverError
from solver.routing import Objective, PathFlow, Routing, Status
from solver.solve import solve
from solver.testing import assert_path, demands, fabrics
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_paths_of_all_demands_add_up_to_what_is_carried_and_stay_within_the_flows(data):
    fabric = data.draw(fabrics())
    routing = solve(fabric, data.draw(demands(fabric)), Objective.MAX_CONCURRENT_FLOW)
    largest = max(demand.rate_bps for demand in routing.demands)
    loads = np.zeros(len(fabric.links))
    for demand, carried, found in zip(routing.demands, routing.carried_bps, all_paths(routing), strict=True):
        assert sum(path.rate_bps for path in found) == pytest.approx(carried)
        for path in found:
            assert_path(fabric, path.links, demand.source, demand.target)
            loads[[fabric.link_index[link] for link in path.links]] += path.rate_bps
    assert np.all(loads <= routing.loads_bps() + 1e-6 * largest)


def test_a_demand_asked_for_alone_gets_the_same_paths():
    fabric = fat_tree(4, capacity_bps=1e7)
    routing = solve(fabric, [Demand("h1", "h16", 9e6), Demand("h2", "h16", 1e6), Demand("h3", "h15", 9e6)])
    assert all_paths(routing) == tuple(paths(routing, index) for index in range(3))


def test_a_single_path_routing_hands_out_its_paths():
    fabric = fat_tree(4, capacity_bps=1e7)
    routing = solve(fabric, [Demand("h1", "h16", 9e6)], single_path=True)
    assert paths(routing, 0) == (PathFlow(routing.single_paths[0], 9e6),)
    assert all_paths(routing) == (paths(routing, 0),)


def _triangle(flow):
    nodes = tuple(Node(name, NodeKind.SWITCH) for name in "abc")
    links = tuple(Link(a, port, b, port, 10.0, 1.0) for port, (a, b) in enumerate(("ab", "bc", "ca", "ac"), start=1))
    return Routing(
        Fabric(nodes, links), (Demand("a", "b", 2.0),), ("b",), csr_array([flow]), np.array([2.0]),
        Status.FEASIBLE, "by hand", "",
    )  # fmt: skip


def test_a_circulation_is_left_out():
    routing = _triangle([5.0, 3.0, 3.0, 0.0])
    assert [path.rate_bps for path in paths(routing, 0)] == [2.0]
    assert cancel_cycles({0: 5.0, 1: 3.0, 2: 3.0}, [0, 1, 2, 0], [1, 2, 0, 2]) == {0: 2.0}


def test_flows_that_do_not_arrive_are_an_error():
    with pytest.raises(SolverError, match="the flow from vertex 0 to 1 ends at 2"):
        paths(_triangle([0.0, 0.0, 0.0, 2.0]), 0)
