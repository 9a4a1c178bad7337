"""Single paths on any graph: a start, and what local search makes of it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.demand import Demand
from solver.engines.aggregated import Aggregated
from solver.engines.rerouting import improve, shortest_first
from solver.errors import SolverError
from solver.instance import build
from solver.paths import Paths
from solver.testing import demands, fabrics
from solver.watch import Watch
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree


def _fabric(cables):
    """Duplex cables (a, b, delay) or (a, b, delay, capacity) between nodes; names of hosts begin with h."""
    names = sorted({name for cable in cables for name in cable[:2]})
    nodes = tuple(Node(name, NodeKind.HOST if name.startswith("h") else NodeKind.SWITCH) for name in names)
    links = []
    for port, (a, b, delay_s, *capacity) in enumerate(cables, start=1):
        for near, far in ((a, b), (b, a)):
            links.append(Link(near, port, far, port, *(capacity or [1.0]), delay_s))
    return Fabric(nodes, tuple(links))


def _square():
    """Two ways from a to d, and two cables from c to d."""
    return _fabric([("a", "b", 1.0), ("b", "d", 1.0), ("a", "c", 1.0), ("c", "d", 1.0), ("c", "d", 1.0)])


def _value(instance, paths):
    fullness = paths.loads_bps(instance) / instance.allowed_bps
    worst = fullness.max(initial=0.0)
    return worst, int(np.count_nonzero(fullness >= worst * (1 - 1e-9))), float(fullness @ fullness)


def _assert_paths(instance, paths):
    assert len(paths.starts) == len(instance.origins) + 1
    for demand, row in enumerate(instance.rows):
        links = paths.of(demand)
        visited = [instance.origins[demand], *instance.heads[links]]
        assert np.array_equal(instance.tails[links], visited[:-1])
        assert visited[-1] == instance.target_vertices[row]
        assert len(set(visited)) == len(visited)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 99))
def test_the_start_takes_paths_of_least_delay(data, seed):
    fabric = data.draw(fabrics())
    instance = build(fabric, data.draw(demands(fabric)))
    paths = shortest_first(instance, Watch(), seed)
    _assert_paths(instance, paths)
    least = instance.distances(instance.delays_s + 1e-12)[instance.rows, instance.origins]
    taken = [instance.delays_s[paths.of(demand)].sum() for demand in range(len(instance.rows))]
    np.testing.assert_allclose(taken, least, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 99))
def test_rerouting_never_makes_it_worse(data, seed):
    fabric = data.draw(fabrics())
    instance = build(fabric, data.draw(demands(fabric)))
    before = shortest_first(instance, Watch())
    after = improve(instance, before, Watch(), seed=seed)
    _assert_paths(instance, after)
    old, new = _value(instance, before), _value(instance, after)
    assert new[0] <= old[0] * (1 + 1e-9)
    assert new[0] < old[0] * (1 - 1e-9) or new[1] <= old[1]


@pytest.mark.parametrize("seed", range(4))
def test_equal_demands_on_a_fat_tree_come_to_what_splitting_reaches_rounded_up(seed):
    fabric = fat_tree(4, capacity_bps=1.0)
    random = np.random.default_rng(seed)
    edges = [node.id for node in fabric.switches if node.tier == 1]
    instance = build(fabric, [Demand(*random.choice(edges, 2, replace=False), 1.0) for _ in range(40)])
    split = Aggregated().least_utilisation(instance, Watch()).flow_bps
    goal = math.ceil(float(np.asarray(split.sum(axis=0)).max()) - 1e-6)
    paths = improve(instance, shortest_first(instance, Watch()), Watch(), goal=goal)
    _assert_paths(instance, paths)
    assert paths.worst(instance) == goal


def test_a_detour_relieves_the_shortest_path():
    fabric = _fabric([("a", "b", 1.0), ("b", "d", 1.0), ("a", "c", 5.0), ("c", "d", 5.0)])
    instance = build(fabric, [Demand("a", "d", 1.0), Demand("a", "d", 1.0)])
    start = shortest_first(instance, Watch())
    assert start.worst(instance) == 2
    assert improve(instance, start, Watch()).worst(instance) == 1


def test_the_start_spreads_over_equal_paths_and_parallel_cables():
    instance = build(_square(), [Demand("c", "d", 1.0), Demand("c", "d", 1.0)])
    assert shortest_first(instance, Watch()).worst(instance) == 1
    instance = build(_square(), [Demand("a", "d", 1.0), Demand("a", "d", 1.0)])
    assert shortest_first(instance, Watch()).worst(instance) == 1


def test_large_demands_choose_first():
    fabric = _fabric([("a", "b", 1.0, 4.0), ("b", "d", 1.0, 4.0), ("a", "c", 1.0, 1.0), ("c", "d", 1.0, 1.0)])
    instance = build(fabric, [Demand("a", "d", 0.5), Demand("a", "d", 4.0)])
    assert shortest_first(instance, Watch()).worst(instance) == 1


def test_links_without_delay_are_counted_by_hops():
    cables = [("a", "b", 0.0), ("b", "c", 0.0), ("c", "d", 0.0), ("a", "d", 0.0)]
    instance = build(_fabric(cables), [Demand("a", "d", 1.0)])
    assert len(shortest_first(instance, Watch()).of(0)) == 1


def test_a_host_on_two_switches_uses_both_but_carries_nothing_for_others():
    fabric = _fabric([("h1", "a", 1.0), ("h1", "b", 1.0), ("a", "c", 1.0, 2.0), ("b", "c", 1.0), ("h2", "c", 1.0, 2.0)])
    instance = build(fabric, [Demand("h1", "h2", 1.0), Demand("h1", "h2", 1.0), Demand("a", "b", 1.0)])
    paths = improve(instance, shortest_first(instance, Watch()), Watch())
    _assert_paths(instance, paths)
    assert paths.worst(instance) == 1
    assert len(paths.of(2)) == 2


def test_two_hosts_on_one_cable():
    instance = build(_fabric([("h1", "h2", 1.0)]), [Demand("h1", "h2", 1.0)])
    paths = improve(instance, shortest_first(instance, Watch()), Watch())
    assert paths.links.tolist() == [0]


def test_given_paths_stay_and_count():
    instance = build(_square(), [Demand("a", "d", 1.0), Demand("a", "d", 1.0)])
    first = shortest_first(instance, Watch()).of(1)
    given_paths = Paths(np.array([0, len(first), len(first)]), first)
    paths = shortest_first(instance, Watch(), given=given_paths)
    assert np.array_equal(paths.of(0), first)
    assert paths.worst(instance) == 1


def test_what_no_path_can_relieve_is_left_alone():
    fabric = _fabric([("h1", "a", 1.0), ("a", "b", 1.0), ("a", "c", 1.0), ("c", "b", 1.0), ("b", "h2", 1.0)])
    instance = build(fabric, [Demand("h1", "h2", 3.0)])
    before = shortest_first(instance, Watch())
    assert np.array_equal(improve(instance, before, Watch()).links, before.links)


def test_a_reached_goal_and_an_expired_watch_change_nothing():
    fabric = _fabric([("a", "b", 1.0), ("b", "d", 1.0), ("a", "c", 5.0), ("c", "d", 5.0)])
    instance = build(fabric, [Demand("a", "d", 1.0), Demand("a", "d", 1.0)])
    start = shortest_first(instance, Watch())
    assert improve(instance, start, Watch(), goal=2.0).worst(instance) == 2
    assert improve(instance, start, Watch(limit_s=0.0)).worst(instance) == 2
    assert shortest_first(instance, Watch(limit_s=0.0)).worst(instance) == 2


def test_the_same_seed_gives_the_same_paths():
    fabric = fat_tree(4, capacity_bps=1.0)
    random = np.random.default_rng(5)
    names = [host.id for host in fabric.hosts]
    rates = random.uniform(0.1, 1.0, 40)
    instance = build(fabric, [Demand(*random.choice(names, 2, replace=False), rate) for rate in rates])
    one, other = (improve(instance, shortest_first(instance, Watch(), 4), Watch(), seed=4) for _ in range(2))
    assert np.array_equal(one.links, other.links)


def test_a_demand_without_a_path_is_an_error():
    instance = build(_fabric([("h1", "a", 1.0), ("h2", "b", 1.0)]), [Demand("h1", "h2", 1.0)])
    with pytest.raises(SolverError, match="no path leads from vertex"):
        shortest_first(instance, Watch())


def test_no_demands_no_paths():
    instance = build(_square(), [])
    paths = improve(instance, shortest_first(instance, Watch()), Watch())
    assert paths.starts.tolist() == [0]
