"""The program that every rank runs: real MPI all-reduces of several sizes, each element checked.

Started by Hydra, one process a host: ``python -m mininet_scenarios.mpi_ring CONTROL_DIR WARM_UP SIZE:ITERATIONS …``.
Rank 0 stops before and after the timed iterations of each size until the orchestrator, which reads the
interface counters meanwhile, lets it go on: it creates ``ready-<size>`` and waits for ``go-<size>``, then
``done-<size>`` and waits for ``next-<size>``. Results are JSON lines on rank 0's standard output.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

POLL_S = 0.0005
"""Pause between two looks at a collective under way.

MPICH's blocking all-reduce spins, and 16 spinning ranks take two cores away from the switches: 40 % more CPU time for
the same times. A non-blocking one, looked at 2,000 times a second, leaves the machine three quarters idle and reaches
0.96 of the bound for 2 MiB over 10 Mbit/s links either way.
"""


def pattern(elements: int, rank: int, iteration: int) -> NDArray[np.float32]:
    """What a rank contributes: small integers, so that the sum is exact in single precision."""
    return (np.arange(elements) % 251 + rank + iteration).astype(np.float32)


def expected(elements: int, ranks: int, iteration: int) -> NDArray[np.float32]:
    """The sum of all ranks' patterns."""
    one = np.arange(elements) % 251 + iteration
    return (one * ranks + ranks * (ranks - 1) // 2).astype(np.float32)


def all_reduce(world: MPI.Intracomm, iteration: int, elements: int) -> tuple[float, int]:
    """One all-reduce: this rank's seconds, and how many elements came out wrong."""
    sent, received = pattern(elements, world.rank, iteration), np.zeros(elements, np.float32)
    world.Barrier()
    started = time.perf_counter()
    request = world.Iallreduce(sent, received)
    while not request.Test():
        time.sleep(POLL_S)
    seconds = time.perf_counter() - started
    return seconds, int(np.count_nonzero(received != expected(elements, world.size, iteration)))


def meet(world: MPI.Intracomm, control: Path, announce: str, wait_for: str) -> None:
    """Hold all ranks until the orchestrator has seen one file and made the other."""
    world.Barrier()
    if world.rank == 0:
        (control / announce).touch()
        while not (control / wait_for).exists():
            time.sleep(POLL_S)
    # The others poll too, so that nobody spins while counters are read.
    done = world.Ibarrier()
    while not done.Test():
        time.sleep(POLL_S)


def measure(world: MPI.Intracomm, control: Path, size_bytes: int, warm_up: int, iterations: int) -> None:
    """Run one message size and print its result."""
    elements = size_bytes // 4
    wrong = sum(all_reduce(world, -1 - i, elements)[1] for i in range(warm_up))
    meet(world, control, f"ready-{size_bytes}", f"go-{size_bytes}")
    runs = [all_reduce(world, i, elements) for i in range(iterations)]
    meet(world, control, f"done-{size_bytes}", f"next-{size_bytes}")
    slowest_s = np.zeros(iterations)
    world.Allreduce(np.array([seconds for seconds, _ in runs]), slowest_s, op=MPI.MAX)
    wrong = world.allreduce(wrong + sum(bad for _, bad in runs))
    if world.rank == 0:
        print(json.dumps({"size_bytes": size_bytes, "seconds": slowest_s.tolist(), "wrong": wrong}), flush=True)  # noqa: T201


def main(arguments: list[str]) -> None:
    """Run all sizes in turn."""
    control, warm_up = Path(arguments[0]), int(arguments[1])
    for argument in arguments[2:]:
        size_bytes, iterations = argument.split(":")
        measure(MPI.COMM_WORLD, control, int(size_bytes), warm_up, int(iterations))


if __name__ == "__main__":
    main(sys.argv[1:])
