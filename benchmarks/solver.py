"""Measures the solver on fat-trees: backends against each other, one path per pair against fractions.

Run ``python -m benchmarks.solver [--k 4 8] [--seeds 3]`` in the repository's root; it prints one line
per fabric and seed, with ratios from the same run. Times depend on the machine, ratios less so.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from statistics import mean

from simulator.collectives import predict
from solver.backends import Backend
from solver.baselines import ecmp, shortest
from solver.share import PairPlan, plan_pairs
from topologies.fabric import Fabric
from topologies.fat_tree import fat_tree
from workloads.collectives import job_pairs
from workloads.demands import job_demands
from workloads.job import Job
from workloads.placement import scatter

ECMP_SEEDS = 20
COLUMNS = (
    "k", "pairs", "seed", "HiGHS s", "CBC s", "CBC/HiGHS", "gap", "worst/bound", "flows/link", "vs ECMP", "vs shortest",
)  # fmt: skip


def timed_plan(fabric: Fabric, job: Job, backend: Backend) -> tuple[PairPlan, float]:
    """A plan and the seconds that it took."""
    begun = time.perf_counter()
    plan = plan_pairs(fabric, job_pairs(job), backend=backend)
    return plan, time.perf_counter() - begun


def measure(k: int, seed: int) -> tuple[str, ...]:
    """One line of the table: a scattered ring over all hosts of a k-ary fat-tree."""
    fabric = fat_tree(k, capacity_bps=1e9)
    job = Job("ring", scatter([host.id for host in fabric.hosts], len(fabric.hosts), seed), 1 << 30)
    plan, highs_s = timed_plan(fabric, job, Backend.HIGHS)
    _, cbc_s = timed_plan(fabric, job, Backend.CBC)
    planned = predict(fabric, job, plan.paths).bus_bandwidth
    demands = job_demands(fabric, job)
    hashed = mean(
        predict(fabric, job, ecmp(fabric, demands, hashing).single_paths or ()).bus_bandwidth
        for hashing in range(ECMP_SEEDS)
    )
    lowest_port = predict(fabric, job, shortest(fabric, demands).single_paths or ()).bus_bandwidth
    most = max(Counter(link for path in plan.paths for link in path).values())
    return (
        str(k), str(len(plan.pairs)), str(seed), f"{highs_s:.2f}", f"{cbc_s:.2f}", f"{cbc_s / highs_s:.2f}",
        f"{plan.certificate.gap:.1e}", f"{plan.worst_link_utilisation / plan.utilisation_bound:.3f}", str(most),
        f"{planned / hashed:.2f}", f"{planned / lowest_port:.2f}",
    )  # fmt: skip


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, nargs="+", default=[4, 8], help="fat-trees to plan on")
    parser.add_argument("--seeds", type=int, default=3, help="placements per fat-tree")
    options = parser.parse_args(arguments)
    # Imports and the first call of each backend cost once and belong to no line.
    warm = fat_tree(2, capacity_bps=1e9)
    for backend in Backend:
        plan_pairs(warm, [("h1", "h2"), ("h2", "h1")], backend=backend)
    lines: list[tuple[str, ...]] = [COLUMNS]
    lines += [measure(k, seed) for k in options.k for seed in range(options.seeds)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    for line in lines:
        sys.stdout.write("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
