"""Placement of ranks."""

import pytest

from topologies.errors import InputError
from topologies.fat_tree import fat_tree
from workloads.collectives import ring_pairs
from workloads.placement import scatter

FAT_TREE = fat_tree(4, capacity_bps=1e7)
HOSTS = [host.id for host in FAT_TREE.hosts]


def test_scattered_ranks_use_every_host_once_and_follow_the_seed():
    assert sorted(scatter(HOSTS, 16, seed=1)) == sorted(HOSTS)
    assert scatter(HOSTS, 16, seed=1) == scatter(HOSTS, 16, seed=1)
    assert scatter(HOSTS, 16, seed=1) != scatter(HOSTS, 16, seed=2)
    assert len(set(scatter(HOSTS, 5, seed=1))) == 5


def test_ring_neighbours_mostly_sit_in_different_pods():
    pod = {host.id: host.pod for host in FAT_TREE.hosts}
    pairs = [pair for seed in range(100) for pair in ring_pairs(scatter(HOSTS, 16, seed))]
    apart = sum(pod[a] != pod[b] for a, b in pairs) / len(pairs)
    assert 0.75 < apart < 0.85


@pytest.mark.parametrize("ranks", [0, 1, 17])
def test_ranks_that_do_not_fit_are_said(ranks):
    with pytest.raises(InputError, match=f"{ranks} ranks do not fit on 16 hosts"):
        scatter(HOSTS, ranks, seed=1)
