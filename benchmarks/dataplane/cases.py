"""What a row is judged by: the case, what is wanted of it, what was measured, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """How the rows are run: by which framework, and whether the long ones are shortened."""

    framework: str = "ryu"
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One promise of one row.

    Attributes
    ----------
    wanted : str
        The promise; empty for a number that is only told.
    holds : bool or None
        None where nothing was promised.
    """

    row: str
    case: str
    wanted: str
    measured: str
    holds: bool | None


def at_most(row: str, case: str, value: float, limit: float, unit: str = "", note: str = "") -> Case:
    """A number that may not exceed its limit."""
    return Case(row, case, f"≤ {limit:.4g}{_unit(unit)}", _said(value, unit, note), value <= limit)


def exactly(row: str, case: str, value: float, wanted: float, unit: str = "", note: str = "") -> Case:
    """A number that has to be this one."""
    return Case(row, case, f"{wanted:.4g}{_unit(unit)}", _said(value, unit, note), value == wanted)


def true(row: str, case: str, *, holds: bool, wanted: str, measured: str) -> Case:
    """Something that has to be so."""
    return Case(row, case, wanted, measured, holds)


def told(row: str, case: str, measured: str) -> Case:
    """Something without a limit."""
    return Case(row, case, "", measured, None)


def table(cases: Sequence[Case]) -> str:
    """The cases as lines of text, in columns."""
    heads = ("row", "case", "wanted", "measured", "holds")
    verdicts = {True: "yes", False: "NO", None: ""}
    lines = [heads, *((case.row, case.case, case.wanted, case.measured, verdicts[case.holds]) for case in cases)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)  # fmt: skip


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _said(value: float, unit: str, note: str) -> str:
    return f"{value:.4g}{_unit(unit)}" + (f" ({note})" if note else "")
