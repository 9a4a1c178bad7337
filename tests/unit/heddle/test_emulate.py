"""heddle emulate around the cluster: what it prints, what it writes, its exit codes, and how signals end it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from heddle.emulate import _duration, _terminable
from heddle.main import main
from mininet_scenarios.cluster import deaf_to_interrupts
from mininet_scenarios.first_light import Comparison, Routing
from mininet_scenarios.testing import BOUND_S, changed, sound_comparison, sound_run

REPOSITORY = Path(__file__).parents[3]
Emulate = Callable[..., SimpleNamespace]


@pytest.fixture(name="emulate")
def emulate_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Emulate:
    """Run the verb; each seed it asks for gets the comparison of that seed instead of a cluster."""
    for name in ("requirements.check_machine", "requirements.mpi_program", "rundir.remove_abandoned",
                 "buffers.restore_buffers"):  # fmt: skip
        monkeypatch.setattr(f"mininet_scenarios.{name}", lambda: None)
    monkeypatch.setattr("mininet_scenarios.report.write_picture", lambda _, path: path.touch())
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, comparison: Callable[[int], Comparison]) -> SimpleNamespace:
        asked: list[Any] = []

        class Emulation:
            def __init__(self, *_: object) -> None: ...

            def __enter__(self) -> Emulation:
                return self

            def __exit__(self, *_: object) -> None: ...

            def compare(self, seed: int, routings: Sequence[Routing], sweep: Any) -> Comparison:
                asked.append((seed, tuple(routings), sweep.sizes_bytes))
                return comparison(seed)

        monkeypatch.setattr("mininet_scenarios.first_light.FirstLight", Emulation)
        code = main(["emulate", "--report", str(tmp_path), *arguments])
        printed, said = capsys.readouterr()
        report = json.loads((tmp_path / "report.json").read_text())
        return SimpleNamespace(code=code, printed=printed, said=said, report=report, asked=asked)

    return run


def compared(seed: int, gain: float = 2.0) -> Comparison:
    """A seed under which ECMP takes so many times as long as the plan."""
    runs = (sound_run(Routing.ECMP, BOUND_S * 1.02 * gain), sound_run(Routing.OPTIMISED))
    return sound_comparison(seed=seed, runs=runs)


def test_a_sound_comparison_passes(emulate: Emulate) -> None:
    outcome = emulate(comparison=compared)
    assert outcome.code == 0
    assert outcome.report["passed"] is True
    assert "  pass  every element right on every rank: 0 wrong elements" in outcome.printed
    assert "MISS" not in outcome.printed


def test_a_miss_is_printed_and_is_exit_code_4(emulate: Emulate) -> None:
    outcome = emulate(comparison=lambda seed: changed(compared(seed), wrong=3))
    assert outcome.code == 4
    assert outcome.report["passed"] is False
    assert "  MISS  every element right on every rank: 3 wrong elements" in outcome.printed


def test_the_table_has_a_row_for_each_routing(emulate: Emulate) -> None:
    rows = [row.split() for row in emulate(comparison=compared).printed.splitlines()]
    assert ["ECMP", "1", "MiB", "1.71", "4.90", "49.0%", "1", "1", "of", "1", "50%"] in rows
    assert ["Optimised", "1", "MiB", "0.86", "9.80", "98.0%", "1", "1", "of", "1", "50%"] in rows


def test_json_alone_is_on_standard_output(emulate: Emulate) -> None:
    outcome = emulate("--json", comparison=compared)
    assert json.loads(outcome.printed) == outcome.report
    assert "every element right on every rank" in outcome.said


def test_seeds_are_compared_at_the_largest_size_in_a_table_and_in_the_report(emulate: Emulate) -> None:
    outcome = emulate("--seeds", "1-2", "--sizes", "4096,1048576", comparison=lambda seed: compared(seed, 1.0 + seed))
    assert outcome.code == 0
    assert outcome.asked == [(seed, (Routing.ECMP, Routing.OPTIMISED), (1048576,)) for seed in (1, 2)]
    assert [seed["seed"] for seed in outcome.report["seeds"]] == [1, 2]
    assert [gain["ratio"] for gain in outcome.report["gains"]] == pytest.approx([2.0, 3.0])
    table = outcome.printed.partition("Optimised over ECMP, largest size")[2]
    assert ["2", "9.80", "3.27", "3.00", "1", "1", "of", "1"] in [row.split() for row in table.splitlines()]
    assert "  pass  optimised over ECMP, mean of 2 seeds: 2.50, at least 1.5" in table


def test_seeds_that_gain_too_little_together_are_exit_code_4(emulate: Emulate) -> None:
    outcome = emulate("--seeds", "1-2", comparison=lambda seed: compared(seed, 1.1))
    assert outcome.code == 4
    assert all(seed["passed"] for seed in outcome.report["seeds"])
    assert outcome.report["passed"] is False


def test_seeds_as_json_leave_json_alone_on_standard_output(emulate: Emulate) -> None:
    outcome = emulate("--seeds", "1-2", "--json", comparison=compared)
    assert json.loads(outcome.printed) == outcome.report


def test_a_second_start_of_mpi_is_said(emulate: Emulate) -> None:
    def comparison(seed: int) -> Comparison:
        ecmp, optimised = compared(seed).runs
        return sound_comparison(runs=(ecmp, replace(optimised, mpi_starts=2)))

    assert "MPI needed 2 starts under Optimised." in emulate(comparison=comparison).printed.splitlines()
    assert "MPI needed" not in emulate(comparison=compared).printed


def test_the_last_line_says_where_the_report_is_and_how_long_it_took(emulate: Emulate, tmp_path: Path) -> None:
    outcome = emulate(comparison=compared)
    last = f"Report: {tmp_path}/report.json, picture: {tmp_path}/report.png, in {_duration(outcome.report['seconds'])}"
    assert outcome.printed.splitlines()[-1] == last
    assert outcome.report["seconds"] > 0


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (363, "6 min 3 s")])
def test_times_are_said_in_minutes_and_seconds(seconds: float, said: str) -> None:
    assert _duration(seconds) == said


@contextmanager
def handled(number: signal.Signals, how: signal.Handlers) -> Iterator[None]:
    """Tests may themselves run under nohup."""
    former = signal.signal(number, how)
    try:
        yield
    finally:
        signal.signal(number, former)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does_and_its_handling_comes_back(ending: signal.Signals) -> None:
    with handled(ending, signal.SIG_DFL):
        with pytest.raises(KeyboardInterrupt), _terminable():
            os.kill(os.getpid(), ending)
        assert signal.getsignal(ending) is signal.SIG_DFL


def test_a_run_under_nohup_outlives_its_terminal() -> None:
    with handled(signal.SIGHUP, signal.SIG_IGN), _terminable():
        os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_signal_stops_the_taking_down(ending: signal.Signals) -> None:
    with _terminable(), deaf_to_interrupts():
        os.kill(os.getpid(), ending)


def test_help_and_page_name_the_sizes_that_run_by_default(capsys: pytest.CaptureFixture[str], emulate: Emulate) -> None:
    ((_, _, sizes),) = emulate(comparison=compared).asked
    main(["emulate", "--help"])
    for text in (capsys.readouterr().out, (REPOSITORY / "docs" / "emulation.md").read_text()):
        assert ",".join(map(str, sizes)) in text
