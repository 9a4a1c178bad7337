"""Verdicts refuse results that cannot be: too fast, too much on a link, bytes that were never on the wire."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mininet_scenarios.first_light import Comparison, Routing
from mininet_scenarios.testing import BOUND_S, FABRIC, changed, sound_comparison, sound_run
from mininet_scenarios.verdict import Gain, checks, gain_checks
from topologies.fabric import LinkId

LINK = next(iter(FABRIC.link_by_id))


def failed(comparison: Comparison) -> set[str]:
    return {check.name for check in checks(comparison) if not check.passed}


def with_link_bytes(link: LinkId, sent: float) -> Comparison:
    comparison = sound_comparison()
    return changed(comparison, link_bytes={**comparison.runs[0].results[0].link_bytes, link: round(sent)})


def test_a_sound_run_passes_every_check() -> None:
    assert failed(sound_comparison()) == set()


def test_one_wrong_element_is_a_miss() -> None:
    assert failed(changed(sound_comparison(), wrong=1)) == {"every element right on every rank"}


def test_data_that_moved_through_memory_is_a_miss() -> None:
    assert "host interfaces account for the data" in failed(changed(sound_comparison(), received_bytes=(0, 0)))


def test_a_time_below_the_bound_is_a_miss() -> None:
    assert "no time below the bound" in failed(sound_comparison(BOUND_S * 0.9))


def test_a_link_that_carries_more_than_its_capacity_is_a_miss() -> None:
    # Four flows crossed links that were not shaped, and every other check passed.
    assert "no link above its capacity" in failed(with_link_bytes(LINK, 3.9 * 10e6 / 8 * BOUND_S))


def test_a_slow_plan_is_a_miss() -> None:
    assert "optimised reaches the bound" in failed(sound_comparison(BOUND_S / 0.88))


def test_a_planned_link_that_carried_less_than_planned_is_a_miss() -> None:
    sent = sound_comparison().runs[0].results[0].link_bytes[LINK]
    assert failed(with_link_bytes(LINK, 0.9 * sent)) == {"planned links carry what was planned"}


def test_a_plan_of_no_paths_is_a_miss() -> None:
    comparison = sound_comparison()
    unplanned = replace(comparison, runs=(replace(comparison.runs[0], plan=()),))
    assert "planned links carry what was planned" in failed(unplanned)


def test_traffic_on_a_link_that_nothing_was_planned_for_is_a_miss() -> None:
    comparison = sound_comparison()
    run = comparison.runs[0]
    elsewhere = tuple(replace(pair, links=tuple(set(pair.links) - {LINK})) for pair in run.plan)
    assert failed(replace(comparison, runs=(replace(run, plan=elsewhere),))) == {"other links stay quiet"}


def test_a_core_that_ecmp_leaves_out_is_a_miss() -> None:
    comparison = sound_comparison(runs=(sound_run(Routing.ECMP),))
    assert failed(comparison) == set()
    (core,) = (node.id for node in FABRIC.switches if node.tier == 3)
    sent = {link: 0 if link.node == core else count for link, count in comparison.runs[0].results[0].link_bytes.items()}
    assert failed(changed(comparison, link_bytes=sent)) == {"ECMP uses every core"}


def test_gains_are_judged_by_mean_and_by_the_worst_seed() -> None:
    gains = [Gain(seed, 9e6, 9e6 / ratio, 2, (4, 4)) for seed, ratio in ((1, 2.5), (2, 0.9))]
    assert [check.passed for check in gain_checks(gains)] == [True, False]
    assert gains[1].ratio == pytest.approx(0.9)
