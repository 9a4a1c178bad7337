"""Runs one measurement in a process of its own, with a time limit, and reads how much memory it took."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeAlias

PATIENCE_S = 20.0
"""A measurement is not repeated once its runs have taken this long."""
_START_S = 300.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one run took and found.

    Attributes
    ----------
    seconds : float
    engine : str
        What answered.
    value, bound, gap : float or None
    note, wrong : str
        What else there is to say; what is wrong with the answer, empty where nothing is.
    """

    seconds: float
    engine: str = ""
    value: float | None = None
    bound: float | None = None
    gap: float | None = None
    note: str = ""
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The runs of one process.

    Attributes
    ----------
    readings : tuple of Reading
    peak_bytes : int or None
        Largest resident memory, of it or of a process that it ran.
    cut_off : bool
        A run took longer than ``limit_s``.
    error : str
        Why there are no more readings; empty where there are all.
    """

    readings: tuple[Reading, ...]
    peak_bytes: int | None
    limit_s: float
    cut_off: bool = False
    error: str = ""


Run: TypeAlias = Callable[[], Reading]
Task: TypeAlias = Callable[[], Run]
"""Prepares what is to be measured, and returns what measures it once; must be picklable."""


def measure(task: Task, *, repeat: int, limit_s: float) -> Measurement:
    """Prepare and run a task in a child, up to so many times, each within a time limit.

    It ends with all its children where a run takes longer.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, task, repeat), daemon=True)
    process.start()
    sender.close()
    readings: list[Reading] = []
    patience_s = _START_S
    try:
        while receiver.poll(patience_s):
            message = receiver.recv()
            if isinstance(message, _End):
                return Measurement(tuple(readings), message.peak_bytes, limit_s, error=message.error)
            if isinstance(message, Reading):
                readings.append(message)
            patience_s = limit_s
        return Measurement(tuple(readings), _peak_of_group(process.pid), limit_s, cut_off=True)
    except EOFError:
        process.join()
        error = f"its process ended with {process.exitcode}"
        return Measurement(tuple(readings), None, limit_s, error=error)
    finally:
        _end(process)
        receiver.close()


@dataclass(frozen=True, slots=True)
class _Ready:
    """The task is prepared."""


@dataclass(frozen=True, slots=True)
class _End:
    peak_bytes: int
    error: str = ""


def _serve(sender: Connection, task: Task, repeat: int) -> None:
    # A group of its own: a solver that runs as a process must end with it.
    os.setsid()
    # What solvers print must not stand in our output.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    error, spent_s = "", 0.0
    try:
        run = task()
        sender.send(_Ready())
        for _ in range(repeat):
            gc.collect()
            reading = run()
            sender.send(reading)
            spent_s += reading.seconds
            if spent_s > PATIENCE_S:
                break
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    sender.send(_End(_peak_here(), error))


def _peak_here() -> int:
    # ru_maxrss of a process begins with that of the one which started it, VmHWM does not.
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return max(_peak_of(os.getpid()), children)


def _peak_of(pid: int) -> int:
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found.group(1)) * 1024 if found else 0


def _peak_of_group(group: int | None) -> int | None:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return max((_peak_of(pid) for pid in pids if _group_of(pid) == group), default=0) or None


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _end(process: BaseProcess) -> None:
    if process.pid is not None and process.is_alive() and _group_of(process.pid) == process.pid:
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
