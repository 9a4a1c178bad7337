"""Bandwidths follow nccl-tests' conventions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mininet_scenarios.nccl import COLUMNS, Timing, footer, output, row


def test_bus_bandwidth_is_algorithm_bandwidth_times_the_rings_factor() -> None:
    timing = Timing(1_000_000, 4, (0.5, 1.5), bound_s=0.75, floor_s=0.75)
    assert timing.algbw_bytes_per_s == pytest.approx(1e6)
    assert timing.busbw_bytes_per_s == pytest.approx(1.5e6)
    assert timing.ratio_to_bound == pytest.approx(0.75)
    assert timing.fastest_s == 0.5


@given(st.integers(2, 512), st.floats(1e-3, 1e3), st.floats(1e6, 1e12))
def test_at_the_bound_the_bus_bandwidth_is_the_links_rate(ranks: int, scale: float, rate: float) -> None:
    size = max(4, int(rate * scale / 8))
    bound_s = 2 * (ranks - 1) / ranks * size / rate
    timing = Timing(size, ranks, (bound_s,), bound_s, bound_s)
    assert timing.busbw_bytes_per_s == pytest.approx(rate)
    assert timing.bound_busbw_bytes_per_s == pytest.approx(rate)


def test_a_row_has_the_columns_of_nccl_tests() -> None:
    cells = dict(zip(COLUMNS, row(Timing(4096, 2, (0.001,), 0.0005, 0.0005), 3), strict=True))
    assert (cells["size (B)"], cells["count"], cells["type"], cells["redop"]) == ("4096", "1024", "float", "sum")
    assert (cells["time (us)"], cells["#wrong"]) == ("1000", "3")


def test_the_output_has_headings_aligned_with_a_row_for_each_size_and_fits_a_terminal() -> None:
    sizes = [1 << 20, 4 << 20, 1 << 30]
    lines = output((Timing(size, 16, (size / 1e6,), 0.5, 0.5), 0) for size in sizes)
    names, units, *rows = lines[:-2]
    assert names.split() == ["#", "size", "count", "type", "redop", "root", "time", "algbw", "busbw", "#wrong"]
    assert units.split() == ["#", "(B)", "(us)", "(GB/s)", "(GB/s)"]
    assert [int(line.split()[0]) for line in rows] == sizes
    assert {len(line) for line in (names, *rows)} == {len(names)}
    assert max(map(len, lines)) <= 80
    assert lines[-2:] == footer((Timing(size, 16, (size / 1e6,), 0.5, 0.5), 0) for size in sizes)


def test_the_footer_says_whether_all_was_right() -> None:
    timing = Timing(4096, 2, (0.001,), 0.0005, 0.0005)
    assert footer([(timing, 0)])[0] == "# Out of bounds values : 0 OK"
    assert footer([(timing, 2)])[0] == "# Out of bounds values : 2 FAILED"
