"""What every rank runs: all-reduces of several sizes, timed and checked, in step with whoever reads the counters.

It is started by MPI in an emulated host, as ``python mpi_ring.py SPEC``, and imports nothing of Heddle.
``SPEC`` is a JSON file (`mininet_scenarios.all_reduce` writes it); rank 0 writes the results where it says.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

_PR_SET_TIMERSLACK = 29
_POLL_S = 0.01


def main() -> None:
    """Run all sizes of the specification."""
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    # MPICH polls; told to, it sleeps a microsecond between polls. The kernel may stretch that sleep by the
    # slack: sixteen ranks that wake a thousand times a second leave two cores to the switches.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, int(spec["timer_slack_ns"]), 0, 0, 0)
    comm = MPI.COMM_WORLD
    meeting = Path(spec["directory"])
    results = [_size(comm, meeting, number, size, spec) for number, size in enumerate(spec["sizes_bytes"])]
    if comm.rank == 0:
        _write(meeting / "results.json", results)


def _size(comm: MPI.Comm, meeting: Path, number: int, size_bytes: int, spec: dict[str, Any]) -> dict[str, Any]:
    count = size_bytes // 4
    ramp = np.arange(count, dtype=np.int64) % 8191 + 1
    # Whole numbers below 2^24 add exactly in float32, in any order: every element can be checked for equality.
    mine = (ramp * (comm.rank + 1)).astype(np.float32)
    expected = (ramp * (comm.size * (comm.size + 1) // 2)).astype(np.float32)
    sum_ = np.empty(count, dtype=np.float32)
    wrong, warm_s = 0, 0.0
    for _ in range(spec["warmup"]):
        start_s, end_s, bad = _iteration(comm, mine, sum_, expected)
        warm_s, wrong = end_s - start_s, wrong + bad
    slowest_s = comm.allreduce(warm_s, op=MPI.MAX)
    fitting = int(spec["budget_s"] / slowest_s) if slowest_s > 0 else spec["max_iterations"]
    iterations = max(spec["min_iterations"], min(spec["max_iterations"], fitting))
    _meet(comm, meeting, f"{number}-before")
    spans = []
    for _ in range(iterations):
        start_s, end_s, bad = _iteration(comm, mine, sum_, expected)
        spans.append((start_s, end_s))
        wrong += bad
    _meet(comm, meeting, f"{number}-after")
    everybody = comm.gather(spans, root=0)
    wrong = comm.allreduce(wrong)
    # One machine, one monotonic clock: an iteration lasts from the first rank's start to the last rank's end.
    seconds = [
        max(rank[i][1] for rank in everybody) - min(rank[i][0] for rank in everybody) for i in range(iterations)
    ] if everybody else []  # fmt: skip
    return {"size_bytes": count * 4, "count": count, "wrong": wrong, "seconds": seconds}


def _iteration(
    comm: MPI.Comm, mine: NDArray[np.float32], sum_: NDArray[np.float32], expected: NDArray[np.float32]
) -> tuple[float, float, int]:
    """One all-reduce: when it began and ended on this rank, and how many elements are wrong."""
    sum_.fill(np.nan)
    comm.Barrier()
    start_s = time.monotonic()
    comm.Allreduce(mine, sum_, op=MPI.SUM)
    end_s = time.monotonic()
    return start_s, end_s, int(np.count_nonzero(sum_ != expected))


def _meet(comm: MPI.Comm, meeting: Path, name: str) -> None:
    """Stop all ranks until the other side has read the counters."""
    comm.Barrier()
    if comm.rank == 0:
        (meeting / f"{name}.ready").touch()
        while not (meeting / f"{name}.go").exists():
            time.sleep(_POLL_S)
    comm.Barrier()


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(results))
    draft.rename(path)


if __name__ == "__main__":
    main()
