"""Verdicts refuse results that cannot be: too fast, too much on a link, bytes that were never on the wire."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mininet_scenarios.all_reduce import ACK_OVERHEAD, DATA_OVERHEAD, SizeResult
from mininet_scenarios.first_light import Comparison, PlannedPair, Routing, Run
from mininet_scenarios.nccl import Timing
from mininet_scenarios.verdict import Gain, checks, gain_checks
from topologies.fat_tree import fat_tree
from workloads.collectives import ring_all_reduce_bound_s, ring_all_reduce_bytes

FABRIC = fat_tree(2, capacity_bps=10e6)
RANKS = tuple(node.id for node in FABRIC.hosts)
SIZE = 1 << 20
BOUND_S = ring_all_reduce_bound_s(SIZE, 2, 10e6)


def good(seconds: float = BOUND_S * 1.02) -> Comparison:
    """Two ranks, one iteration, every byte where it belongs: each link carries one direction's data."""
    data = ring_all_reduce_bytes(SIZE, 2)
    expected = data * (1 + DATA_OVERHEAD + ACK_OVERHEAD)
    carried = dict.fromkeys(FABRIC.link_by_id, round(expected))
    result = SizeResult(
        timing=Timing(SIZE, 2, (seconds,), BOUND_S, BOUND_S),
        wrong=0, sent_bytes=(round(expected),) * 2, received_bytes=(round(expected),) * 2,
        expected_bytes=expected, link_bytes=carried, elapsed_s=seconds * 1.05, cpu_idle=0.5,
    )  # fmt: skip
    both = [
        PlannedPair(RANKS[0], RANKS[1], tuple(FABRIC.link_by_id), carries_data=True),
        PlannedPair(RANKS[1], RANKS[0], tuple(FABRIC.link_by_id), carries_data=False),
    ]
    return Comparison(FABRIC, 1, RANKS, 0.99, (Run(Routing.OPTIMISED, (result,), tuple(both), 0.95),))


def changed(comparison: Comparison, **values: object) -> Comparison:
    run = comparison.runs[0]
    return replace(comparison, runs=(replace(run, results=(replace(run.results[0], **values),)),))


def failed(comparison: Comparison) -> set[str]:
    return {check.name for check in checks(comparison) if not check.passed}


def test_a_sound_run_passes_every_check() -> None:
    assert failed(good()) == set()


def test_one_wrong_element_is_a_miss() -> None:
    assert failed(changed(good(), wrong=1)) == {"every element right on every rank"}


def test_data_that_moved_through_memory_is_a_miss() -> None:
    assert "host interfaces account for the data" in failed(changed(good(), received_bytes=(0, 0)))


def test_a_time_below_the_bound_is_a_miss() -> None:
    assert "no time below the bound" in failed(good(BOUND_S * 0.9))


def test_a_link_that_carries_more_than_its_capacity_is_a_miss() -> None:
    # Four flows crossed links that were not shaped, and every other check passed.
    comparison = good()
    link = next(iter(FABRIC.link_by_id))
    sent = dict(comparison.runs[0].results[0].link_bytes) | {link: round(3.9 * 10e6 / 8 * BOUND_S)}
    assert "no link above its capacity" in failed(changed(comparison, link_bytes=sent))


def test_a_slow_plan_is_a_miss() -> None:
    assert "optimised reaches the bound" in failed(good(BOUND_S / 0.88))


def test_gains_are_judged_by_mean_and_by_the_worst_seed() -> None:
    gains = [Gain(seed, 9e6, 9e6 / ratio, 2, (4, 4)) for seed, ratio in ((1, 2.5), (2, 0.9))]
    assert [check.passed for check in gain_checks(gains)] == [True, False]
    assert gains[1].ratio == pytest.approx(0.9)
