"""Predicted collectives."""

import pytest

from simulator.collectives import predict
from solver.baselines import shortest
from solver.share import plan_pairs
from topologies.errors import InputError
from topologies.fat_tree import fat_tree
from workloads.collectives import job_pairs
from workloads.demands import job_demands
from workloads.job import Algorithm, Collective, Job
from workloads.placement import scatter

FAT_TREE = fat_tree(4, capacity_bps=1e7)
JOB = Job("ring", scatter([host.id for host in FAT_TREE.hosts], 16, seed=1), 1_000_000)


def test_conflict_free_paths_reach_the_bound():
    prediction = predict(FAT_TREE, JOB, plan_pairs(FAT_TREE, job_pairs(JOB)).paths)
    assert prediction.seconds == pytest.approx(2 * 15 / 16 * 8e6 / 1e7)
    assert prediction.bus_bandwidth == pytest.approx(1e7 / 8)
    assert prediction.efficiency == pytest.approx(1.0)


def test_the_slowest_pair_sets_the_pace():
    routing = shortest(FAT_TREE, job_demands(FAT_TREE, JOB))
    prediction = predict(FAT_TREE, JOB, routing.single_paths)
    most = round(routing.utilisations().max())
    assert most > 1
    assert prediction.efficiency == pytest.approx(1 / most)
    assert prediction.slowest in job_pairs(JOB)


def test_paths_that_are_not_the_jobs_are_refused():
    paths = plan_pairs(FAT_TREE, job_pairs(JOB)).paths
    with pytest.raises(InputError, match="16 pairs but 15 paths"):
        predict(FAT_TREE, JOB, paths[1:])
    with pytest.raises(InputError, match="does not lead there"):
        predict(FAT_TREE, JOB, paths[1:] + paths[:1])


def all_to_all(*ranks: str, message_bytes: int = 1_000_000) -> Job:
    return Job("a2a", ranks, message_bytes, Collective.ALL_TO_ALL, Algorithm.PAIRWISE)


def test_an_all_to_all_under_one_switch_fills_the_access_links():
    job = all_to_all("h1", "h2")
    prediction = predict(FAT_TREE, job, plan_pairs(FAT_TREE, job_pairs(job)).paths)
    assert prediction.seconds == pytest.approx(1 / 2 * 8e6 / 1e7)
    assert prediction.bus_bandwidth == pytest.approx(1e7 / 8)
    assert prediction.efficiency == pytest.approx(1.0)


def test_pairs_of_an_all_to_all_that_are_done_make_room_for_the_others():
    job = all_to_all("h1", "h2", "h5")
    routing = shortest(FAT_TREE, job_demands(FAT_TREE, job))
    prediction = predict(FAT_TREE, job, routing.single_paths)
    part_s = 1e6 / 3 * 8 / 1e7
    # h1 → h5 and h2 → h5 share h5's link, and so do those back; h1 ↔ h2 use the rest of theirs.
    assert prediction.seconds == pytest.approx(2 * part_s)
    assert prediction.efficiency == pytest.approx(1.0)
