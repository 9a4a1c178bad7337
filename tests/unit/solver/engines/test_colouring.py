"""One path for each of many equal demands on a Clos."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.clos import Unsuitable
from solver.demand import Demand
from solver.engines.aggregated import Aggregated
from solver.engines.colouring import one_path_each
from solver.errors import SolverError
from solver.instance import build
from solver.paths import Paths
from solver.testing import demands, fabrics
from solver.watch import Watch
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree


def _leaf_spine(leaves, spines, hosts, parallel=1):
    """Host h<leaf * hosts + i + 1> hangs on leaf l<leaf>; every link carries 1 bit/s."""
    nodes = [Node(f"s{spine}", NodeKind.SWITCH) for spine in range(spines)]
    cables = []
    for leaf in range(leaves):
        nodes.append(Node(f"l{leaf}", NodeKind.SWITCH))
        for up in range(spines * parallel):
            cables.append((f"l{leaf}", 1 + hosts + up, f"s{up % spines}", 1 + leaf * parallel + up // spines))
        for host in range(hosts):
            nodes.append(Node(f"h{leaf * hosts + host + 1}", NodeKind.HOST))
            cables.append((f"h{leaf * hosts + host + 1}", 1, f"l{leaf}", 1 + host))
    return Fabric(
        tuple(nodes),
        tuple(
            link
            for a, at, b, bt in cables
            for link in (Link(a, at, b, bt, 1.0, 1e-6), Link(b, bt, a, at, 1.0, 1e-6))
        ),
    )  # fmt: skip


def _rings(hosts, size, seed=0):
    """Rings of random hosts, each of so many; every host is in one."""
    order = np.random.default_rng(seed).permutation(hosts) + 1
    return [
        Demand(f"h{a}", f"h{b}", 1.0)
        for begin in range(0, hosts, size)
        for a, b in zip(order[begin : begin + size], np.roll(order[begin : begin + size], -1), strict=True)
    ]


def _without_cables(fabric, share, seed=0):
    """The fabric after some cables between switches failed."""
    cables = [
        link for link in fabric.links
        if link.id < link.reverse_id and not {link.source[0], link.target[0]} & {"h"}
    ]  # fmt: skip
    failed = np.random.default_rng(seed).choice(len(cables), math.ceil(share * len(cables)), replace=False)
    return fabric.without_links([end for index in failed for end in (cables[index].id, cables[index].reverse_id)])


def _solved(fabric, asked, **options):
    instance = build(fabric, asked)
    paths = one_path_each(instance, Watch(), **options)
    assert isinstance(paths, Paths), paths
    assert_paths(instance, paths)
    return instance, paths


def assert_paths(instance, paths):
    """Each leads from the origin of its demand to the target, link after link, and visits nothing twice."""
    assert len(paths.starts) == len(instance.origins) + 1
    for demand, row in enumerate(instance.rows):
        links = paths.of(demand)
        visited = [instance.origins[demand], *instance.heads[links]]
        assert np.array_equal(instance.tails[links], visited[:-1])
        assert visited[-1] == instance.target_vertices[row]
        assert len(set(visited)) == len(visited)


def _flows_on_the_fullest_link(instance, paths):
    return paths.loads_bps(instance).max() / instance.rates_bps[0]


def _fractional(instance):
    """Flows on the fullest link when demands may split."""
    flow = Aggregated().least_utilisation(instance, Watch()).flow_bps
    return float(np.asarray(flow.sum(axis=0)).max() / instance.rates_bps[0])


@pytest.mark.parametrize(
    ("fabric", "hosts", "ring"),
    [
        (_leaf_spine(64, 32, 32), 2048, 2048),
        (_leaf_spine(12, 7, 7), 84, 84),
        (_leaf_spine(8, 3, 6, parallel=2), 48, 12),
        (fat_tree(4, capacity_bps=1.0), 16, 16),
        (fat_tree(10, capacity_bps=1.0), 250, 25),
        (fat_tree(16, capacity_bps=1.0), 1024, 32),
    ],
    ids=["64x32", "12x7", "parallel cables", "k=4", "k=10", "k=16, 32 rings"],
)
def test_in_a_clos_of_full_bisection_no_two_flows_of_a_permutation_meet(fabric, hosts, ring):
    instance, paths = _solved(fabric, _rings(hosts, ring))
    assert _flows_on_the_fullest_link(instance, paths) == 1


@pytest.mark.parametrize("active", [1, 5, 50, 100])
def test_nor_do_those_of_a_partial_permutation(active):
    instance, paths = _solved(fat_tree(8, capacity_bps=1.0), _rings(128, 128)[:active])
    assert _flows_on_the_fullest_link(instance, paths) == 1


def test_flows_stay_below_what_their_ends_have_in_common():
    _, paths = _solved(
        fat_tree(4, capacity_bps=1.0), [Demand("h1", "h2", 1.0), Demand("h3", "h5", 1.0), Demand("h1", "h3", 1.0)]
    )
    assert np.diff(paths.starts).tolist() == [2, 6, 4]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_between_leaves_the_fullest_link_carries_its_part_of_the_busiest_leaf_rounded_up(spines, parallel, pairs):
    asked = [Demand(f"l{a}", f"l{b}", 0.25) for a, b in pairs if a != b] or [Demand("l0", "l1", 0.25)]
    instance, paths = _solved(_leaf_spine(6, spines, 1, parallel), asked)
    busiest = max(
        max(sum(d.source == f"l{n}" for d in asked), sum(d.target == f"l{n}" for d in asked)) for n in range(6)
    )
    assert _flows_on_the_fullest_link(instance, paths) == math.ceil(busiest / (spines * parallel))


@pytest.mark.parametrize(("spines", "worst"), [(8, 4), (7, 5), (32, 1), (5, 7)])
def test_an_oversubscribed_leaf_spine_is_filled_evenly(spines, worst):
    asked = [Demand(f"h{host + 1}", f"h{(host + 32) % 512 + 1}", 1.0) for host in range(512)]
    instance, paths = _solved(_leaf_spine(16, spines, 32), asked)
    assert _flows_on_the_fullest_link(instance, paths) == worst


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([fat_tree(4, capacity_bps=1.0), fat_tree(6, capacity_bps=1.0), _leaf_spine(6, 4, 3)]),
    st.sampled_from([0.02, 0.05, 0.1]),
    st.integers(0, 10_000),
)
def test_with_failed_links_the_fullest_stays_close_to_what_splitting_reaches(fabric, share, seed):
    random = np.random.default_rng(seed)
    names = [host.id for host in fabric.hosts]
    asked = [Demand(*random.choice(names, 2, replace=False), 1.0) for _ in range(int(random.integers(1, 60)))]
    instance = build(_without_cables(fabric, share, seed), asked)
    try:
        paths = one_path_each(instance, Watch())
    except SolverError:
        assert np.isinf(instance.distances(instance.delays_s)[instance.rows, instance.origins]).any()
        return
    assert isinstance(paths, Paths)
    assert_paths(instance, paths)
    assert _flows_on_the_fullest_link(instance, paths) <= math.ceil(_fractional(instance) - 1e-6) + 1


@pytest.mark.parametrize("seed", range(3))
def test_a_large_fat_tree_with_a_hundredth_of_its_cables_failed_has_two_flows_on_a_link_at_most(seed):
    fabric = _without_cables(fat_tree(16, capacity_bps=1.0), 0.01, seed)
    instance, paths = _solved(fabric, _rings(1024, 32, seed))
    assert _flows_on_the_fullest_link(instance, paths) == 2


def test_failed_links_cost_nothing_where_enough_are_left():
    fabric = _without_cables(_leaf_spine(16, 8, 8), 0.05)
    asked = [d for d in _rings(128, 128) if int(d.source[1:]) % 4 and int(d.target[1:]) % 4]
    instance, paths = _solved(fabric, asked)
    assert _flows_on_the_fullest_link(instance, paths) == 1


@pytest.mark.parametrize("seed", range(3))
def test_every_leaf_may_lack_another_uplink_and_use_all_that_are_left(seed):
    random = np.random.default_rng(seed)
    whole, lost = _leaf_spine(24, 12, 12), random.integers(0, 12, 24)
    ends = [{f"l{leaf}", f"s{spine}"} for leaf, spine in enumerate(lost)]
    fabric = whole.without_links([link.id for link in whole.links if {link.source, link.target} in ends])
    order = random.permutation([host for host in range(288) if host % 12]) + 1
    asked = [Demand(f"h{a}", f"h{b}", 1.0) for a, b in zip(order, np.roll(order, -1), strict=True)]
    instance, paths = _solved(fabric, asked)
    assert _flows_on_the_fullest_link(instance, paths) == 1


def test_parallel_cables_of_a_host_take_turns():
    fabric = _leaf_spine(2, 2, 1)
    cables = ("h1", "l0"), ("h2", "l1")
    twice = [Link(near, 9, far, 9, 1.0, 1e-6) for a, b in cables for near, far in ((a, b), (b, a))]
    instance, paths = _solved(Fabric(fabric.nodes, fabric.links + tuple(twice)), [Demand("h1", "h2", 1.0)] * 2)
    assert _flows_on_the_fullest_link(instance, paths) == 1


def test_leaves_with_no_spine_in_common_are_joined_by_a_detour():
    fabric = _leaf_spine(4, 2, 1)
    gone = [link for link in fabric.links if {link.source, link.target} in ({"l0", "s1"}, {"l1", "s0"})]
    _, paths = _solved(fabric.without_links([link.id for link in gone]), [Demand("h1", "h2", 1.0)])
    assert len(paths.of(0)) == 6


def test_a_leaf_that_failures_cut_off_is_an_error():
    fabric = _leaf_spine(4, 2, 1)
    gone = [link.id for link in fabric.links if {link.source, link.target} in ({"l0", "s0"}, {"l0", "s1"})]
    with pytest.raises(SolverError, match="no path leads from vertex"):
        one_path_each(build(fabric.without_links(gone), [Demand("h1", "h2", 1.0)]), Watch())


def test_pods_without_hosts_change_nothing():
    whole = fat_tree(6, capacity_bps=1.0)
    gone = {f"h{n}" for n in range(28, 55)}
    fabric = Fabric(
        tuple(node for node in whole.nodes if node.id not in gone),
        tuple(link for link in whole.links if not {link.source, link.target} & gone),
    )
    instance, paths = _solved(fabric, _rings(27, 27))
    assert _flows_on_the_fullest_link(instance, paths) == 1


def test_all_to_all_on_a_fat_tree_fills_every_uplink_alike():
    fabric = fat_tree(4, capacity_bps=1.0)
    asked = [Demand(a.id, b.id, 1.0) for a in fabric.hosts for b in fabric.hosts if a is not b]
    instance, paths = _solved(fabric, asked)
    assert _flows_on_the_fullest_link(instance, paths) == 15


def test_the_flows_are_the_sum_of_the_paths():
    instance, paths = _solved(fat_tree(4, capacity_bps=1.0), _rings(16, 8))
    flow = paths.flow_bps(instance)
    np.testing.assert_allclose(np.asarray(flow.sum(axis=0)).ravel(), paths.loads_bps(instance))
    assert paths.worst(instance) == 1
    for demand, row in enumerate(instance.rows):
        assert np.all(flow[[row]].toarray()[0, paths.of(demand)] == 1)


def test_the_same_question_has_the_same_answer():
    instance = build(_without_cables(fat_tree(8, capacity_bps=1.0), 0.05), _rings(128, 128))
    one, other = (one_path_each(instance, Watch(), seed=3) for _ in range(2))
    assert np.array_equal(one.links, other.links)


def test_no_demands_no_paths():
    instance, paths = _solved(_leaf_spine(2, 2, 1), [])
    assert paths.worst(instance) == 0


def test_an_expired_watch_still_gets_whole_paths():
    instance = build(_without_cables(fat_tree(8, capacity_bps=1.0), 0.05), _rings(128, 128))
    assert_paths(instance, one_path_each(instance, Watch(limit_s=0.0)))


def test_different_rates_are_not_for_colours():
    found = one_path_each(build(_leaf_spine(2, 2, 1), [Demand("h1", "h2", 1.0), Demand("h2", "h1", 2.0)]), Watch())
    assert found == Unsuitable("the demands ask for different rates")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_fabric_gets_valid_paths_or_a_reason(data):
    fabric = data.draw(fabrics())
    asked = [Demand(demand.source, demand.target, 1e6) for demand in data.draw(demands(fabric))]
    instance = build(fabric, asked)
    found = one_path_each(instance, Watch())
    if isinstance(found, Paths):
        assert_paths(instance, found)
    else:
        assert found.reason
