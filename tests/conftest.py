"""What all tests share: Hypothesis's profile, and a watch for what a run leaves on the machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mininet_scenarios.rundir import existing

# The same examples in every run, and no verdict on time: a shared machine is slow now and then.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_MARK = "HEDDLE_TEST_RUN"


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail where bridges, namespaces, interfaces or processes of ours outlive the tests, or others' do not."""
    os.environ[_MARK] = str(os.getpid())
    before = _traces()
    yield
    after = _traces()
    for kind, names in after.items():
        left = {name for name in names - before[kind] if not _is_of_another_run(name)}
        assert not left, f"{kind} left behind: {sorted(left)}"
        lost = {name for name in before[kind] - names if not name.startswith("heddle-")}
        assert not lost, f"{kind} that were not ours are gone: {sorted(lost)}"
    assert not (processes := _processes()), f"processes left behind: {processes}"


def _is_of_another_run(name: str) -> bool:
    """Whether somebody else's emulation, running at the same time, owns this."""
    for run in existing():
        owner = run.owner()
        if run.namespace == name and owner is not None and owner.alive and owner.pid != os.getpid():
            return True
    return False


def _traces() -> dict[str, set[str]]:
    return {
        "bridges": set(_lines("ovs-vsctl", "--timeout=2", "list-br")),
        "namespaces": {line.split()[0] for line in _lines("ip", "netns", "list")},
        "interfaces": {line.split(":")[1].strip().split("@")[0] for line in _lines("ip", "-o", "link")},
    }


def _lines(*command: str) -> list[str]:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return result.stdout.splitlines() if result.returncode == 0 else []


def _processes() -> list[str]:
    """Living processes that this run started, directly or not; multiprocessing's helper ends with us."""
    found = []
    mark = f"{_MARK}={os.getpid()}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            ours = mark in (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if ours and command and "resource_tracker" not in command:
            found.append(f"{entry.name} {command}")
    return found
