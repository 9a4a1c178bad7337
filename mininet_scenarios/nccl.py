"""Times and bandwidths of a collective, by the conventions of nccl-tests.

Source: NVIDIA nccl-tests, doc/PERFORMANCE.md: GB is 1e9 bytes, algorithm bandwidth is size over time, and
bus bandwidth is that times ``2(n-1)/n`` for all-reduce, so that it compares with a link's rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """All timed iterations of one message size.

    Attributes
    ----------
    seconds : tuple of float
        Each iteration, from the first rank's start to the last rank's end.
    bound_s : float
        The shortest possible time: ``2(n-1)/n * S`` bytes over the rank's link.
    floor_s : float
        What no iteration can undercut: the bound, or less where a shaped link's burst allowance outweighs
        the headers of so small a message.
    """

    size_bytes: int
    ranks: int
    seconds: tuple[float, ...]
    bound_s: float
    floor_s: float

    @property
    def iterations(self) -> int:
        return len(self.seconds)

    @property
    def time_s(self) -> float:
        """Mean over the iterations."""
        return sum(self.seconds) / len(self.seconds)

    @property
    def algbw_bytes_per_s(self) -> float:
        return self.size_bytes / self.time_s

    @property
    def busbw_bytes_per_s(self) -> float:
        return self.algbw_bytes_per_s * 2 * (self.ranks - 1) / self.ranks

    @property
    def bound_busbw_bytes_per_s(self) -> float:
        """The link's rate."""
        return self.busbw_bytes_per_s * self.time_s / self.bound_s

    @property
    def ratio_to_bound(self) -> float:
        """Bound over time: 1 is perfect, above 1 is impossible."""
        return self.bound_s / self.time_s

    @property
    def fastest_s(self) -> float:
        return min(self.seconds)


COLUMNS = ("size (B)", "count", "type", "redop", "root", "time (us)", "algbw (GB/s)", "busbw (GB/s)", "#wrong")
_WIDTHS = (12, 11, 6, 6, 5, 10, 10, 10, 7)


def row(timing: Timing, wrong: int) -> tuple[str, ...]:
    """What nccl-tests prints of one size, by `COLUMNS`."""
    return (
        str(timing.size_bytes), str(timing.size_bytes // 4), "float", "sum", "-1", f"{timing.time_s * 1e6:.0f}",
        f"{timing.algbw_bytes_per_s / 1e9:.6f}", f"{timing.busbw_bytes_per_s / 1e9:.6f}", str(wrong),
    )  # fmt: skip


def output(results: Iterable[tuple[Timing, int]]) -> tuple[str, ...]:
    """The lines that nccl-tests prints of a run: two of headings, one for each size, and the footer.

    Parameters
    ----------
    results : iterable of (Timing, int)
        Each size, with its wrong elements.
    """
    results = tuple(results)
    names, units = zip(*(column.split(" ") if " " in column else (column, "") for column in COLUMNS), strict=True)
    rows = (row(timing, wrong) for timing, wrong in results)
    return (f"#{_line(names)[1:]}", f"#{_line(units)[1:]}", *map(_line, rows), *footer(results))


def _line(cells: Iterable[str]) -> str:
    return "".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def footer(results: Iterable[tuple[Timing, int]]) -> tuple[str, str]:
    """The two closing lines of nccl-tests."""
    results = tuple(results)
    wrong = sum(count for _, count in results)
    mean = sum(timing.busbw_bytes_per_s for timing, _ in results) / max(len(results), 1)
    return (
        f"# Out of bounds values : {wrong} {'OK' if wrong == 0 else 'FAILED'}",
        f"# Avg bus bandwidth    : {mean / 1e9:.6f}",
    )
