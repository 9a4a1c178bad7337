"""Plans for host pairs that want all that their links give."""

import pickle
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.errors import Infeasible
from solver.routing import Objective
from solver.share import plan_pairs
from solver.testing import assert_path, fabrics
from topologies.access import line_rate_bps
from topologies.errors import InputError
from topologies.fabric import LinkId
from topologies.fat_tree import fat_tree
from workloads.collectives import ring_pairs

FAT_TREE = fat_tree(4, capacity_bps=1e7)


def scattered_ring(fabric, seed):
    names = [host.id for host in fabric.hosts]
    return ring_pairs(tuple(np.random.default_rng(seed).permutation(names).tolist()))


def most_on_a_link(plan):
    return max(Counter(link for path in plan.paths for link in path).values())


@pytest.mark.parametrize("seed", range(40))
def test_a_scattered_ring_on_a_full_fat_tree_shares_no_link(seed):
    plan = plan_pairs(FAT_TREE, scattered_ring(FAT_TREE, seed))
    assert most_on_a_link(plan) == 1
    assert plan.share == pytest.approx(0.95)
    assert plan.rates_bps == pytest.approx([9.5e6] * 16)
    assert plan.worst_link_utilisation == pytest.approx(0.95)
    assert plan.certificate.objective is Objective.MIN_DELAY
    assert max(plan.certificate.gap, plan.share_certificate.gap) < 1e-6
    for (source, target), path in zip(plan.pairs, plan.paths, strict=True):
        assert_path(FAT_TREE, path, source, target)


@pytest.mark.parametrize("seed", range(3))
def test_a_scattered_ring_on_a_full_k8_fat_tree_shares_no_link(seed):
    fabric = fat_tree(8, capacity_bps=1e7)
    plan = plan_pairs(fabric, scattered_ring(fabric, seed))
    assert most_on_a_link(plan) == 1


@pytest.mark.parametrize("engine", ["auto", "pulp", "pulp:cbc"])
def test_a_leaf_without_an_uplink_halves_the_share_of_all(engine):
    fabric = FAT_TREE.without_links([LinkId("e0-0", 3), LinkId("a0-0", 1)])
    plan = plan_pairs(fabric, [("h1", "h5"), ("h2", "h9"), ("h16", "h3")], engine=engine)
    assert plan.share == pytest.approx(0.475)
    assert plan.share_certificate.bound == pytest.approx(0.475)
    assert plan.worst_link_utilisation == pytest.approx(0.95)


def test_whole_pairs_on_three_cables_say_how_far_they_are_from_fractions():
    fabric = fat_tree(8, capacity_bps=1e7).without_links([LinkId("e0-0", 5), LinkId("a0-0", 1)])
    plan = plan_pairs(fabric, [(f"h{n}", f"h{n + 16}") for n in range(1, 5)])
    assert plan.share == pytest.approx(0.7125)
    assert plan.worst_link_utilisation == pytest.approx(2 * 0.7125)
    assert plan.utilisation_bound == pytest.approx(2 * 0.7125)
    assert "whole pairs ask 1.42 times what it carries" in plan.reason


@pytest.mark.parametrize("link", [LinkId("a1-0", 3), LinkId("c1", 2), LinkId("e2-1", 4)])
def test_after_a_failure_no_path_uses_the_dead_link(link):
    dead = {link, FAT_TREE.link_by_id[link].reverse_id}
    plan = plan_pairs(FAT_TREE.without_links(dead), scattered_ring(FAT_TREE, 1))
    assert not dead & {step for path in plan.paths for step in path}
    assert plan.worst_link_utilisation <= plan.utilisation_bound * (1 + 1e-6)


def test_what_an_overload_does_not_hold_back_goes_at_line_rate():
    fabric = FAT_TREE.without_links([LinkId("e0-0", 3), LinkId("a0-0", 1)])
    plan = plan_pairs(fabric, [("h1", "h5"), ("h2", "h9"), ("h16", "h3")])
    assert plan.rates_bps == pytest.approx([4.75e6, 4.75e6, 9.5e6])
    assert plan.share == pytest.approx(0.475)


def test_pairs_below_the_bound_are_spread_and_not_stacked():
    plan = plan_pairs(FAT_TREE, [("h1", "h5"), ("h2", "h6"), ("h3", "h7"), ("h4", "h8")])
    assert most_on_a_link(plan) == 1


def test_a_plan_is_the_same_every_time_and_pickles():
    pairs = scattered_ring(FAT_TREE, 7)
    first, second = plan_pairs(FAT_TREE, pairs, seed=3), plan_pairs(FAT_TREE, pairs, seed=3)
    assert first.paths == second.paths
    assert pickle.loads(pickle.dumps(first)).paths == first.paths  # noqa: S301 (our own bytes)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_on_any_fabric_every_pair_gets_a_valid_path_and_a_proven_share(data):
    fabric = data.draw(fabrics())
    every = [(a.id, b.id) for a, b in combinations(fabric.hosts, 2)]
    pairs = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=6, unique=True))
    objective = data.draw(st.sampled_from(Objective))
    plan = plan_pairs(fabric, pairs, objective=objective)
    assert 0 < plan.share <= 1
    assert plan.share_certificate.gap < 1e-6
    assert plan.certificate.objective is objective
    assert plan.worst_link_utilisation >= plan.utilisation_bound * (1 - 1e-6)
    loads = Counter()
    for (source, target), path, rate in zip(plan.pairs, plan.paths, plan.rates_bps, strict=True):
        assert_path(fabric, path, source, target)
        line_rate = line_rate_bps(fabric, source, target)
        assert plan.share * line_rate * (1 - 1e-6) <= rate <= line_rate * (1 + 1e-6)
        loads.update(dict.fromkeys(path, rate))
    worst = max(load / fabric.link_by_id[link].capacity_bps for link, load in loads.items())
    assert plan.worst_link_utilisation == pytest.approx(worst)


def test_what_cannot_be_planned_is_said():
    alone = FAT_TREE.without_links([FAT_TREE.access_link("h1").id])
    with pytest.raises(InputError, match="'h1' is attached to no switch"):
        plan_pairs(alone, [("h1", "h2")])
    with pytest.raises(InputError, match="'h99' is not a host"):
        plan_pairs(FAT_TREE, [("h99", "h2")])
    with pytest.raises(InputError, match="there are no pairs"):
        plan_pairs(FAT_TREE, [])
    with pytest.raises(InputError, match="above 0 and at most 1"):
        plan_pairs(FAT_TREE, [("h1", "h2")], max_utilisation=0)
    cut = FAT_TREE.without_links([LinkId("e0-0", 3), LinkId("e0-0", 4)])
    with pytest.raises(Infeasible, match="no path leads from h1 to h16"):
        plan_pairs(cut, [("h1", "h16")])
