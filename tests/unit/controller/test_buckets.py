"""A key does a burst at once and its rate in the long run, whatever other keys do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.buckets import Buckets


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2)), max_size=200),
    st.floats(0.1, 20),
    st.integers(1, 20),
)
def test_no_key_exceeds_its_burst_and_rate_in_any_window(steps, per_s, burst) -> None:
    buckets: Buckets[str] = Buckets(per_s, burst)
    now_s, done = 0.0, []
    for key, pause_s in steps:
        now_s += pause_s
        if buckets.take(key, now_s):
            done.append((key, now_s))
    for key in "abc":
        times = [at_s for who, at_s in done if who == key]
        for first, begin_s in enumerate(times):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + per_s * (times[last] - begin_s) + 1e-6


def test_a_key_that_waited_may_go_on() -> None:
    buckets: Buckets[str] = Buckets(1.0, 2)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 0.0)
    assert not buckets.take("a", 0.9)
    assert buckets.take("a", 1.1)


def test_the_number_of_keys_is_bounded() -> None:
    buckets: Buckets[int] = Buckets(1.0, 1, max_keys=10)
    for key in range(1000):
        buckets.take(key, 0.0)
    assert len(buckets._left) == 10
