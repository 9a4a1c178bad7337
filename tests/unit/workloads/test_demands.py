"""Demands of a job."""

import pytest

from solver.demand import Demand
from topologies.errors import InputError
from topologies.fat_tree import fat_tree
from workloads.demands import job_demands
from workloads.job import Job

FAT_TREE = fat_tree(4, capacity_bps=1e7)


def test_a_ring_asks_for_line_rate_between_neighbours():
    job = Job("ring", ("h1", "h9", "h5"), 1_000)
    assert job_demands(FAT_TREE, job) == (Demand("h1", "h9", 1e7), Demand("h9", "h5", 1e7), Demand("h5", "h1", 1e7))


def test_an_unknown_host_is_named():
    with pytest.raises(InputError, match="'h99' is not a host"):
        job_demands(FAT_TREE, Job("ring", ("h1", "h99"), 1_000))
