"""A short run of each fuzzing target: seeds, then what a few seconds of coverage find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TARGETS = Path(__file__).parent
SECONDS = 4
NO_FUZZER = "Atheris is not installed: it has wheels for Linux on x86-64; pip install 'heddle-sdn[fuzz]'"


@pytest.mark.parametrize(("target", "framework"), [("messages", "ryu"), ("messages", "os-ken"), ("frames", "os-ken")])
def test_nothing_escapes_in_a_short_run(target: str, framework: str, tmp_path: Path):
    pytest.importorskip("atheris", reason=NO_FUZZER)
    pytest.importorskip(framework.replace("-", "_"))

    run = subprocess.run(
        [
            sys.executable, "-B", TARGETS / f"fuzz_{target}.py", "-seed=1", f"-max_total_time={SECONDS}",
            "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={tmp_path}/",
        ],
        env=os.environ | {"HEDDLE_FRAMEWORK": framework},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr[-4000:]
    executed = int(run.stderr.rpartition("stat::number_of_executed_units:")[2].split()[0])
    assert executed > 1000


def test_what_escapes_ends_a_run_with_an_error_and_is_kept(tmp_path: Path):
    pytest.importorskip("atheris", reason=NO_FUZZER)
    target = tmp_path / "target.py"
    target.write_text(
        "import sys\n"
        "from seeding import fuzz\n"
        "def judge(data):\n"
        "    if data[:1] == b'!':\n"
        "        raise ValueError('it escaped')\n"
        "sys.exit(fuzz(judge, [b'fine']))\n"
    )

    run = subprocess.run(
        [sys.executable, "-B", target, "-seed=1", "-max_total_time=60", f"-artifact_prefix={tmp_path}/"],
        env=os.environ | {"PYTHONPATH": str(TARGETS), "TMPDIR": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode != 0
    assert "it escaped" in run.stdout + run.stderr
    (kept,) = tmp_path.glob("crash-*")
    assert kept.read_bytes()[:1] == b"!"
    assert not list(tmp_path.glob("heddle-fuzz-*"))
