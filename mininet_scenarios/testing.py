"""Results of runs that never were, each number as it should be, for tests to spoil one at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mininet_scenarios.all_reduce import ACK_OVERHEAD, DATA_OVERHEAD, SizeResult
from mininet_scenarios.first_light import Comparison, PlannedPair, Routing, Run
from mininet_scenarios.nccl import Timing
from topologies.fat_tree import fat_tree
from workloads.collectives import ring_all_reduce_bound_s, ring_all_reduce_bytes

FABRIC = fat_tree(2, capacity_bps=10e6)
RANKS = tuple(node.id for node in FABRIC.hosts)
SIZE_BYTES = 1 << 20
BOUND_S = ring_all_reduce_bound_s(SIZE_BYTES, 2, 10e6)


def sound_run(routing: Routing = Routing.OPTIMISED, seconds: float = BOUND_S * 1.02) -> Run:
    """Two ranks, one iteration, every byte where it belongs: each link carries one direction's data."""
    data = ring_all_reduce_bytes(SIZE_BYTES, 2)
    expected = data * (1 + DATA_OVERHEAD + ACK_OVERHEAD)
    result = SizeResult(
        timing=Timing(SIZE_BYTES, 2, (seconds,), BOUND_S, BOUND_S),
        wrong=0, sent_bytes=(round(expected),) * 2, received_bytes=(round(expected),) * 2, expected_bytes=expected,
        link_bytes=dict.fromkeys(FABRIC.link_by_id, round(expected)), elapsed_s=seconds * 1.05, cpu_idle=0.5,
    )  # fmt: skip
    if routing is not Routing.OPTIMISED:
        return Run(routing, (result,))
    plan = (
        PlannedPair(RANKS[0], RANKS[1], tuple(FABRIC.link_by_id), carries_data=True),
        PlannedPair(RANKS[1], RANKS[0], tuple(FABRIC.link_by_id), carries_data=False),
    )
    return Run(routing, (result,), plan, 0.95)


def sound_comparison(
    seconds: float = BOUND_S * 1.02, *, seed: int = 1, runs: tuple[Run, ...] | None = None
) -> Comparison:
    """A comparison that passes every check, of one optimised run or of the runs given."""
    return Comparison(FABRIC, seed, RANKS, 0.99, runs or (sound_run(seconds=seconds),))


def changed(comparison: Comparison, **values: Any) -> Comparison:
    """The comparison with its first run's only result changed."""
    run = comparison.runs[0]
    return replace(comparison, runs=(replace(run, results=(replace(run.results[0], **values),)), *comparison.runs[1:]))
