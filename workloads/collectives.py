"""Who sends how much to whom in a collective, and the shortest time that it can take."""

from __future__ import annotations

from workloads.job import Job


def ring_pairs(ranks: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Sender and receiver of each ring step: every rank sends to its successor, the last to the first."""
    return tuple(zip(ranks, ranks[1:] + ranks[:1], strict=True))


def job_pairs(job: Job) -> tuple[tuple[str, str], ...]:
    """The host pairs between which a job moves its data."""
    return ring_pairs(job.ranks)


def ring_all_reduce_bytes(message_bytes: int, ranks: int) -> float:
    """Bytes that each rank sends in a ring all-reduce: ``2(n-1)/n * S``.

    Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
    workstations", JPDC 69(2), 2009.
    """
    return 2 * (ranks - 1) / ranks * message_bytes


def ring_all_reduce_bound_s(message_bytes: int, ranks: int, rate_bps: float) -> float:
    """Shortest time of a ring all-reduce over links of ``rate_bps``, in seconds."""
    return ring_all_reduce_bytes(message_bytes, ranks) * 8 / rate_bps
