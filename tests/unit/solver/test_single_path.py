"""Choosing one path for each demand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.candidates import Candidates
from solver.demand import Demand
from solver.instance import build
from solver.single_path import choose, integral_bound
from solver.testing import assert_path, demands, fabrics
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree


def _least_by_trying_all(candidates, rates, capacities):
    loads = np.zeros((1, len(capacities)))
    for options, rate in zip(candidates, rates, strict=True):
        added = np.zeros((len(options), len(capacities)))
        for row, path in zip(added, options, strict=True):
            row[list(path)] = rate
        loads = (loads[:, None, :] + added[None, :, :]).reshape(-1, len(capacities))
    return float((loads / capacities).max(axis=1).min())


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_choice_is_better_than_the_one_made(data):
    fabric = data.draw(fabrics(max_switches=5))
    wanted = data.draw(demands(fabric, max_demands=4))
    instance = build(fabric, wanted)
    walks = Candidates(instance, limit=6, seed=0)
    candidates = [walks.longer(number, 2) for number in range(len(wanted))]
    rates = np.array([demand.rate_bps for demand in wanted])
    choice = choose(candidates, rates, fabric.capacities_bps, 0.0, backend="highs", seed=0)
    assert choice.worst == pytest.approx(_least_by_trying_all(candidates, rates, fabric.capacities_bps))
    for demand, path in zip(wanted, choice.paths, strict=True):
        assert_path(fabric, tuple(fabric.links[link].id for link in path), demand.source, demand.target)


@pytest.mark.parametrize("backend", ["highs", "cbc"])
def test_the_exact_program_decides_where_the_bound_is_out_of_reach(backend):
    candidates = [[(0,), (1,)]] * 3
    choice = choose(candidates, np.array([3.0, 3.0, 2.0]), np.array([10.0, 10.0]), 0.4, backend=backend, seed=0)
    assert choice.worst == pytest.approx(0.5)


def test_equal_demands_load_links_in_whole_numbers():
    assert integral_bound(0.95, np.array([0.7125] * 4), np.ones(3)) == pytest.approx(1.425)
    assert integral_bound(0.95, np.array([0.95] * 4), np.ones(3)) == pytest.approx(0.95)
    assert integral_bound(0.95, np.array([0.7, 0.8]), np.ones(3)) == 0.95


def test_candidates_are_all_equal_cost_paths_and_then_the_longer_ones():
    fabric = fat_tree(4, capacity_bps=1e7)
    instance = build(fabric, [Demand("h1", "h16", 1.0), Demand("h1", "h2", 1.0)])
    walks = Candidates(instance, limit=100, seed=0)
    assert len(walks.shortest(0)) == 4
    assert {len(path) for path in walks.shortest(1)} == {2}
    lengths = [len(path) for path in walks.longer(0, 2)]
    assert lengths[:4] == [6, 6, 6, 6]
    assert set(lengths[4:]) == {8}
    assert len(Candidates(instance, limit=3, seed=0).shortest(0)) == 3


def test_among_paths_without_delay_the_one_with_fewest_hops_is_shortest():
    nodes = tuple(Node(name, NodeKind.SWITCH) for name in "abc")
    ends = (("a", 1, "b", 1), ("b", 2, "c", 1), ("a", 2, "c", 2))
    fabric = Fabric(nodes, tuple(Link(*end, capacity_bps=1.0, delay_s=0.0) for end in ends))
    instance = build(fabric, [Demand("a", "c", 1.0)])
    assert Candidates(instance, limit=9, seed=0).shortest(0) == [(2,)]
