"""What every rank runs: all-reduces of several sizes, timed and checked, in step with whoever reads the counters.

It is started by MPI in an emulated host, as ``python mpi_ring.py SPEC``, and imports nothing of Heddle.
``SPEC`` is a JSON file that `mininet_scenarios.all_reduce` writes; rank 0 leaves the results beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# Ranks come after switches, from the first import on. MPI gives each rank a session, and sessions share the processors
# evenly whatever their niceness (autogroups, sched(7)), so the session's own is set too, where the kernel has that.
os.nice(10)
with contextlib.suppress(OSError):
    Path("/proc/self/autogroup").write_text("10")

import mpi4py  # noqa: E402

mpi4py.rc.initialize = False
import numpy as np  # noqa: E402
from mpi4py import MPI  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

_POLL_S = 0.0015
"""Pause between two looks at a collective under way.

MPICH's blocking calls spin, and sixteen spinning ranks leave the switches of a small machine no processor. So
everything here is non-blocking and looked at now and then; between two looks the kernel goes on sending and
receiving. At 10 Mbit/s a pause is worth 2 kB of at least 64 kB that a step moves.
"""
_PERIOD = 8191
_EXACT = 1 << 24


def main() -> None:
    """Run all sizes of the specification."""
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    meeting = Path(spec["directory"])
    # MPI_Init spins too: it starts when everybody has done with loading, which takes two cores ten seconds else.
    (meeting / f"loaded-{os.environ['PMI_RANK']}").touch()
    while len(list(meeting.glob("loaded-*"))) < spec["ranks"]:
        time.sleep(0.05)
    MPI.Init()
    comm = MPI.COMM_WORLD
    results = [_size(comm, meeting, number, size, spec) for number, size in enumerate(spec["sizes_bytes"])]
    if comm.rank == 0:
        _write(meeting / "results.json", results)
    _barrier(comm)


def _size(comm: MPI.Intracomm, meeting: Path, number: int, size_bytes: int, spec: dict[str, Any]) -> dict[str, Any]:
    count = size_bytes // 4
    total = comm.size * (comm.size + 1) // 2
    # Whole numbers below 2^24 add exactly in float32, in any order, so every element must match.
    ramp = np.arange(count, dtype=np.int64) % min(_PERIOD, _EXACT // total - 1) + 1
    mine = (ramp * (comm.rank + 1)).astype(np.float32)
    expected = (ramp * total).astype(np.float32)
    received = np.empty(count, dtype=np.float32)
    wrong, warm_s = 0, 0.0
    for _ in range(spec["warmup"]):
        start_s, end_s, bad = _iteration(comm, mine, received, expected)
        warm_s, wrong = end_s - start_s, wrong + bad
    slowest_s = max(_gather(comm, warm_s))
    fitting = int(spec["budget_s"] / slowest_s) if slowest_s > 0 else spec["max_iterations"]
    iterations = max(spec["min_iterations"], min(spec["max_iterations"], fitting))
    _meet(comm, meeting, f"{number}-before")
    spans = []
    for _ in range(iterations):
        start_s, end_s, bad = _iteration(comm, mine, received, expected)
        spans.append((start_s, end_s))
        wrong += bad
    _meet(comm, meeting, f"{number}-after")
    starts = np.array(_gather(comm, *(start for start, _ in spans))).reshape(comm.size, iterations)
    ends = np.array(_gather(comm, *(end for _, end in spans))).reshape(comm.size, iterations)
    # One machine, one monotonic clock: an iteration lasts from the first rank's start to the last rank's end.
    seconds = (ends.max(axis=0) - starts.min(axis=0)).tolist()
    return {"size_bytes": count * 4, "count": count, "wrong": int(sum(_gather(comm, wrong))), "seconds": seconds}


def _iteration(
    comm: MPI.Intracomm, mine: NDArray[np.float32], received: NDArray[np.float32], expected: NDArray[np.float32]
) -> tuple[float, float, int]:
    """One all-reduce: when it began and ended on this rank, and how many elements came out wrong."""
    received.fill(np.nan)
    _barrier(comm)
    start_s = time.monotonic()
    _finish(comm.Iallreduce(mine, received, op=MPI.SUM))
    end_s = time.monotonic()
    return start_s, end_s, int(np.count_nonzero(received != expected))


def _finish(request: MPI.Request) -> None:
    while not request.Test():
        time.sleep(_POLL_S)


def _barrier(comm: MPI.Intracomm) -> None:
    _finish(comm.Ibarrier())


def _gather(comm: MPI.Intracomm, *values: float) -> list[float]:
    """The values of all ranks, in rank order, on every rank."""
    mine, everybody = np.array(values, dtype=np.float64), np.empty(len(values) * comm.size, dtype=np.float64)
    _finish(comm.Iallgather(mine, everybody))
    return [float(value) for value in everybody]


def _meet(comm: MPI.Intracomm, meeting: Path, name: str) -> None:
    """Stop all ranks until the other side has read the counters."""
    _barrier(comm)
    if comm.rank == 0:
        (meeting / f"{name}.ready").touch()
        while not (meeting / f"{name}.go").exists():
            time.sleep(_POLL_S)
    _barrier(comm)


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(results))
    draft.rename(path)


if __name__ == "__main__":
    main()
