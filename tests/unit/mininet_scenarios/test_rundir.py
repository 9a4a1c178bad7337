"""Clearing away ends what carries the tag, and nothing else."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mininet_scenarios import rundir
from mininet_scenarios.rundir import RunDirectory, existing, remove_abandoned, start_ticks
from topologies.errors import HeddleError

FOREVER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "ROOT", tmp_path / "emulations")


def start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(FOREVER, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    return process


def test_removing_ends_tagged_processes_and_spares_all_others() -> None:
    run = RunDirectory.create()
    tagged, foreign = start(run.environment), start(dict(os.environ))
    try:
        assert run.processes() == (tagged.pid,)
        run.remove()
        assert tagged.wait(60) != 0 or tagged.returncode is not None
        assert foreign.poll() is None
        assert not run.path.exists()
    finally:
        for process in (tagged, foreign):
            process.kill()
            process.wait()


def test_a_living_owner_keeps_its_emulation() -> None:
    run = RunDirectory.create()
    assert remove_abandoned() == ()
    assert existing() == (run,)


def test_an_emulation_whose_owner_died_is_removed() -> None:
    run = RunDirectory.create()
    # A later process with the same id is not the owner: it started at another time.
    owner = {"pid": os.getpid(), "start_ticks": (start_ticks(os.getpid()) or 0) - 1}
    (run.path / "owner.json").write_text(json.dumps(owner))
    assert remove_abandoned() == (run.tag,)
    assert existing() == ()


def test_an_emulation_that_has_no_owner_file_yet_is_left_alone() -> None:
    run = RunDirectory.create()
    run.owner_file.rename(run.path / "owner.json.new")
    assert existing() == ()
    assert remove_abandoned() == ()
    assert run.path.exists()


def test_an_owner_file_that_goes_while_it_is_read_is_no_sign_of_a_dead_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory.create()
    monkeypatch.setattr(rundir, "existing", lambda: (run,))
    run.owner_file.unlink()
    assert remove_abandoned() == ()
    assert run.path.exists()


def test_the_owner_file_is_whole_from_its_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = Path.rename

    def rename(unfinished: Path, target: Path) -> None:
        seen.append(target.exists())
        original(unfinished, target)

    monkeypatch.setattr(Path, "rename", rename)
    run = RunDirectory.create()
    assert seen == [False]
    assert run.owner() is not None
    assert [entry.name for entry in run.path.iterdir()] == ["owner.json"]


def test_a_directory_that_does_not_go_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory.create()
    monkeypatch.setattr(rundir.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(HeddleError, match=f"{run.path} cannot be removed"):
        run.remove()


def test_what_could_not_be_removed_stays_on_record_for_the_next_try_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = {"pid": 1 << 30, "start_ticks": 1}
    stuck, free = sorted((RunDirectory.create(), RunDirectory.create()), key=lambda run: run.tag)
    for run in (stuck, free):
        run.owner_file.write_text(json.dumps(dead))
    (stuck.path / "busy").mkdir()
    rmdir = os.rmdir

    def refuse(path: object, *arguments: object, **options: object) -> None:
        if str(path) == "busy" or str(path).endswith("/busy"):
            raise OSError(errno.EBUSY, "busy")
        rmdir(path, *arguments, **options)

    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.raises(HeddleError, match=f"{stuck.path} cannot be removed"):
        remove_abandoned()
    assert existing() == (stuck,)


def test_a_namespace_that_does_not_go_is_named_and_stays_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create()
    monkeypatch.setattr(rundir, "NAMESPACES", tmp_path)
    monkeypatch.setattr(rundir, "program", lambda _: "false")
    (tmp_path / run.namespace).touch()
    with pytest.raises(HeddleError, match=f"{tmp_path}/{run.namespace} and {run.path} cannot be removed"):
        run.remove()
    assert existing() == (run,)


def test_no_process_has_no_start() -> None:
    assert start_ticks(1 << 30) is None
