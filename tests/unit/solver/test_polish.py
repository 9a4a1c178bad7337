"""A solver's flow is made exact: no rings, nothing lost, every source served."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from solver.demand import Demand
from solver.engines.growth import least_utilisation
from solver.errors import SolverError
from solver.instance import build
from solver.polish import polished, without_cycles
from solver.testing import demands, fabrics
from solver.trunk import reduce
from solver.watch import Watch
from topologies.fabric import Fabric, Link, Node, NodeKind


def square():
    """a → b → d, a → c → d, and b ⇄ c."""
    nodes = tuple(Node(name, NodeKind.SWITCH) for name in "abcd")
    ends = ("ab", "bd", "ac", "cd", "bc", "cb")
    links = tuple(Link(a, port, b, port, 10.0, 1.0) for port, (a, b) in enumerate(ends, start=1))
    return build(Fabric(nodes, links), [Demand("a", "d", 8.0)])


def test_a_ring_is_taken_out_and_the_split_stays():
    flow = polished(square(), csr_array([[6.0, 6.0, 2.0, 2.0, 3.0, 3.0]]))
    assert flow.toarray()[0] == pytest.approx([6, 6, 2, 2, 0, 0])


def test_what_rounding_lost_comes_back_and_what_it_left_over_goes():
    flow = polished(square(), csr_array([[6.0 - 1e-7, 6.0 + 1e-7, 2.0, 2.0, 1e-9, 0.0]]))
    assert flow.toarray()[0, [0, 2]].sum() == pytest.approx(8.0, rel=1e-15)
    assert flow.toarray()[0, 4:].tolist() == [0.0, 0.0]


def test_a_demand_that_the_tolerance_swallowed_takes_the_shortest_way():
    instance = build(
        Fabric(tuple(Node(n, NodeKind.SWITCH) for n in "abc"), tuple(
            Link(a, port, b, port, 1e9, 1.0) for port, (a, b) in enumerate(("ab", "bc"), start=1)
        )),
        [Demand("b", "c", 1e9), Demand("a", "c", 1e-3)],
    )  # fmt: skip
    flow = polished(instance, csr_array([[0.0, 1e9]]))
    assert flow.toarray()[0] == pytest.approx([1e-3, 1e9 + 1e-3])


def test_a_flow_that_leads_nowhere_is_an_error_or_replaced():
    flow = polished(square(), csr_array([[8.0, 0.0, 0.0, 0.0, 0.0, 0.0]]))
    assert flow.toarray()[0].sum() == pytest.approx(16.0)
    back = Fabric(tuple(Node(name, NodeKind.SWITCH) for name in "ab"), (Link("b", 1, "a", 1, 1.0, 1.0),))
    with pytest.raises(SolverError, match="without a path"):
        polished(build(back, [Demand("a", "b", 1.0)]), csr_array((1, 1)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_noise_of_a_solver_leaves_an_exact_flow_without_rings(data):
    fabric = data.draw(fabrics())
    instance = reduce(build(fabric, data.draw(demands(fabric)))).instance
    if not instance.targets:
        return
    flow = least_utilisation(instance, instance.allowed_bps, Watch()).flow_bps.toarray()
    noise = np.random.default_rng(data.draw(st.integers(0, 99))).random(flow.shape)
    away = instance.tails[None, :] != instance.target_vertices[:, None]
    exact = polished(instance, csr_array((flow + 1e-7 * flow.max() * noise) * away))
    for row in range(instance.targets):
        used = exact.toarray()[row]
        balance = np.zeros(instance.vertices)
        np.add.at(balance, instance.tails, used)
        np.add.at(balance, instance.heads, -used)
        mine = instance.rows == row
        np.add.at(balance, instance.origins[mine], -instance.rates_bps[mine])
        balance[instance.target_vertices[row]] += instance.rates_bps[mine].sum()
        assert np.abs(balance).max() <= 1e-12 * instance.rates_bps.sum()
        links = np.flatnonzero(used)
        ends = (instance.tails[links], instance.heads[links])
        graph = csr_array((np.ones(len(links)), ends), shape=(instance.vertices,) * 2)
        assert connected_components(graph, directed=True, connection="strong")[0] == instance.vertices
    assert (without_cycles(instance, exact) != exact).nnz == 0
