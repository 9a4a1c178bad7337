"""What was lost is published at once, and publishing takes a fifth of the time at most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.pace import COALESCE_S, URGENT_S, Pace


def test_the_first_loss_after_a_pause_is_published_at_once_and_the_next_a_moment_later() -> None:
    pace = Pace()
    assert pace.allows(5.0, urgent=True)
    pace.published(5.0, 5.0)
    assert not pace.allows(5.0 + URGENT_S / 2, urgent=True)
    assert pace.allows(5.0 + 1.1 * URGENT_S, urgent=True)
    assert not pace.allows(5.0 + 1.1 * URGENT_S, urgent=False)
    assert pace.allows(5.0 + 1.1 * COALESCE_S, urgent=False)


@given(st.lists(st.floats(0.0, 0.2), min_size=1), st.booleans())
def test_publishing_takes_a_fifth_of_the_time_at_most_however_often_it_is_wanted(
    costs_s: list[float], urgent: bool
) -> None:
    pace, now_s, busy_s = Pace(), 0.0, 0.0
    for cost_s in costs_s:
        while not pace.allows(now_s, urgent=urgent):
            now_s += 0.001
        pace.published(now_s, now_s + cost_s)
        now_s += cost_s
        busy_s += cost_s
    while not pace.allows(now_s, urgent=urgent):
        now_s += 0.001
    assert busy_s <= now_s / 5 + 1e-6
