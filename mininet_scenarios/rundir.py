"""What an emulation leaves on the machine is written down first, so that even a crashed one can be cleared away.

Every emulation has a tag. Its run directory lists the processes and namespaces it makes; every process
that it starts carries the tag in its environment. Clearing away touches what carries the tag, and nothing
else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mininet_scenarios.requirements import program
from topologies.errors import HeddleError

ROOT = Path("/run/heddle-emulation")
NAMESPACES = Path("/run/netns")
TAG_VARIABLE = "HEDDLE_EMULATION"
_KILL_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that runs an emulation; its start time tells it from a later one with the same id."""

    pid: int
    start_ticks: int

    @property
    def alive(self) -> bool:
        return start_ticks(self.pid) == self.start_ticks


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One emulation's directory under `ROOT`; the tag is part of every name it gives to the machine."""

    tag: str

    @classmethod
    def create(cls) -> RunDirectory:
        """Make a directory with a new tag, owned by this process."""
        run = cls(secrets.token_hex(3))
        run.path.mkdir(parents=True, mode=0o755)
        owner = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid())}
        # Written aside: whoever met it half written would take the owner for dead.
        unfinished = run.path / "owner.json.new"
        unfinished.write_text(json.dumps(owner))
        unfinished.rename(run.owner_file)
        return run

    @property
    def path(self) -> Path:
        return ROOT / self.tag

    @property
    def owner_file(self) -> Path:
        return self.path / "owner.json"

    @property
    def namespace(self) -> str:
        """Name of the network namespace that holds the switch ports."""
        return f"heddle-{self.tag}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of the emulation: the caller's plus the tag."""
        return {**os.environ, TAG_VARIABLE: self.tag}

    def owner(self) -> Owner | None:
        try:
            return Owner(**json.loads(self.owner_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def processes(self) -> tuple[int, ...]:
        """Ids of the running processes that carry the tag, this process excepted."""
        mark = f"{TAG_VARIABLE}={self.tag}".encode()
        return tuple(pid for pid in _pids() if pid != os.getpid() and mark in _environ(pid).split(b"\0"))

    def remove(self) -> None:
        """End every process with the tag, then take the namespace and the directory away.

        Raises
        ------
        HeddleError
            A process does not end, or the namespace or the directory does not go; the message says which.
        """
        deadline = time.monotonic() + _KILL_PATIENCE_S
        while pids := self.processes():
            if time.monotonic() > deadline:
                raise HeddleError(f"processes {', '.join(map(str, pids))} of emulation {self.tag} do not end; see 'ps'")
            for pid in pids:
                _kill(pid)
            time.sleep(0.02)
        namespace = NAMESPACES / self.namespace
        if namespace.exists():
            subprocess.run([program("ip"), "netns", "delete", self.namespace], check=False, capture_output=True)
        # Directory and owner's file go last: while they are there, the next clearing away tries again.
        if not namespace.exists():
            _empty(self.path, keep=self.owner_file)
            if list(self.path.glob("*")) == [self.owner_file]:
                shutil.rmtree(self.path, ignore_errors=True)
        if left := [str(path) for path in (namespace, self.path) if path.exists()]:
            raise HeddleError(
                f"of emulation {self.tag}, {' and '.join(left)} cannot be removed; see what uses it, then run "
                "'heddle emulate --cleanup' again"
            )


def _empty(directory: Path, keep: Path) -> None:
    for entry in directory.glob("*"):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry != keep:
            with contextlib.suppress(OSError):
                entry.unlink()


def existing() -> tuple[RunDirectory, ...]:
    """The emulations that have a run directory, running or not."""
    if not ROOT.exists():
        return ()
    runs = (RunDirectory(entry.name) for entry in sorted(ROOT.iterdir()))
    return tuple(run for run in runs if run.owner_file.exists())


def remove_abandoned() -> tuple[str, ...]:
    """Clear away every emulation whose owner has died.

    Returns
    -------
    tuple of str
        Their tags.

    Raises
    ------
    HeddleError
        Some could not be removed; the others are gone.
    """
    gone: list[str] = []
    failures: list[str] = []
    for run in existing():
        owner = run.owner()
        # Without the file its owner is taking it down at this moment.
        if owner is None and not run.owner_file.exists():
            continue
        if owner is None or not owner.alive:
            try:
                run.remove()
                gone.append(run.tag)
            except HeddleError as error:
                failures.append(str(error))
    if failures:
        raise HeddleError("; ".join(failures))
    return tuple(gone)


@contextmanager
def machine_lock(name: str) -> Iterator[None]:
    """Hold a lock that all emulations of the machine share; the kernel frees it if we die."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name is in parentheses and may hold anything; the start time is the 20th field after it.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        return
