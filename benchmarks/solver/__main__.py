"""Measures the solver against its limits and against what else a user would take.

Run ``python -m benchmarks.solver --quick`` in the repository's root for a minute of it. Everything runs one after the
other, each engine or peer in a process of its own with one thread. It exits with 4 where a limit is missed or
an answer is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.solver.cases import CASES, Case, Settings
from benchmarks.solver.lines import Line
from benchmarks.solver.peers import absent
from benchmarks.solver.picture import draw
from benchmarks.solver.report import print_lines, to_json
from heddle.output import print_json

FAILED = 4


def main(arguments: Sequence[str] | None = None, cases: Sequence[Case] = CASES) -> int:
    """Measure, print, and return 4 where a limit is missed or an answer wrong."""
    options = _parser().parse_args(arguments)
    settings = Settings(
        options.quick, options.full, options.repeat, options.peer_limit, options.data,
        lambda text: print(text, file=sys.stderr, flush=True),
    )  # fmt: skip
    # Every child inherits it: what is compared are methods, not how many cores each takes.
    os.environ["OMP_NUM_THREADS"] = "1"
    lines: list[Line] = []
    for case in _chosen(cases, options.only, settings):
        lines += case.lines(settings)
    if options.json:
        print_json(to_json(lines, absent(), settings))
    else:
        print_lines(lines, absent())
    if options.plot is not None:
        draw(lines).savefig(options.plot, dpi=100)
    return FAILED if any(line.failed for line in lines) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.solver", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a minute of it")
    parser.add_argument("--full", action="store_true", help="let peers run to their end: a quarter of an hour")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the times into a file, as .png or .svg")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with repetita/, facebook_pod/ and teal/")
    parser.add_argument("--repeat", type=_count, default=5, metavar="N", help="runs, of which the median counts (5)")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,…", help="these cases alone")
    parser.add_argument(
        "--peer-limit", type=float, default=120.0, metavar="SECONDS", help="when a peer is cut off (120)"
    )
    return parser


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs; give 1 or more")
    return int(text)


def _chosen(cases: Sequence[Case], only: Sequence[str] | None, settings: Settings) -> list[Case]:
    """The cases to run, all that the settings let run unless some are named."""
    known = {case.name: case for case in cases}
    for name in only or ():
        if name not in known:
            raise SystemExit(f"there is no case {name!r}; take some of {', '.join(known)}")
        if known[name].data is not None and not known[name].wanted(settings):
            raise SystemExit(f"{name} needs --data with a folder {known[name].data}, and no --quick")
    return [known[name] for name in only] if only else [case for case in cases if case.wanted(settings)]


if __name__ == "__main__":
    sys.exit(main())
