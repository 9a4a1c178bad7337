"""Equitable colours for the edges of bipartite multigraphs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.edge_colouring import colour

VERTICES = st.integers(0, 7)


def _times(ends, colours, number):
    """How often each vertex sees each colour, shape (vertices, colours)."""
    times = np.zeros((ends.max() + 1, number), dtype=int)
    np.add.at(times, (ends, colours), 1)
    return times


def _assert_equitable(left, right, colours, number):
    assert colours.shape == left.shape
    for ends in (left, right):
        times = _times(ends, colours, number)
        degrees = times.sum(axis=1)
        assert np.all(times.max(axis=1) <= -(-degrees // number))
        assert np.all(times.min(axis=1) >= degrees // number)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(VERTICES, VERTICES), min_size=1, max_size=60), st.integers(1, 13))
def test_every_vertex_sees_every_colour_equally_often(edges, number):
    left, right = np.array(edges).T
    _assert_equitable(left, right, colour(left, right, number), number)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(VERTICES, VERTICES), min_size=1, max_size=60), st.integers(0, 5))
def test_with_a_colour_for_each_edge_of_the_busiest_vertex_no_vertex_sees_one_twice(edges, spare):
    left, right = np.array(edges).T
    number = max(np.bincount(left).max(), np.bincount(right).max()) + spare
    found = colour(left, right, number)
    assert all(_times(ends, found, number).max() == 1 for ends in (left, right))


@pytest.mark.parametrize("number", [1, 2, 3, 31, 32, 33, 96, 127, 128])
def test_a_large_regular_graph_with_any_number_of_colours(number):
    left = np.arange(4096) // 128
    right = np.random.default_rng(number).permutation(4096) // 128
    _assert_equitable(left, right, colour(left, right, number), number)


def test_many_more_colours_than_edges_are_no_trouble():
    found = colour(np.array([0, 0, 1]), np.array([5, 0, 5]), 10_000)
    assert found[0] not in (found[1], found[2])
    assert found.max() < 10_000


def test_parallel_edges_get_different_colours():
    assert sorted(colour(np.zeros(5, dtype=int), np.zeros(5, dtype=int), 5).tolist()) == [0, 1, 2, 3, 4]


def test_one_colour_is_everybodys():
    assert colour(np.array([3, 3, 1]), np.array([0, 0, 2]), 1).tolist() == [0, 0, 0]


def test_no_edges_no_colours():
    assert len(colour(np.zeros(0, dtype=int), np.zeros(0, dtype=int), 4)) == 0


def test_the_same_edges_get_the_same_colours():
    left, right = np.random.default_rng(1).integers(0, 9, (2, 200))
    assert np.array_equal(colour(left, right, 7), colour(left, right, 7))


def test_no_colours_at_all_are_refused():
    with pytest.raises(ValueError, match="at least one colour, not 0"):
        colour(np.array([0]), np.array([0]), 0)


def test_ends_that_do_not_pair_up_are_refused():
    with pytest.raises(ValueError, match="2 left ends and 1 right ends"):
        colour(np.array([0, 1]), np.array([0]), 3)
