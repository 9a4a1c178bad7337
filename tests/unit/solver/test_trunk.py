"""Taking the cables of single-homed hosts off changes no question, and the way back is exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.demand import Demand
from solver.engines.growth import least_utilisation
from solver.instance import build, loads_of
from solver.polish import polished
from solver.testing import demands, fabrics
from solver.trunk import reduce
from solver.watch import Watch
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree


def imbalance(instance, flow):
    """The most that appears or vanishes at a vertex, relative to the largest demand."""
    table = flow.toarray()
    balance = np.zeros((instance.targets, instance.vertices))
    for link, (tail, head) in enumerate(zip(instance.tails, instance.heads, strict=True)):
        balance[:, tail] += table[:, link]
        balance[:, head] -= table[:, link]
    for row, origin, rate in zip(instance.rows, instance.origins, instance.rates_bps, strict=True):
        balance[row, origin] -= rate
        balance[row, instance.target_vertices[row]] += rate
    return float(np.abs(balance).max()) / float(instance.rates_bps.max())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_the_trunk_carries_stands_for_a_whole_flow(data):
    fabric = data.draw(fabrics())
    whole = build(fabric, data.draw(demands(fabric)))
    trunk = reduce(whole)
    if not trunk.instance.targets:
        return
    found = least_utilisation(trunk.instance, trunk.instance.allowed_bps, Watch())
    lifted = trunk.lift(polished(trunk.instance, found.flow_bps))
    assert imbalance(whole, lifted) < 1e-12
    inner = loads_of(polished(trunk.instance, found.flow_bps))
    np.testing.assert_allclose(loads_of(lifted)[trunk.links], inner, rtol=1e-9, atol=1e-9 * whole.rates_bps.max())
    access = loads_of(lifted)
    access[trunk.links] = 0.0
    np.testing.assert_allclose(access, trunk.access_loads_bps(), rtol=1e-12)


def test_a_fat_tree_shrinks_to_its_switches_and_demands_to_pairs_of_leaves():
    fabric = fat_tree(8, capacity_bps=1e9)
    hosts = [host.id for host in fabric.hosts]
    whole = build(fabric, [Demand(a, b, 1.0) for a in hosts[:8] for b in hosts[64:72]])
    trunk = reduce(whole).instance
    assert (trunk.vertices, trunk.links) == (80, 512)
    assert (trunk.targets, len(trunk.rates_bps)) == (2, 4)
    assert trunk.rates_bps == pytest.approx([16.0] * 4)


def test_demands_within_a_leaf_need_nothing_of_the_trunk():
    fabric = fat_tree(4, capacity_bps=1e9)
    trunk = reduce(build(fabric, [Demand("h1", "h2", 5.0)]))
    assert trunk.instance.targets == 0
    assert trunk.access_loads_bps().sum() == pytest.approx(10.0)


def test_a_host_with_two_cables_stays_where_there_is_something_to_decide():
    nodes = (Node("h", NodeKind.HOST), Node("a", NodeKind.SWITCH), Node("b", NodeKind.SWITCH), Node("g", NodeKind.HOST))
    ends = (("h", 1, "a", 1), ("h", 2, "b", 1), ("a", 2, "g", 1), ("b", 2, "g", 2), ("g", 3, "a", 3))
    fabric = Fabric(nodes, tuple(Link(*end, capacity_bps=1.0, delay_s=1.0) for end in ends))
    trunk = reduce(build(fabric, [Demand("h", "g", 2.0)]))
    assert trunk.instance.links == 4 or trunk.instance.links == 5
    found = least_utilisation(trunk.instance, trunk.instance.allowed_bps, Watch())
    assert found.value == pytest.approx(1.0)


def test_two_hosts_on_one_cable_keep_it():
    nodes = (Node("h", NodeKind.HOST), Node("g", NodeKind.HOST))
    fabric = Fabric(nodes, (Link("h", 1, "g", 1, 1.0, 1.0), Link("g", 1, "h", 1, 1.0, 1.0)))
    trunk = reduce(build(fabric, [Demand("h", "g", 0.5)]))
    assert trunk.instance.links == 2
    found = least_utilisation(trunk.instance, trunk.instance.allowed_bps, Watch())
    assert loads_of(trunk.lift(found.flow_bps)).tolist() == pytest.approx([0.5, 0.0])
