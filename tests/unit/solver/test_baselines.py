"""Routing without a solver."""

from collections import Counter

import pytest

from solver.baselines import ecmp, shortest
from solver.demand import Demand
from solver.errors import Infeasible
from solver.testing import assert_conserves, assert_single_paths_valid
from topologies.errors import InputError
from topologies.fat_tree import fat_tree
from topologies.shortest import next_hops

FAT_TREE = fat_tree(4, capacity_bps=1e7)
ACROSS = [Demand(f"h{n}", f"h{n + 8}", 1e7) for n in range(1, 9)]


def test_shortest_takes_the_lowest_port_of_every_hop():
    routing = shortest(FAT_TREE, ACROSS)
    hops = next_hops(FAT_TREE, "h9")
    assert all(link == hops[link.node][0] for link in routing.single_paths[0])
    assert_single_paths_valid(routing)
    assert_conserves(routing)
    assert routing.utilisations().max() == pytest.approx(4.0)


def test_ecmp_spreads_over_equal_cost_paths_by_its_seed():
    taken = Counter(ecmp(FAT_TREE, ACROSS, seed).single_paths[0] for seed in range(400))
    assert len(taken) == 4
    assert min(taken.values()) > 60
    assert ecmp(FAT_TREE, ACROSS, 3).single_paths == ecmp(FAT_TREE, ACROSS, 3).single_paths
    assert_single_paths_valid(ecmp(FAT_TREE, ACROSS, 3))


def test_a_host_out_of_reach_and_missing_demands_are_said():
    cut_off = FAT_TREE.without_links([FAT_TREE.access_link("h1").id])
    with pytest.raises(Infeasible, match="no path leads from h1 to h9"):
        shortest(cut_off, ACROSS)
    with pytest.raises(InputError, match="there are no demands"):
        ecmp(FAT_TREE, [], 0)
