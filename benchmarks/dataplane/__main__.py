"""Measure, print every case as a table, and return 4 where one does not hold."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from benchmarks.dataplane import (
    channel,
    death,
    drift,
    failures,
    fleet_reroute,
    fleet_rows,
    installation,
    kills,
    soak,
    splits,
    tables,
    updates,
    verification,
)
from benchmarks.dataplane.cases import Case, Setting, table
from topologies.errors import HeddleError

ROWS: dict[str, Callable[[Setting], Iterator[Case]]] = {
    "updates": updates.row,
    "kills": kills.row,
    "soak": soak.row,
    "drift": drift.row,
    "installation": installation.row,
    "failover": failures.failover,
    "replan": failures.replan,
    "silent": failures.silent,
    "death": death.row,
    "channel": channel.row,
    splits.ROW: splits.row,
    splits.CAPS_ROW: splits.caps_row,
    tables.ROW: tables.row,
    verification.ROW: verification.row,
    fleet_rows.START: fleet_rows.start_row,
    fleet_reroute.ROW: fleet_reroute.row,
}


def _measured(name: str, setting: Setting) -> Iterator[Case]:
    """The cases of a row; one that breaks off is a case that does not hold, and keeps no other from its turn."""
    try:
        yield from ROWS[name](setting)
    except (HeddleError, OSError, subprocess.SubprocessError) as error:
        yield Case(name, "measured to its end", "yes", str(error), holds=False)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 4 where a case does not hold."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.dataplane", description=__doc__)
    options.add_argument("--framework", choices=["ryu", "os-ken"], default="ryu")
    options.add_argument("--row", action="append", choices=list(ROWS), help="only this one; may be given again")
    options.add_argument("--json", action="store_true", help="one JSON object a line, as it is measured")
    options.add_argument("--quick", action="store_true", help="shorter, where a row takes long")
    given = options.parse_args(arguments)
    setting = Setting(given.framework, given.quick)
    cases: list[Case] = []
    for name in given.row or ROWS:
        for case in _measured(name, setting):
            cases.append(case)
            if given.json:
                print(json.dumps({"framework": setting.framework, **asdict(case)}), flush=True)
            else:
                print(f"{name}: {case.case}: {case.measured}", file=sys.stderr, flush=True)
    if not given.json:
        print(table(cases))
    return 4 if any(case.holds is False for case in cases) else 0


if __name__ == "__main__":
    sys.exit(main())
