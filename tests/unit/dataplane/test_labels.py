"""Labels are unique, never reserved, and run out with a clear sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.labels import FIRST_LABEL, LAST_LABEL, MAX_LABELS, LabelsExhausted, allocate


@given(st.integers(0, 200), st.sets(st.integers(16, 300)), st.sets(st.integers(16, 300)))
def test_new_labels_avoid_those_in_use_and_in_quarantine(count: int, in_use: set[int], quarantined: set[int]) -> None:
    labels = allocate(count, in_use, quarantined)
    assert len(set(labels)) == count
    assert not set(labels) & (in_use | quarantined)
    assert all(FIRST_LABEL <= label <= LAST_LABEL for label in labels)


def test_one_plan_may_not_take_the_labels_of_the_next() -> None:
    with pytest.raises(LabelsExhausted, match="plan fewer pairs"):
        allocate(MAX_LABELS + 1, set())


def test_too_many_old_labels_are_said() -> None:
    with pytest.raises(LabelsExhausted, match="drained"):
        allocate(2, set(range(FIRST_LABEL, LAST_LABEL)))
