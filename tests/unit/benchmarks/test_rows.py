"""Rows of the data plane's benchmark, one after another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.dataplane import __main__ as program
from benchmarks.dataplane.cases import Case, Setting, exactly
from topologies.errors import HeddleError


def breaks_off(_: Setting) -> Iterator[Case]:
    yield exactly("first", "packets lost", 0, 0)
    raise HeddleError("the daemon ended")


def holds(setting: Setting) -> Iterator[Case]:
    yield exactly("second", f"on {setting.framework}", 1, 1)


def test_a_row_that_breaks_off_does_not_hold_and_keeps_no_other_from_its_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "ROWS", {"first": breaks_off, "second": holds})

    assert program.main(["--framework", "os-ken"]) == 4

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["row", "first", "first", "second"]
    assert [line[-1] for line in lines] == ["holds", "yes", "NO", "yes"]


def test_rows_that_hold_end_with_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "ROWS", {"second": holds})

    assert program.main(["--row", "second", "--json"]) == 0
