"""Matrices of the bytes that ranks send each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from solver.demand import Demand
from solver.matrices import matrix_demands, read_byte_matrix
from topologies.errors import InputError

square_matrices = st.integers(1, 6).flatmap(
    lambda ranks: arrays(np.float64, (ranks, ranks), elements=st.integers(0, 2**50).map(float))
)


@pytest.mark.parametrize(
    "text",
    [
        "100 200 150\n50 100 75\n300 150 200\n",
        "# bytes\n\n100\t200\t150   # of rank 0\n 50\t100\t75\n\n300 150 200",
        "100,200,150\n50, 100, 75\n3e2,150.0,200\n",
    ],
)
def test_numbers_are_apart_by_spaces_tabs_or_commas(tmp_path, text):
    (tmp_path / "m.txt").write_text(text)
    assert read_byte_matrix(tmp_path / "m.txt").tolist() == [[100, 200, 150], [50, 100, 75], [300, 150, 200]]


@given(square_matrices)
def test_a_written_matrix_is_read_back_equal(tmp_path_factory, matrix):
    path = tmp_path_factory.mktemp("written") / "m.matrix"
    np.savetxt(path, matrix, fmt="%d")
    np.testing.assert_array_equal(read_byte_matrix(path), matrix)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m\.matrix holds no numbers; write a row for each rank"),
        ("# nothing\n", r"m\.matrix holds no numbers"),
        ("1 2\n", r"m\.matrix has 1 rows of 2 numbers; write as many rows as columns"),
        ("1 2\n\n3\n", r"m\.matrix, line 3: 1 numbers where the rows above have 2; write one for each rank"),
        ("1 2\n3 -4\n", r"m\.matrix, line 2: number 2 is '-4'; write bytes: a finite number, not negative"),
        ("1 2\nnan 4\n", r"m\.matrix, line 2: number 1 is 'nan'; write bytes"),
        ("1 inf\n3 4\n", r"m\.matrix, line 1: number 2 is 'inf'; write bytes"),
        ("1 2\n3 many\n", r"m\.matrix, line 2: number 2 is 'many'; write bytes"),
        ("1,,2\n", r"m\.matrix, line 1: number 2 is ''; write bytes"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    (tmp_path / "m.matrix").write_text(text)
    with pytest.raises(InputError, match=message):
        read_byte_matrix(tmp_path / "m.matrix")


def test_rates_are_bits_in_the_window_and_neither_zeros_nor_the_diagonal_are_carried():
    matrix = np.array([[9.0, 1000, 0], [0, 9, 500], [250, 0, 0]])
    assert matrix_demands(matrix, ["a", "b", "c", "spare"], 0.5) == (
        Demand("a", "b", 16000.0),
        Demand("b", "c", 8000.0),
        Demand("c", "a", 4000.0),
    )


@given(square_matrices, st.floats(1e-3, 1e3))
def test_what_is_carried_in_the_window_is_what_leaves_each_rank(matrix, window_s):
    names = [f"h{rank}" for rank in range(len(matrix))]
    sent = dict.fromkeys(names, 0.0)
    for demand in matrix_demands(matrix, names, window_s):
        sent[demand.source] += demand.rate_bps * window_s / 8
    leaving = matrix.sum(axis=1) - matrix.diagonal()
    np.testing.assert_allclose(list(sent.values()), leaving, rtol=1e-9)


@pytest.mark.parametrize(
    ("matrix", "hosts", "window_s", "message"),
    [
        (np.ones((2, 3)), ["a", "b", "c"], 1.0, r"the matrix has the shape \(2, 3\)"),
        (np.ones(4), ["a", "b", "c"], 1.0, r"the matrix has the shape \(4,\)"),
        (np.array([[0.0, -1], [0, 0]]), ["a", "b"], 1.0, r"rank 0 sends -1 bytes to rank 1; give a finite number"),
        (np.array([[0.0, 1], [np.nan, 0]]), ["a", "b"], 1.0, r"rank 1 sends nan bytes to rank 0"),
        (np.ones((3, 3)), ["a", "b"], 1.0, r"the matrix has 3 ranks for 2 hosts"),
        (np.ones((2, 2)), ["a", "a"], 1.0, r"two ranks are on 'a'; give each its own node"),
        (np.array([[0, 1e308], [0, 0]]), ["a", "b"], 0.1, r"demand a → b has rate_bps inf; it must be above 0"),
        (np.ones((2, 2)), ["a", "b"], 0.0, r"the window is 0 s; give one above 0 and finite"),
        (np.ones((2, 2)), ["a", "b"], float("nan"), r"the window is nan s"),
    ],
)
def test_what_is_wrong_is_named(matrix, hosts, window_s, message):
    with pytest.raises(InputError, match=message):
        matrix_demands(matrix, hosts, window_s)
