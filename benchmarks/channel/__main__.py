"""Measures what the OpenFlow channel promises, with fake switches, good and bad; needs no root.

Run ``python -m benchmarks.channel --quick`` in the repository's root to try it. Each row starts a daemon (or, for
validator-cost, two small controllers) of its own on loopback. It exits with 4 where a limit is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.channel import connect, fair_packets, hostile, many_dpids, noticing, storm, stuck_reader, validator_cost
from benchmarks.channel.lines import Line, RoundTrips, Run, shown
from benchmarks.channel.picture import draw
from heddle.output import print_json, print_table

FAILED = 4
FRAMEWORKS = ("ryu", "os-ken")
ROWS: Mapping[str, Callable[[Run], Awaitable[None]]] = {
    "validator-cost": validator_cost.measure,
    "connect-256": connect.measure,
    "hostile": hostile.measure,
    "stuck-reader": stuck_reader.measure,
    "storm": storm.measure,
    "fin": noticing.measure_fin,
    "silent-peer": noticing.measure_silent,
    "fair-packets": fair_packets.measure,
    "many-dpids": many_dpids.measure,
}


def main(
    arguments: Sequence[str] | None = None, rows: Mapping[str, Callable[[Run], Awaitable[None]]] = ROWS
) -> int:  # fmt: skip
    """Measure, print, and return 4 where a limit is missed."""
    options = _parser(rows).parse_args(arguments)
    frameworks = FRAMEWORKS if options.framework == "both" else (options.framework,)
    lines: list[Line] = []
    round_trips: list[RoundTrips] = []
    for row in options.row or rows:
        for framework in frameworks:
            run = Run(row, framework, options.quick, lambda text: print(text, file=sys.stderr, flush=True))
            asyncio.run(_measured(rows[row], run))
            lines += run.lines
            round_trips += run.round_trips
    if options.json:
        machine = {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}
        # JSON has no infinity; null says that what was waited for did not come.
        said = [asdict(line) | {"figure": None if line.figure == float("inf") else line.figure} for line in lines]
        print_json({"quick": options.quick, "machine": machine, "lines": said})
    else:
        print_table(
            ("row", "framework", "what", "figure>", "limit>", "", "note"),
            [_cells(line, lines[number - 1] if number else None) for number, line in enumerate(lines)],
            "nothing was measured",
        )
    if options.plot is not None:
        draw(round_trips).savefig(options.plot, dpi=100)
    return 0 if all(line.ok for line in lines) else FAILED


async def _measured(measure: Callable[[Run], Awaitable[None]], run: Run) -> None:
    await measure(run)


def _parser(rows: Mapping[str, object]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.channel", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--framework", choices=[*FRAMEWORKS, "both"], default="both")
    parser.add_argument("--row", action="append", choices=list(rows), help="this row alone; may be given several times")
    parser.add_argument("--quick", action="store_true", help="everything shorter and smaller: tried, not measured")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the round trips into a file, as .png or .svg")
    return parser


def _cells(line: Line, before: Line | None) -> tuple[str, ...]:
    same = before is not None and (before.row, before.framework) == (line.row, line.framework)
    return (
        "" if same else line.row, "" if same else line.framework, line.what, f"{shown(line.figure)} {line.unit}",
        f"{shown(line.limit)} {line.unit}" if line.limit is not None else "",
        "" if line.limit is None else "met" if line.ok else "missed", line.note,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
