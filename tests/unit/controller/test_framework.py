from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("framework_child.py")
ROOT = Path(__file__).parents[3]
PATIENCE_S = 60


@pytest.fixture(params=["ryu", "os-ken"])
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(framework: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(CHILD), *arguments],
        env={**os.environ, "HEDDLE_FRAMEWORK": framework, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    output, errors = child.communicate(timeout=PATIENCE_S)
    said: dict[str, Any] = {}
    for line in output.splitlines():
        said |= json.loads(line)
    return said, errors


def test_other_threads_reach_the_openflow_thread_by_its_door(framework: str):
    said, errors = finish(start(framework, "stop"))

    assert said["framework"] == framework
    assert said["in_order"]
    assert said["threads"] == ["MainThread"]
    assert said["failed"] == "ValueError: as asked"
    assert said["early"] == "'early'"
    assert said["refused"] >= 1000
    assert "try again later" in said["reason"]
    assert "has stopped" in said["late"]
    assert said["ticks"] == 3
    assert errors.count("a periodic task failed") >= 3
    assert said["closed"]
    assert said["ended_by"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_daemon_in_order(framework: str, number: signal.Signals):
    child = start(framework)
    assert child.stdout is not None
    while "idle" not in child.stdout.readline():
        assert child.poll() is None

    child.send_signal(number)

    said, _ = finish(child)
    assert child.returncode == 0
    assert said["closed"]
    assert said["ended_by"] == number


def test_what_hinders_the_start_ends_the_run(framework: str):
    child = start(framework, "refuse-to-start")

    said, _ = finish(child)

    assert child.returncode == 1
    assert said["error"] == "the port is in use"


def imported(framework: str, *options: str) -> str:
    """The last line that importing the seam leaves on standard error."""
    run = subprocess.run(
        [sys.executable, *options, "-c", "import controller.framework"],
        env={**os.environ, "HEDDLE_FRAMEWORK": framework, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return run.stderr.strip().rpartition("\n")[2]


def test_importing_either_framework_says_nothing(framework: str):
    assert imported(framework, "-W", "error") == ""


def test_an_unknown_framework_is_bad_input():
    assert imported("pox") == ("topologies.errors.InputError: HEDDLE_FRAMEWORK is 'pox'; set it to auto, ryu or os-ken")


def test_a_framework_that_is_not_installed_is_named(framework: str):
    # Isolated from the virtual environment's packages, nothing is installed.
    without_packages = f"import sys; sys.path[:] = [{str(ROOT)!r}, *(p for p in sys.path if 'site-packages' not in p)]"
    run = subprocess.run(
        [sys.executable, "-c", f"{without_packages}\nimport controller.framework"],
        env={**os.environ, "HEDDLE_FRAMEWORK": framework},
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"HeddleError: the OpenFlow framework {framework} is not installed" in run.stderr
