"""Who sends how much to whom in a collective, and the shortest time that it can take."""

from __future__ import annotations

from itertools import permutations

from workloads.job import Collective, Job


def ring_pairs(ranks: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Sender and receiver of each ring step: every rank sends to its successor, the last to the first."""
    return tuple(zip(ranks, ranks[1:] + ranks[:1], strict=True))


def all_to_all_pairs(ranks: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Sender and receiver of each part: every rank sends to every other."""
    return tuple(permutations(ranks, 2))


def job_pairs(job: Job) -> tuple[tuple[str, str], ...]:
    """The host pairs between which a job moves its data."""
    return all_to_all_pairs(job.ranks) if job.collective is Collective.ALL_TO_ALL else ring_pairs(job.ranks)


def sent_bytes(job: Job) -> float:
    """Bytes that each rank sends in one operation."""
    if job.collective is Collective.ALL_TO_ALL:
        return all_to_all_bytes(job.message_bytes, len(job.ranks))
    return ring_all_reduce_bytes(job.message_bytes, len(job.ranks))


def all_to_all_bytes(message_bytes: int, ranks: int) -> float:
    """Bytes that each rank sends in an all-to-all: ``(n-1)/n * S``, as its own part stays.

    Source: NVIDIA nccl-tests, doc/PERFORMANCE.md, whose bus bandwidth is this over the time.
    """
    return (ranks - 1) / ranks * message_bytes


def ring_all_reduce_bytes(message_bytes: int, ranks: int) -> float:
    """Bytes that each rank sends in a ring all-reduce: ``2(n-1)/n * S``.

    Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
    workstations", JPDC 69(2), 2009.
    """
    return 2 * (ranks - 1) / ranks * message_bytes


def ring_all_reduce_bound_s(message_bytes: int, ranks: int, rate_bps: float) -> float:
    """Shortest time of a ring all-reduce over links of ``rate_bps``, in seconds."""
    return ring_all_reduce_bytes(message_bytes, ranks) * 8 / rate_bps


def operation_bound_s(job: Job, rate_bps: float) -> float:
    """Shortest time of one operation over access links of ``rate_bps``, in seconds."""
    return sent_bytes(job) * 8 / rate_bps
