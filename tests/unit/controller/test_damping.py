"""A cable that fails again and again is used only after it has stayed up; one that failed once is used at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.damping import HALF_LIFE_S, Damping, Sifted, cable_between
from controller.ports import PortId

LONGEST_S = 60.0
A, B = PortId(1, 1), PortId(2, 1)
A2, B2 = PortId(1, 2), PortId(2, 2)
CABLE, OTHER = cable_between(A, B), cable_between(A2, B2)
BOTH = [(A, B), (B, A), (A2, B2), (B2, A2)]


def flap(damping: Damping, times: int, now_s: float, every_s: float = 0.0) -> float:
    for _ in range(times):
        damping.lost(CABLE, now_s)
        damping.sift(BOTH, now_s)
        now_s += every_s
    return now_s


def waits_s(damping: Damping, now_s: float) -> float:
    """How long the cable still has to stay up."""
    waited_s = 0.0
    while damping.sift(BOTH, now_s + waited_s).held:
        waited_s += 0.5
    return waited_s


def kinds(sifted: Sifted) -> list[str]:
    return [change.kind for change in sifted.changes]


@pytest.mark.parametrize("times", [1, 2])
def test_a_cable_that_was_put_in_again_is_used_at_once(times: int) -> None:
    damping = Damping(LONGEST_S)
    flap(damping, times, 0.0)
    assert damping.sift(BOTH, 0.0).used == tuple(BOTH)


def test_each_further_loss_doubles_the_time_up_to_the_longest() -> None:
    waits = []
    for times in range(3, 12):
        damping = Damping(LONGEST_S)
        flap(damping, times, 0.0)
        waits.append(waits_s(damping, 0.0))
    assert waits[:4] == [4.0, 8.0, 16.0, 32.0]
    assert set(waits[5:]) == {LONGEST_S}


def test_a_loss_within_the_time_starts_it_anew_and_a_flapper_carries_nothing() -> None:
    damping = Damping(LONGEST_S)
    now_s = flap(damping, 5, 0.0, 1.0)
    for _ in range(40):
        damping.lost(CABLE, now_s)
        for _ in range(30):
            assert damping.sift(BOTH, now_s).held == (CABLE, CABLE[::-1])
            now_s += 1.0


def test_losses_of_long_ago_are_forgiven() -> None:
    damping = Damping(LONGEST_S)
    flap(damping, 10, 0.0)
    now_s = 20 * HALF_LIFE_S
    assert damping.sift(BOTH, now_s).used == tuple(BOTH)
    damping.lost(CABLE, now_s)
    assert damping.sift(BOTH, now_s).used == tuple(BOTH)


def test_beginning_and_end_are_told_once_and_the_end_is_due_when_it_comes() -> None:
    damping = Damping(LONGEST_S)
    damping.lost(CABLE, 0.0)
    damping.lost(CABLE, 0.0)
    damping.lost(CABLE, 0.0)
    assert kinds(damping.sift(BOTH, 0.0)) == ["link-damped"]
    assert kinds(damping.sift(BOTH, 1.0)) == []
    damping.lost(CABLE, 1.0)
    assert kinds(damping.sift(BOTH, 2.0)) == []
    assert not damping.is_due(5.0)
    assert damping.is_due(15.0)
    assert kinds(damping.sift(BOTH, 15.0)) == ["link-steady"]
    assert not damping.is_due(15.0)


def test_a_cable_that_is_gone_while_it_is_damped_is_not_due() -> None:
    damping = Damping(LONGEST_S)
    flap(damping, 5, 0.0)
    damping.sift(BOTH[2:], 0.0)
    assert not damping.is_due(1000.0)


def test_without_which_the_fabric_would_fall_apart_it_is_used_and_that_is_told() -> None:
    damping = Damping(LONGEST_S)
    flap(damping, 5, 0.0)
    alone = [CABLE, CABLE[::-1]]
    sifted = damping.sift(alone, 0.0)
    assert (sifted.used, sifted.held, sifted.needed) == (tuple(alone), (), tuple(alone))
    assert kinds(sifted) == ["link-needed"]
    assert damping.sift(BOTH, 1.0).held == tuple(alone)


def test_of_two_damped_cables_one_is_enough_and_it_stays_the_one() -> None:
    damping = Damping(LONGEST_S)
    for number, cable in enumerate((CABLE, OTHER)):
        for _ in range(5 + number):
            damping.lost(cable, 0.0)
    assert damping.sift(BOTH, 0.0).needed == (CABLE, CABLE[::-1])
    for _ in range(3):
        damping.lost(CABLE, 1.0)
        assert damping.sift(BOTH, 1.0).needed == (CABLE, CABLE[::-1])


def test_no_time_at_all_uses_every_cable_at_once() -> None:
    damping = Damping(longest_s=0.0)
    flap(damping, 50, 0.0)
    assert damping.sift(BOTH, 0.0).held == ()


CABLES = [cable_between(PortId(a, 10 + b), PortId(b, 10 + a)) for a in range(1, 5) for b in range(a + 1, 5)]


@given(st.lists(st.sampled_from(CABLES), max_size=40), st.sets(st.sampled_from(CABLES), min_size=1))
def test_what_is_connected_stays_connected(losses: list[tuple[PortId, PortId]], there: set[tuple[PortId, PortId]]):
    damping = Damping(LONGEST_S)
    for cable in losses:
        damping.lost(cable, 0.0)
    directed = [ends for one, other in sorted(there) for ends in ((one, other), (other, one))]
    sifted = damping.sift(directed, 0.0)
    assert parts(sifted.used) == parts(directed)
    assert sorted(sifted.used + sifted.held) == sorted(directed)


def parts(cables: object) -> set[frozenset[int]]:
    found = {frozenset({end.dpid}) for cable in CABLES for end in cable}
    for one, other in cables:
        joined = frozenset().union(*(part for part in found if {one.dpid, other.dpid} & part))
        found = {part for part in found if not part & joined} | {joined}
    return found
