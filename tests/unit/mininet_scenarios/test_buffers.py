"""The machine's socket buffers come back as they were, even where an emulation died with them raised."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mininet_scenarios import buffers, rundir
from mininet_scenarios.buffers import SEND_BUFFER_BYTES, raised_buffers, restore_buffers

FORMER = {"wmem_max": 212992, "wmem_default": 212992, "rmem_max": 1 << 30, "rmem_default": 212992}


@pytest.fixture(autouse=True)
def _on_a_machine_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_SETTINGS", tmp_path)
    for module in (buffers, rundir):
        monkeypatch.setattr(module, "ROOT", tmp_path / "emulations")
    for name, value in FORMER.items():
        (tmp_path / name).write_text(f"{value}\n")


def settings(directory: Path) -> dict[str, int]:
    return {name: int((directory / name).read_text()) for name in FORMER}


def die_with_raised_buffers() -> None:
    """As SIGKILL would have it: nothing is cleared away, and the kernel frees the lock."""
    if (child := os.fork()) == 0:
        try:
            with raised_buffers():
                os._exit(9)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_buffers_are_raised_inside_the_block_and_never_lowered(tmp_path: Path) -> None:
    with raised_buffers():
        raised = settings(tmp_path)
    assert raised["wmem_default"] == raised["wmem_max"] == SEND_BUFFER_BYTES
    assert raised["rmem_max"] == FORMER["rmem_max"]
    assert settings(tmp_path) == FORMER


def test_a_crash_inside_leaves_a_record_by_which_the_values_come_back(tmp_path: Path) -> None:
    record = tmp_path / "emulations" / "buffers.json"
    die_with_raised_buffers()
    assert record.exists()
    assert settings(tmp_path) != FORMER

    restore_buffers()

    assert settings(tmp_path) == FORMER
    assert not record.exists()


def test_the_next_emulation_does_not_take_raised_buffers_for_the_machines_own(tmp_path: Path) -> None:
    die_with_raised_buffers()
    with raised_buffers():
        pass
    assert settings(tmp_path) == FORMER
