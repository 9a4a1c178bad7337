"""The potential method, held against linear programs, known answers and its own proof."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.cycles import cancel_cycles
from solver.demand import Demand
from solver.engines.potential import largest_share
from solver.errors import SolverError
from solver.instance import build
from solver.routing import Objective
from solver.solve import solve
from solver.testing import demands, fabrics
from solver.watch import Watch
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree

FAT_TREE = fat_tree(4, capacity_bps=1e7)


def switches_and_cables(cables):
    """A fabric of switches only, from (a, b, capacity), duplex."""
    names = sorted({name for a, b, _ in cables for name in (a, b)})
    links = []
    for port, (a, b, capacity) in enumerate(cables, start=1):
        links += [Link(a, port, b, port, capacity, 1.0), Link(b, port, a, port, capacity, 1.0)]
    return Fabric(tuple(Node(name, NodeKind.SWITCH) for name in names), tuple(links))


def bound_of(instance, prices):
    """What the prices prove, by the instance's own distances."""
    away = instance.distances(prices)[instance.rows, instance.origins]
    return float(instance.allowed_bps @ prices) / float(instance.rates_bps @ away)


def assert_carries(instance, flow, share):
    """The flow carries exactly that share of every demand, within what is allowed, and never in a ring."""
    flows = flow.toarray()
    assert flows.min(initial=0.0) >= 0
    assert np.all(flows.sum(axis=0) <= instance.allowed_bps * (1 + 1e-9))
    for row, target in enumerate(instance.target_vertices):
        balance = np.bincount(instance.tails, flows[row], instance.vertices)
        balance -= np.bincount(instance.heads, flows[row], instance.vertices)
        offered = share * instance.supply().toarray()[row]
        offered[target] -= offered.sum()
        np.testing.assert_allclose(balance, offered, atol=1e-9 * np.abs(offered).max())
        used = {link: flows[row, link] for link in np.flatnonzero(flows[row]).tolist()}
        assert cancel_cycles(used, instance.tails, instance.heads) == used


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_share_is_carried_fills_a_link_and_is_proven_to_the_gap(data):
    fabric = data.draw(fabrics())
    instance = build(fabric, data.draw(demands(fabric)), data.draw(st.sampled_from((0.5, 1.0))))
    gap = data.draw(st.sampled_from((0.05, 0.01)))
    answer = largest_share(instance, Watch(), gap=gap)
    assert_carries(instance, answer.flow_bps, answer.share)
    assert (answer.flow_bps.sum(axis=0) / instance.allowed_bps).max() == pytest.approx(1.0, rel=1e-12)
    assert np.all(answer.prices >= 0)
    assert (1 - gap) * bound_of(instance, answer.prices) <= answer.share * (1 + 1e-9)
    assert answer.share <= bound_of(instance, answer.prices) * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_linear_programs_find_no_more_than_the_gap_allows(data):
    fabric = data.draw(fabrics())
    wanted = data.draw(demands(fabric))
    exact = solve(fabric, wanted, Objective.MAX_CONCURRENT_FLOW).certificate.value
    answer = largest_share(build(fabric, wanted), Watch(), gap=0.01)
    assert 0.99 * exact * (1 - 1e-6) <= answer.share <= exact * (1 + 1e-6)


def test_demands_that_jam_each_other_between_wide_cuts_get_three_quarters():
    # Okamura and Seymour's example: K(2,3), every cut wide enough, and yet only 3/4 of each demand fits.
    fabric = switches_and_cables([(a, b, 1.0) for a in ("x", "y") for b in ("1", "2", "3")])
    pairs = [("x", "y"), ("1", "2"), ("2", "3"), ("3", "1")]
    instance = build(fabric, [Demand(a, b, 1.0) for pair in pairs for a, b in (pair, pair[::-1])])
    answer = largest_share(instance, Watch(), gap=0.001)
    assert answer.share == pytest.approx(0.75, rel=0.001)
    assert bound_of(instance, answer.prices) == pytest.approx(0.75, rel=0.001)


def test_parallel_cables_are_all_used():
    instance = build(switches_and_cables([("a", "b", 1.0), ("a", "b", 2.0), ("a", "b", 3.0)]), [Demand("a", "b", 1.0)])
    answer = largest_share(instance, Watch())
    assert answer.share == pytest.approx(6.0, rel=0.01)
    assert np.count_nonzero(answer.flow_bps.toarray()) == 3


def test_all_to_all_on_a_fat_tree_fills_the_access_links():
    hosts = [host.id for host in FAT_TREE.hosts]
    instance = build(FAT_TREE, [Demand(a, b, 1e6) for a, b in itertools.permutations(hosts, 2)])
    answer = largest_share(instance, Watch(), gap=0.001)
    assert answer.share == pytest.approx(10 / 15, rel=0.001)
    assert_carries(instance, answer.flow_bps, answer.share)


def test_demands_of_very_different_size_share_alike():
    wanted = [Demand("h1", "h16", 1e7), Demand("h2", "h15", 1.0), Demand("h3", "h14", 1e3)]
    instance = build(FAT_TREE, wanted)
    answer = largest_share(instance, Watch())
    assert answer.share == pytest.approx(1.0, rel=0.01)
    assert_carries(instance, answer.flow_bps, answer.share)


def test_without_time_shortest_paths_are_the_answer():
    instance = build(FAT_TREE, [Demand("h1", "h16", 1e7), Demand("h2", "h15", 1e7)])
    answer = largest_share(instance, Watch(limit_s=0.0))
    assert_carries(instance, answer.flow_bps, answer.share)
    assert 0.5 <= answer.share <= bound_of(instance, answer.prices)


def test_a_share_that_is_enough_ends_the_search():
    hosts = [host.id for host in FAT_TREE.hosts]
    instance = build(FAT_TREE, [Demand(a, b, 1e6) for a, b in itertools.pairwise(hosts)])
    told = []
    answer = largest_share(instance, Watch(report=told.append), gap=0.0, enough=1.0)
    assert answer.share >= 1.0
    assert not told


def test_every_pass_reports_and_the_last_report_is_no_more_than_the_answer():
    hosts = [host.id for host in FAT_TREE.hosts]
    told = []
    instance = build(FAT_TREE, [Demand(a, b, 1e6) for a, b in itertools.permutations(hosts, 2)])
    answer = largest_share(instance, Watch(report=told.append))
    assert [step.phase for step in told] == ["potential"] * len(told)
    assert told[-1].gap <= 0.01
    assert told[-1].value <= answer.share * (1 + 1e-9)


def test_a_gap_that_arithmetic_cannot_reach_ends_all_the_same():
    instance = build(switches_and_cables([("a", "b", 1.0), ("a", "b", 2.0)]), [Demand("a", "b", 1.0)])
    answer = largest_share(instance, Watch(), gap=0.0)
    assert answer.share == pytest.approx(3.0, rel=1e-6)


def test_the_same_seed_gives_the_same_answer():
    wanted = [Demand(f"h{a}", f"h{17 - a}", 1e6 * a) for a in range(1, 17)]
    first, second = (largest_share(build(FAT_TREE, wanted), Watch(), seed=7) for _ in range(2))
    assert first.share == second.share
    assert (first.flow_bps != second.flow_bps).nnz == 0
    np.testing.assert_array_equal(first.prices, second.prices)


def test_nothing_to_carry_and_nowhere_to_carry_it_are_said():
    with pytest.raises(SolverError, match="no demands"):
        largest_share(build(FAT_TREE, []), Watch())
    apart = Fabric((Node("a", NodeKind.SWITCH), Node("b", NodeKind.SWITCH)), (Link("a", 1, "b", 1, 1.0, 1.0),))
    with pytest.raises(SolverError, match="without a path"):
        largest_share(build(apart, [Demand("b", "a", 1.0)]), Watch())
