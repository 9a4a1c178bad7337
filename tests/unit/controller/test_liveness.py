from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.liveness import Liveness

ASK_S, SILENT_S, ANSWER_S, LOOK_S = 0.75, 2.5, 15.0, 0.25


def peer(now_s: float = 0.0) -> Liveness:
    return Liveness(ASK_S, SILENT_S, ANSWER_S, now_s)


def looks(until_s: float, start_s: float = LOOK_S) -> list[float]:
    return [start_s + LOOK_S * count for count in range(round((until_s - start_s) / LOOK_S) + 1)]


@given(st.floats(0, 10), st.floats(0, LOOK_S))
def test_a_peer_that_falls_silent_is_found_out_within_three_seconds_and_was_asked_before(
    heard_s: float, phase_s: float
):
    liveness = peer()
    liveness.heard_s = heard_s
    asked = 0
    for now_s in looks(heard_s + phase_s + 3, heard_s + phase_s):
        if liveness.fault(now_s) is not None:
            break
        asked += liveness.ask_now(now_s)

    assert now_s - heard_s <= 3
    assert asked >= 2


def test_a_peer_that_answers_lives_for_ever():
    liveness = peer()
    for now_s in looks(600):
        assert liveness.fault(now_s) is None
        if liveness.ask_now(now_s):
            liveness.heard_s = now_s
            liveness.answered()


def test_a_peer_that_is_heard_anyway_is_asked_seldom():
    liveness, asked = peer(), 0
    for now_s in looks(60):
        liveness.heard_s = now_s
        if liveness.ask_now(now_s):
            asked += 1
            liveness.answered()

    assert asked == 12


def test_a_peer_that_talks_but_never_answers_is_found_out():
    liveness, found_s = peer(), None
    for now_s in looks(60):
        liveness.heard_s = now_s
        if liveness.fault(now_s) is not None:
            found_s = now_s
            break
        liveness.ask_now(now_s)

    assert found_s == pytest.approx(ANSWER_S / 3 + ANSWER_S, abs=LOOK_S)


def test_what_we_could_not_hear_is_not_held_against_the_peer():
    liveness = peer()
    assert liveness.ask_now(ASK_S)

    liveness.excuse(20.0)

    assert liveness.fault(21.0) is None
    assert liveness.fault(22.5) is not None
