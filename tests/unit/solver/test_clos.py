"""The structure of a folded Clos, found in the graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.clos import Clos, Unsuitable, recognise
from solver.demand import Demand
from solver.instance import build
from solver.testing import demands, fabrics
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree


def _fabric(cables, capacity_bps=1.0):
    """Duplex cables between nodes; those whose name begins with h are hosts; (a, b) or (a, b, capacity)."""
    names = sorted({name for cable in cables for name in cable[:2]})
    nodes = tuple(Node(name, NodeKind.HOST if name.startswith("h") else NodeKind.SWITCH) for name in names)
    links = []
    for port, (a, b, *capacity) in enumerate(cables, start=1):
        links += [
            Link(near, port, far, port, *(capacity or [capacity_bps]), 1e-6) for near, far in ((a, b), (b, a))
        ]  # fmt: skip
    return Fabric(nodes, tuple(links))


def _leaf_spine(leaves, spines, hosts=1, parallel=1):
    cables = [(f"l{leaf}", f"s{spine}") for leaf in range(leaves) for spine in range(spines) for _ in range(parallel)]
    return _fabric(cables + [(f"h{leaf}-{host}", f"l{leaf}") for leaf in range(leaves) for host in range(hosts)])


def _without(fabric, names):
    return Fabric(
        tuple(node for node in fabric.nodes if node.id not in names),
        tuple(link for link in fabric.links if not {link.source, link.target} & set(names)),
    )


def _found(fabric, *pairs):
    """Its structure; demands from the first to the last host unless some are given."""
    pairs = pairs or [(fabric.hosts[0].id, fabric.hosts[-1].id)]
    return recognise(build(fabric, [Demand(source, target, 1.0) for source, target in pairs]))


def _assert_consistent(instance, clos):
    """Every link of a tier joins what the tier says that it joins."""
    for level, tier in enumerate(clos.tiers):
        lower, upper = clos.levels[level], clos.levels[level + 1]
        for table, near, far in (
            (tier.up, instance.tails, instance.heads), (tier.down, instance.heads, instance.tails)
        ):  # fmt: skip
            vertex, plane, lane = np.nonzero(table >= 0)
            links = table[vertex, plane, lane]
            assert len(np.unique(links)) == len(links)
            assert np.array_equal(near[links], lower[vertex])
            assert np.array_equal(far[links], upper[tier.above[vertex, plane]])
            assert np.all(instance.allowed_bps[links] >= tier.allowed_bps * (1 - 1e-9))


def test_a_leaf_spine_has_one_tier_whose_planes_are_the_spines():
    fabric = _leaf_spine(6, 4, hosts=2)
    clos = _found(fabric)
    (tier,) = clos.tiers
    assert [len(level) for level in clos.levels] == [6, 4]
    assert tier.up.shape == tier.down.shape == (6, 4, 1)
    assert np.all(tier.up >= 0)
    assert all(sorted(row) == [0, 1, 2, 3] for row in tier.above.tolist())
    _assert_consistent(build(fabric, [Demand("h0-0", "h1-0", 1.0)]), clos)


def test_hosts_know_their_leaf():
    fabric = _leaf_spine(3, 2, hosts=2)
    instance = build(fabric, [Demand("h0-0", "h2-1", 1.0)])
    clos = recognise(instance)
    ends = clos.levels[0][clos.leaf_of[[instance.origins[0], instance.target_vertices[0]]]]
    assert [fabric.nodes[vertex].id for vertex in ends] == ["l0", "l2"]


def test_parallel_cables_lie_side_by_side():
    clos = _found(_leaf_spine(4, 3, parallel=2))
    assert clos.tiers[0].up.shape == (4, 3, 2)
    assert np.all(clos.tiers[0].up >= 0)


@pytest.mark.parametrize("k", [4, 6, 8])
def test_a_fat_tree_has_two_tiers_and_half_as_many_planes_as_ports(k):
    fabric = fat_tree(k, capacity_bps=1.0)
    clos = _found(fabric)
    half = k // 2
    assert [len(level) for level in clos.levels] == [k * half, k * half, half * half]
    assert [tier.up.shape for tier in clos.tiers] == [(k * half, half, 1), (k * half, half, 1)]
    assert np.bincount(clos.tiers[1].groups).tolist() == [k] * half
    _assert_consistent(build(fabric, [Demand("h1", "h2", 1.0)]), clos)


def test_leaves_may_be_where_demands_begin_without_any_host():
    cables = [(f"l{leaf}", f"s{spine}") for leaf in range(3) for spine in range(2)]
    clos = _found(_fabric(cables), ("l0", "l1"), ("l1", "l2"), ("l2", "l0"))
    assert [len(level) for level in clos.levels] == [3, 2]


def test_a_missing_link_is_an_empty_place():
    fabric = fat_tree(4, capacity_bps=1.0)
    gone = next(link for link in fabric.links if link.source == "e0-0" and link.target == "a0-1")
    clos = _found(fabric.without_links([gone.id]))
    assert np.count_nonzero(clos.tiers[0].up < 0) == 1
    assert not np.any(clos.tiers[0].down < 0)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([fat_tree(4, capacity_bps=1.0), _leaf_spine(5, 4, parallel=2)]), st.data())
def test_what_is_found_of_a_broken_clos_is_true(fabric, data):
    gone = data.draw(st.lists(st.sampled_from([link.id for link in fabric.links]), max_size=8))
    broken = fabric.without_links(gone)
    instance = build(broken, [Demand(fabric.hosts[0].id, fabric.hosts[-1].id, 1.0)])
    clos = recognise(instance)
    if isinstance(clos, Clos):
        _assert_consistent(instance, clos)


def test_a_slow_link_counts_as_missing():
    cables = [(f"l{leaf}", f"s{spine}", 1.0 if leaf + spine else 0.5) for leaf in range(4) for spine in range(4)]
    clos = _found(_fabric(cables + [(f"h{leaf}", f"l{leaf}") for leaf in range(4)]))
    assert clos.tiers[0].allowed_bps == 1.0
    assert np.count_nonzero(clos.tiers[0].up < 0) == 1


def test_tiers_may_differ_in_capacity():
    clos = _found(_fabric([("h0", "l0"), ("h1", "l1"), ("l0", "s0", 4.0), ("l1", "s0", 4.0)]))
    assert clos.tiers[0].allowed_bps == 4.0


def test_pods_without_hosts_do_not_hide_the_planes():
    fabric = _without(fat_tree(6, capacity_bps=1.0), {f"h{n}" for n in range(19, 55)})
    clos = _found(fabric)
    assert [len(level) for level in clos.levels] == [6, 6, 9]


def test_a_leaf_without_hosts_does_not_join_the_spines():
    clos = _found(_without(_leaf_spine(5, 3), {"h2-0"}))
    assert [len(level) for level in clos.levels] == [4, 3]


def test_one_switch_is_a_clos_without_tiers():
    assert _found(_fabric([("h0", "l0"), ("h1", "l0")])).tiers == ()


@pytest.mark.parametrize(
    ("cables", "reason"),
    [
        ([("h0", "a"), ("h1", "b"), ("h2", "c"), ("a", "b"), ("b", "c"), ("c", "a")], "level 0 are joined directly"),
        ([("h0", "a"), ("h1", "b"), ("a", "x"), ("x", "y"), ("y", "b")], "level 1 are joined directly"),
        ([("h0", "a"), ("h1", "b"), ("a", "x"), ("a", "y"), ("x", "z"), ("y", "z"), ("z", "b")], "several places"),
        ([("h0", "a"), ("h1", "b")], "no links lead"),
        ([("h0", "a"), ("h0", "b"), ("h1", "a"), ("a", "s"), ("b", "s"), ("h2", "b")], "exactly one switch"),
    ],
    ids=["ring", "chain", "two ways into one plane", "apart", "host on two switches"],
)
def test_other_graphs_are_none_and_the_reason_says_why(cables, reason):
    found = _found(_fabric(cables), ("h0", "h1"))
    assert isinstance(found, Unsuitable)
    assert reason in found.reason


def test_a_ring_of_leaves_and_spines_in_turn_is_none():
    cables = [(f"l{leaf}", f"s{(leaf + step) % 6}") for leaf in range(6) for step in range(2)]
    found = _found(_fabric(cables + [(f"h{leaf}", f"l{leaf}") for leaf in range(6)]))
    assert found == Unsuitable("planes of level 1 fall into pieces that nothing joins")


def test_too_many_missing_links_make_it_none():
    cables = [("l0", f"s{spine}") for spine in range(6)] + [(f"l{leaf}", "s0") for leaf in range(1, 6)]
    found = _found(_fabric(cables + [(f"h{leaf}", f"l{leaf}") for leaf in range(6)]))
    assert found == Unsuitable("level 0 lacks too many of the equal links that a Clos has")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_on_any_fabric_the_answer_is_a_true_structure_or_a_reason(data):
    fabric = data.draw(fabrics())
    instance = build(fabric, data.draw(demands(fabric)))
    found = recognise(instance)
    if isinstance(found, Clos):
        _assert_consistent(instance, found)
    else:
        assert found.reason


def test_a_link_with_one_direction_only_is_missing_in_the_other():
    fabric = _leaf_spine(4, 3)
    gone = next(link for link in fabric.links if link.source == "s1" and link.target == "l2")
    clos = _found(fabric.without_links([LinkId(gone.source, gone.source_port)]))
    assert (np.count_nonzero(clos.tiers[0].up < 0), np.count_nonzero(clos.tiers[0].down < 0)) == (0, 1)
