"""What a job asks of the fabric: its pairs at line rate."""

from __future__ import annotations

from solver.demand import Demand
from topologies.access import line_rate_bps
from topologies.fabric import Fabric
from workloads.collectives import job_pairs
from workloads.job import Job


def job_demands(fabric: Fabric, job: Job) -> tuple[Demand, ...]:
    """One demand for each pair between which the job moves data, at all that their access links give.

    A collective's time falls with its slowest pair's rate and knows no rate at which it is content.

    Raises
    ------
    InputError
        A rank's host is unknown or attached nowhere, or its link has no capacity.
    """
    return tuple(Demand(source, target, line_rate_bps(fabric, source, target)) for source, target in job_pairs(job))
