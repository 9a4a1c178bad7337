"""A load that stays above the declared capacity is told once, a burst is not."""

from __future__ import annotations

from controller.overload import READINGS, OverloadWatch
from topologies.fabric import Link

LINK = Link("s1", 1, "s2", 1, capacity_bps=1e7, delay_s=1e-6)


def told(loads_bps: list[float | None]) -> int:
    watch = OverloadWatch()
    return sum(len(watch.read(LINK, load_bps)) for load_bps in loads_bps)


def test_a_load_that_stays_is_told_once() -> None:
    assert told([2e7] * (READINGS - 1)) == 0
    assert told([2e7] * (5 * READINGS)) == 1


def test_a_full_link_and_a_burst_are_no_overload() -> None:
    assert told([1.02e7] * 20) == 0
    assert told([2e7, 1e6] * 20) == 0


def test_after_it_has_fallen_it_is_told_again() -> None:
    assert told([2e7] * READINGS + [0.0] + [2e7] * READINGS) == 2


def test_nothing_is_said_of_a_link_without_readings() -> None:
    assert told([None] * 10) == 0
