"""What a collective would take on given paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.maxmin import max_min_rates
from solver.routing import Path
from topologies.access import line_rate_bps
from topologies.errors import InputError
from topologies.fabric import Fabric
from workloads.collectives import job_pairs, ring_all_reduce_bound_s, ring_all_reduce_bytes
from workloads.job import Job


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted collective.

    Attributes
    ----------
    seconds : float
        Of one operation.
    bus_bandwidth : float
        Bytes per second as nccl-tests counts them for all-reduce: ``2(n-1)/n * S / t``.
    bound_seconds : float
        Shortest time that the access links allow.
    slowest : tuple of str
        The pair that sets the pace.
    """

    seconds: float
    bus_bandwidth: float
    bound_seconds: float
    slowest: tuple[str, str]

    @property
    def efficiency(self) -> float:
        """Share of what the access links allow, at most 1."""
        return self.bound_seconds / self.seconds


def predict(fabric: Fabric, job: Job, paths: Sequence[Path]) -> Prediction:
    """Time of a ring all-reduce whose pairs send on these paths, all at once.

    Every rank waits for its predecessor in each of the 2(n-1) steps, so the ring runs at the rate of its
    slowest pair, taken at the max-min fair rates of all pairs together. Headers, latency and start-up
    are left out: what remains is what routing decides.

    Parameters
    ----------
    paths : sequence of Path
        Of each pair, in the order of ``job_pairs(job)``.

    Raises
    ------
    InputError
        The paths are not one for each pair, or do not lie in the fabric.
    """
    pairs = job_pairs(job)
    if len(paths) != len(pairs):
        raise InputError(f"job {job.name!r} has {len(pairs)} pairs but {len(paths)} paths are given; give one for each")
    for (source, target), path in zip(pairs, paths, strict=True):
        last = fabric.link_by_id.get(path[-1]) if path else None
        if last is None or path[0].node != source or last.target != target:
            raise InputError(f"the path given for {source} → {target} does not lead there")
    rates = max_min_rates(fabric, paths)
    slowest = int(rates.argmin())
    moved_bytes = ring_all_reduce_bytes(job.message_bytes, len(job.ranks))
    seconds = moved_bytes * 8 / float(rates[slowest])
    line_rate = min(line_rate_bps(fabric, source, target) for source, target in pairs)
    bound = ring_all_reduce_bound_s(job.message_bytes, len(job.ranks), line_rate)
    return Prediction(seconds, moved_bytes / seconds, bound, pairs[slowest])
