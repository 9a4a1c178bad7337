"""How verbs print: JSON alone, or a table with units that people read."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

NOTHING = "–"
_WIDE = 4096


def print_json(data: BaseModel | Sequence[BaseModel] | dict[str, object]) -> None:
    """Print models as indented JSON."""
    if isinstance(data, BaseModel):
        content: object = data.model_dump(mode="json")
    elif isinstance(data, dict):
        content = data
    else:
        content = [one.model_dump(mode="json") for one in data]
    print(json.dumps(content, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print rows under their columns, or the sentence ``empty`` where there are none.

    A column whose name ends in ``>`` is aligned to the right.
    """
    if not rows:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # What goes into a pipe or a file is for programs too, so nothing of it is cut to a terminal's width.
    console = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else _WIDE)
    console.print(table)


def rate(bits_per_second: float | None) -> str:
    """``10 Mbit/s``."""
    return NOTHING if bits_per_second is None else amount(bits_per_second, "bit/s")


def amount(number: float, unit: str, digits: int = 3) -> str:
    """``10 Mbit``, for a number that is not negative."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999.9996 kbit/s would print as 1e+03 kbit/s.
        if number >= 0.9995 * factor:
            return f"{number / factor:.{digits}g} {prefix}{unit}"
    return f"{number:.{digits}g} {unit}"


def percent(share: float | None) -> str:
    """``12.5 %``."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def duration(seconds: float | None) -> str:
    """``1 µs``."""
    if seconds is None:
        return NOTHING
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
