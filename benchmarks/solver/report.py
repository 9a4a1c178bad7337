"""The lines as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata

from benchmarks.solver.cases import Settings
from benchmarks.solver.lines import Line
from benchmarks.solver.peers import Peer
from heddle.output import NOTHING, duration, print_table

COLUMNS = ("case", "what", "engine", "seconds>", "limit>", "", "ratio>", "memory>", "value>", "bound>", "gap>", "note")
_LIBRARIES = ("highspy", "numpy", "ortools", "pulp", "scipy")


def print_lines(lines: Sequence[Line], absent: Sequence[Peer]) -> None:
    """Print the table, and below it what is missing."""
    rows: list[tuple[str, ...]] = []
    before: Line | None = None
    for line in lines:
        same = before is not None and (before.case, before.what) == (line.case, line.what)
        rows.append(_row(line, "" if same else line.case, "" if same else line.what))
        before = line
    print_table(COLUMNS, rows, "nothing was measured")
    for peer in absent:
        print(f"absent: {peer.name} (install {peer.package})")


def _row(line: Line, case: str, what: str) -> tuple[str, ...]:
    more = "> " if line.cut_off else ""
    return (
        case, what, line.engine,
        more + duration(line.seconds) if line.seconds is not None else NOTHING,
        duration(line.limit_s) if line.limit_s is not None else "",
        str(line.verdict) if line.ours or line.failed else "",
        f"{more}{line.ratio:.3g}" if line.ratio is not None else "",
        NOTHING if line.peak_bytes is None else f"{line.peak_bytes / 2**30:.2f} GiB",
        NOTHING if line.value is None else f"{line.value:.7g}",
        NOTHING if line.bound is None else f"{line.bound:.7g}",
        NOTHING if line.gap is None else f"{line.gap:.0e}",
        line.note,
    )  # fmt: skip


def to_json(lines: Sequence[Line], absent: Sequence[Peer], settings: Settings) -> dict[str, object]:
    """Everything, with the settings and the kind of machine."""
    return {
        "settings": {
            "quick": settings.quick, "full": settings.full, "repeat": settings.repeat,
            "peer_limit_s": settings.peer_limit_s, "data": settings.data is not None,
        },
        "machine": {
            "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(),
            "libraries": {name: _version(name) for name in _LIBRARIES},
        },
        "absent": [peer.name for peer in absent],
        "lines": [asdict(line) for line in lines],
    }  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
