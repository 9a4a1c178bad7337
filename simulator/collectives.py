"""What a collective would take on given paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.maxmin import max_min_rates
from solver.routing import Path
from topologies.access import line_rate_bps
from topologies.errors import InputError
from topologies.fabric import Fabric
from workloads.collectives import job_pairs, operation_bound_s, sent_bytes
from workloads.job import Collective, Job

_TOGETHER = 1e-9
"""Flows that are done so close together, relatively, are done at once."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted collective.

    Attributes
    ----------
    seconds : float
        Of one operation.
    bus_bandwidth : float
        Bytes per second as nccl-tests counts them: ``2(n-1)/n * S / t`` for all-reduce, ``(n-1)/n * S / t`` for
        all-to-all.
    bound_seconds : float
        Shortest time that the access links allow.
    slowest : tuple of str
        The pair that sets the pace, or is done last.
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
    """Time of a collective whose pairs send on these paths, all at once, at max-min fair rates.

    In a ring, every rank waits for its predecessor in each of the 2(n-1) steps, so it runs at the rate of its slowest
    pair. In an all-to-all, pairs that are done leave the others what they had. Headers, latency and start-up are left
    out: what remains is what routing decides.

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
    moved_bytes = sent_bytes(job)
    if job.collective is Collective.ALL_TO_ALL:
        seconds, slowest = _last_of(fabric, paths, moved_bytes / (len(job.ranks) - 1))
    else:
        rates = max_min_rates(fabric, paths)
        slowest = int(rates.argmin())
        seconds = moved_bytes * 8 / float(rates[slowest])
    line_rate = min(line_rate_bps(fabric, source, target) for source, target in pairs)
    return Prediction(seconds, moved_bytes / seconds, operation_bound_s(job, line_rate), pairs[slowest])


def _last_of(fabric: Fabric, paths: Sequence[Path], each_bytes: float) -> tuple[float, int]:
    """When the last of some equal flows that begin at once is done, and which one that is."""
    left = np.full(len(paths), each_bytes * 8)
    under_way = np.arange(len(paths))
    seconds, last = 0.0, 0
    while len(under_way):
        rates = max_min_rates(fabric, [paths[flow] for flow in under_way.tolist()])
        times = left[under_way] / rates
        step = float(times.min())
        last = int(under_way[times.argmin()])
        seconds += step
        left[under_way] -= step * rates
        under_way = under_way[times > step * (1 + _TOGETHER)]
    return seconds, last
