"""``heddle emulate``: an emulated cluster, a real all-reduce, and what each routing made of it."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from topologies.errors import InputError

if TYPE_CHECKING:
    from mininet_scenarios.first_light import Comparison
    from mininet_scenarios.verdict import Check, Gain

EXIT_FELL_SHORT = 4
_SCENARIO = "all-reduce"
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)
_REPORT = Path("report")


def run_emulation(
    *,
    scenario: str,
    k: int,
    seed: int,
    routing: str,
    sizes: str | None,
    report: Path | None,
    as_json: bool,
    cleanup: bool,
    seeds: str | None,
) -> int:
    """Run the scenario, or clear away what crashed ones left; returns the exit code.

    Raises
    ------
    InputError
        An argument is wrong.
    HeddleError
        The machine lacks something, or a part of the emulation failed.
    """
    console = Console(stderr=as_json, highlight=False)
    if cleanup:
        return _clean_up(console, as_json=as_json)
    if scenario != _SCENARIO:
        raise InputError(f"there is no scenario {scenario!r}; there is {_SCENARIO!r}")
    from mininet_scenarios.all_reduce import Sweep
    from mininet_scenarios.buffers import restore_buffers
    from mininet_scenarios.first_light import CAPACITY_BPS, SIZES_BYTES, FirstLight, Routing
    from mininet_scenarios.requirements import check_machine, mpi_program
    from mininet_scenarios.rundir import remove_abandoned
    from topologies.fat_tree import fat_tree

    start_s = time.monotonic()
    chosen: tuple[Routing, ...] = tuple(Routing) if routing == "all" else (Routing(routing),)
    all_sizes = _sizes(sizes) if sizes else SIZES_BYTES
    all_seeds = _seeds(seeds) if seeds else (seed,)
    if min(all_seeds) < 0:
        raise InputError(f"seed {seed} does not fit; write 0 or more")
    if seeds:
        if routing != "all":
            raise InputError("--seeds compares optimised with ECMP, so it takes no --routing; leave one of them out")
        # The gain is judged at the largest size, against ECMP; the rest would only take time.
        chosen, all_sizes = (Routing.ECMP, Routing.OPTIMISED), (max(all_sizes),)
    fabric = fat_tree(k, capacity_bps=CAPACITY_BPS)
    check_machine()
    mpi_program()
    directory = _writable(report or _REPORT)
    with _terminable(), _progress(console) as tell:
        remove_abandoned()
        restore_buffers()
        comparisons = []
        with FirstLight(fabric, directory, tell) as emulation:
            for one in all_seeds:
                comparisons.append(emulation.compare(one, chosen, Sweep(all_sizes)))
    seconds = time.monotonic() - start_s
    return _conclude(comparisons, directory, console, as_json=as_json, many=bool(seeds), seconds=seconds)


def _writable(directory: Path) -> Path:
    """The report's directory, made where it is missing: a run of minutes must find a place for its result."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {directory} ({error.strerror}); choose another directory with --report"
        ) from None


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str], None]]:
    """Tell what is going on: in place on a terminal, else line by line."""
    if console.is_terminal:
        with console.status("") as status:
            yield status.update
    else:
        yield partial(console.print, markup=False, soft_wrap=True)


def _conclude(
    comparisons: Sequence[Comparison], directory: Path, console: Console, *, as_json: bool, many: bool, seconds: float
) -> int:
    from mininet_scenarios.report import to_json, write_picture
    from mininet_scenarios.verdict import Gain, checks, gain_checks

    verdicts = [checks(comparison) for comparison in comparisons]
    gains = [gain for comparison in comparisons if (gain := Gain.of(comparison)) is not None]
    together = gain_checks(gains) if many else ()
    documents = [to_json(comparison, verdict) for comparison, verdict in zip(comparisons, verdicts, strict=True)]
    passed = all(check.passed for verdict in (*verdicts, together) for check in verdict)
    document = {**documents[0], "seconds": seconds} if not many else {
        "scenario": _SCENARIO,
        "seeds": documents,
        "gains": [_gain_json(gain) for gain in gains],
        "checks": [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in together],
        "passed": passed,
        "seconds": seconds,
    }  # fmt: skip
    (directory / "report.json").write_text(json.dumps(document, indent=2) + "\n")
    write_picture(comparisons[0], directory / "report.png")
    if as_json:
        print(json.dumps(document, indent=2))
    for comparison, verdict in zip(comparisons, verdicts, strict=True):
        _print_table(console, comparison)
        _print_checks(console, verdict)
    if many:
        _print_gains(console, gains)
        _print_checks(console, together)
    report = f"Report: {directory / 'report.json'}, picture: {directory / 'report.png'}, in {_duration(seconds)}"
    console.print(report, markup=False, soft_wrap=True)
    return 0 if passed else EXIT_FELL_SHORT


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _print_table(console: Console, comparison: Comparison) -> None:
    from mininet_scenarios.first_light import cores_used, worst_link_flows
    from mininet_scenarios.machine import CPU_LIMIT_IDLE
    from mininet_scenarios.nccl import output
    from mininet_scenarios.report import TITLES, size_name

    for run in comparison.runs:
        lines = output((result.timing, result.wrong) for result in run.results)
        console.print("", f"# {TITLES[run.routing]}", *lines, sep="\n", markup=False, soft_wrap=True)
    ranks, seed = len(comparison.ranks), comparison.seed
    table = Table(title=f"\nRing all-reduce, {ranks} ranks, seed {seed}: what each routing delivered", box=None)
    table.add_column("routing", no_wrap=True)
    for column in (
        "size", "time\n(s)", "busbw\n(Mbit/s)", "of the\nbound", "flows on\nbusiest link", "cores\nused", "CPU\nidle",
    ):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    for run in comparison.runs:
        for number, result in enumerate(run.results):
            timing = result.timing
            used, of = cores_used(comparison.fabric, result)
            table.add_row(
                TITLES[run.routing] if number == 0 else "", size_name(timing.size_bytes), f"{timing.time_s:.2f}",
                f"{timing.busbw_bytes_per_s * 8e-6:.2f}", f"{timing.ratio_to_bound:.1%}",
                str(worst_link_flows(comparison.fabric, result)), f"{used} of {of}", f"{result.cpu_idle:.0%}",
            )  # fmt: skip
        table.add_section()
    console.print(table)
    for run in comparison.runs:
        if run.mpi_starts > 1:
            console.print(f"MPI needed {run.mpi_starts} starts under {TITLES[run.routing]}.")
    starved = [TITLES[run.routing] for run in comparison.runs if any(r.cpu_idle < CPU_LIMIT_IDLE for r in run.results)]
    if starved:
        console.print(f"The processors had less than {CPU_LIMIT_IDLE:.0%} idle time under {', '.join(starved)}: "
                      "the machine, not the fabric, may be what limited these results.")  # fmt: skip


def _gain_json(gain: Gain) -> dict[str, object]:
    used, of = gain.ecmp_cores
    return {
        "seed": gain.seed, "ratio": gain.ratio,
        "optimised_busbw_bps": gain.optimised_bps, "ecmp_busbw_bps": gain.ecmp_bps,
        "ecmp_worst_link_flows": gain.ecmp_worst_flows, "ecmp_cores_used": used, "cores": of,
    }  # fmt: skip


def _print_checks(console: Console, verdict: Sequence[Check]) -> None:
    for check in verdict:
        mark = "[green]pass[/green]" if check.passed else "[bold red]MISS[/bold red]"
        console.print(f"  {mark}  {check.name}: {check.detail}", soft_wrap=True)


def _print_gains(console: Console, gains: Sequence[Gain]) -> None:
    table = Table(title="\nOptimised over ECMP, largest size", box=None)
    for column in (
        "seed", "optimised\n(Mbit/s)", "ECMP\n(Mbit/s)", "ratio", "ECMP flows on\nbusiest link", "cores of\nECMP",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for gain in gains:
        table.add_row(
            str(gain.seed), f"{gain.optimised_bps / 1e6:.2f}", f"{gain.ecmp_bps / 1e6:.2f}", f"{gain.ratio:.2f}",
            str(gain.ecmp_worst_flows), "{} of {}".format(*gain.ecmp_cores),
        )  # fmt: skip
    console.print(table)


def _clean_up(console: Console, *, as_json: bool) -> int:
    from mininet_scenarios.buffers import restore_buffers
    from mininet_scenarios.requirements import check_root
    from mininet_scenarios.rundir import remove_abandoned

    check_root()
    tags = remove_abandoned()
    restore_buffers()
    if as_json:
        print(json.dumps({"removed": list(tags)}))
    else:
        console.print(f"Removed {', '.join(tags)}" if tags else "Nothing was left behind")
    return 0


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or any(size < 1024 or size % 4 for size in sizes):
        raise InputError(f"sizes {text!r} do not fit; write bytes, multiples of 4 from 1024 on, as in 524288,4194304")
    return tuple(sorted(sizes))


def _seeds(text: str) -> tuple[int, ...]:
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() if dash else not last)):
        raise InputError(f"seeds {text!r} do not fit; write FIRST-LAST, as in 1-5")
    seeds = tuple(range(int(first), int(last or first) + 1))
    if not seeds:
        raise InputError(f"seeds {text!r} are none at all; write the smaller one first, as in 1-5")
    return seeds


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, and the end of the terminal, end the run as Ctrl-C does, so that everything is taken down."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # What is ignored stays so: nohup means a run to outlive its terminal.
    heard = [number for number in _ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
