"""Who sends to whom, and how much: by the papers, and by the factors that nccl-tests uses."""

from __future__ import annotations

import pytest

from topologies.errors import InputError
from workloads.collectives import job_pairs, operation_bound_s, sent_bytes
from workloads.files import JobFile
from workloads.job import Algorithm, Collective, Job

RANKS = ("a", "b", "c", "d")
RING = Job("r", RANKS, 400)
ALL_TO_ALL = Job("x", RANKS, 400, Collective.ALL_TO_ALL, Algorithm.PAIRWISE)


def test_a_ring_has_a_pair_for_each_rank_and_an_all_to_all_one_for_each_two() -> None:
    assert job_pairs(RING) == (("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"))
    assert set(job_pairs(ALL_TO_ALL)) == {(a, b) for a in RANKS for b in RANKS if a != b}
    assert len(job_pairs(ALL_TO_ALL)) == 12


def test_bytes_are_those_of_nccl_tests_factors() -> None:
    assert sent_bytes(RING) == 2 * 3 / 4 * 400
    assert sent_bytes(ALL_TO_ALL) == 3 / 4 * 400
    assert operation_bound_s(ALL_TO_ALL, 2400.0) == pytest.approx(1.0)


@pytest.mark.parametrize("collective", list(Collective))
def test_the_algorithm_of_a_collective_may_be_left_out(collective: Collective) -> None:
    job = JobFile(name="j", ranks=RANKS, message_bytes=8, collective=collective).to_job()
    assert job.collective is collective
    assert JobFile.from_job(job).to_job() == job


def test_another_algorithm_is_refused() -> None:
    with pytest.raises(InputError, match="all-to-all is pairwise"):
        Job("x", RANKS, 400, Collective.ALL_TO_ALL, Algorithm.RING)


def test_more_pairs_than_anybody_plans_are_refused() -> None:
    ranks = tuple(f"h{number}" for number in range(600))
    with pytest.raises(InputError, match="at most 262,144 pairs"):
        Job("x", ranks, 400, Collective.ALL_TO_ALL, Algorithm.PAIRWISE)
    assert len(Job("x", ranks, 400).ranks) == 600
