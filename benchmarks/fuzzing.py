"""Millions of spoilt messages and frames through what reads them: nothing may escape, take long, or leak.

One process for each installed framework shares the work. Messages go through the header's check, the check of every
length and the framework's parser; frames through `workloads.headers` and `controller.lldp`. Limits: no exception but a
violation, 50 ms of CPU for the slowest input, 10 MiB more memory at the end than after a tenth of the run. Exit code 4
where one is missed, 2 where the flags are wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import json
import logging
import multiprocessing
import os
import resource
import sys
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import cast

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from benchmarks.mutations import mutated, spoil_bytes
from controller.lldp import Probe
from controller.testing_messages import KINDS, LengthField, Sample, sample
from workloads.testing import random_frame, whole_frame

SLOWEST_LIMIT_MS, GROWTH_LIMIT_MIB = 50.0, 10.0

_HOSTILE = Path(__file__).parents[1] / "tests" / "unit" / "controller" / "hostile" / "inputs.toml"
_PACKAGES = {"ryu": "ryu", "os-ken": "os_ken"}
_SAMPLES_OF_EACH_KIND = 20
_FRAMES = 2000
_REPORT_EVERY = 2000
_MOST_FAILURES = 20
_TABLE_WIDTH = 140
_PAGE_BYTES = resource.getpagesize()


@dataclass
class Tally:
    """What a worker saw.

    Attributes
    ----------
    verdicts : Counter
        How many inputs were read, refused, or incomplete.
    failures : list
        Exception and input, of the first that let one escape; ``failed`` counts all.
    growth_mib : float
        More memory at the end than after a tenth of the run.
    """

    framework: str
    kind: str
    inputs: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    slowest_ms: float = 0.0
    slowest: str = ""
    growth_mib: float = 0.0
    seconds: float = 0.0

    @property
    def within_limits(self) -> bool:
        """Whether nothing escaped, took too long or leaked."""
        return not self.failed and self.slowest_ms <= SLOWEST_LIMIT_MS and self.growth_mib <= GROWTH_LIMIT_MIB


def hostile(kind: str) -> list[bytes]:
    """What was published against the frameworks: messages or frames."""
    inputs = tomllib.loads(_HOSTILE.read_text())["input"]
    return [bytes.fromhex("".join(each["bytes"].split())) for each in inputs if each["kind"] == kind]


def message_pool(random: Random) -> list[Sample]:
    """Samples of every kind, and the published messages."""
    pool = [sample(kind, random) for kind in KINDS for _ in range(_SAMPLES_OF_EACH_KIND)]
    for message in hostile("message"):
        header = LengthField("header", 2, 2, len(message), 8, len(message), 0, len(message))
        pool.append(Sample("hostile", message, (header,)))
    return pool


def spoilt_messages(random: Random) -> Iterator[bytes]:
    """Messages without end, from a pool that changes slowly."""
    pool = message_pool(random)
    renewable = len(KINDS) * _SAMPLES_OF_EACH_KIND
    while True:
        pool[random.randrange(renewable)] = sample(random.choice(KINDS), random)
        for _ in range(50):
            yield mutated(random, pool)


def probes(random: Random) -> list[Probe]:
    """What a daemon might have sent."""
    return [Probe(random.getrandbits(64), random.randint(1, 48), nonce, random.getrandbits(40)) for nonce in range(20)]


def frame_pool(random: Random, count: int = 200) -> list[bytes]:
    """Whole frames, and the published ones."""
    return [whole_frame(random) for _ in range(count)] + hostile("frame")


def spoilt_frames(random: Random, signed: list[bytes]) -> Iterator[bytes]:
    """Frames without end, a tenth of them spoilt probes."""
    pool = frame_pool(random, _FRAMES)
    while True:
        pool[random.randrange(_FRAMES)] = whole_frame(random)
        for _ in range(20):
            frame = bytearray(random.choice(signed if random.random() < 0.1 else pool))
            for _ in range(random.randint(0, 2)):
                spoil_bytes(random, frame)
            yield bytes(frame)
        yield random_frame(random)


def campaign(
    tally: Tally,
    inputs: Iterator[bytes],
    judge: Callable[[bytes], str],
    count: int,
    report: Callable[[int], None],
) -> None:
    """Judge so many inputs, and tally what came of them."""
    begun_s = time.monotonic()
    after_a_tenth = resident_bytes()
    for number in range(1, count + 1):
        data = next(inputs)
        before_s = time.thread_time()
        try:
            verdict = judge(data)
        except Exception as error:
            verdict = "failed"
            tally.failed += 1
            if len(tally.failures) < _MOST_FAILURES:
                tally.failures.append((f"{type(error).__name__}: {error}", data.hex()))
        took_ms = (time.thread_time() - before_s) * 1e3
        tally.verdicts[verdict] += 1
        if took_ms > tally.slowest_ms:
            # Once more, since now and then the collector or the machine is what took the time.
            took_ms = min(took_ms, again_ms(judge, data), again_ms(judge, data))
            if took_ms > tally.slowest_ms:
                tally.slowest_ms, tally.slowest = took_ms, data.hex()
        if number == count // 10:
            after_a_tenth = resident_bytes()
        if number % _REPORT_EVERY == 0:
            report(_REPORT_EVERY)
    report(count % _REPORT_EVERY)
    tally.inputs = count
    tally.growth_mib = (resident_bytes() - after_a_tenth) / 2**20
    tally.seconds = time.monotonic() - begun_s


def again_ms(judge: Callable[[bytes], str], data: bytes) -> float:
    """CPU time of judging an input."""
    begun_s = time.thread_time()
    with contextlib.suppress(Exception):
        judge(data)
    return (time.thread_time() - begun_s) * 1e3


def resident_bytes() -> int:
    """Memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def work(framework: str, seed: int, messages: int, frames: int, out: Connection) -> None:
    """Be one of the processes: send ``(kind, inputs done)`` now and then, and a `Tally` of each kind at its end."""
    os.environ["HEDDLE_FRAMEWORK"] = framework
    # What the frameworks say of malformed messages is not of interest here.
    logging.disable()
    warnings.simplefilter("ignore")
    from benchmarks.judging import Frames, Messages

    # The modules are no garbage; without them a collection is short.
    gc.freeze()
    random = Random(f"{framework} {seed}")  # noqa: S311
    if messages:
        tally = Tally(framework, "messages")
        campaign(tally, spoilt_messages(random), Messages().judge, messages, lambda n: out.send(("messages", n)))
        out.send(tally)
    if frames:
        tally = Tally(framework, "frames")
        judge = Frames(probes(random))
        campaign(tally, spoilt_frames(random, judge.signed()), judge.judge, frames, lambda n: out.send(("frames", n)))
        out.send(tally)
    out.close()


def run(messages: int, frames: int, seed: int, progress: Progress | None = None) -> list[Tally]:
    """Share the work among one process for each framework, and collect their tallies.

    Raises
    ------
    RuntimeError
        A process ended early: something killed it, or an input did.
    """
    frameworks = [name for name, package in _PACKAGES.items() if importlib.util.find_spec(package)]
    totals = {"messages": messages, "frames": frames}
    bars = {kind: progress.add_task(kind, total=total) for kind, total in totals.items() if progress and total}
    context = multiprocessing.get_context("spawn")
    workers, pipes, tallies = [], [], list[Tally]()
    for place, framework in enumerate(frameworks):
        share = [total // len(frameworks) + (place < total % len(frameworks)) for total in totals.values()]
        reading, writing = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(framework, seed, *share, writing), daemon=True)
        worker.start()
        writing.close()
        workers.append(worker)
        pipes.append(reading)
    open_pipes = list(pipes)
    while open_pipes:
        for pipe in wait(open_pipes):
            try:
                news = cast(Connection, pipe).recv()
            except EOFError:
                open_pipes.remove(cast(Connection, pipe))
                continue
            if isinstance(news, Tally):
                tallies.append(news)
            elif progress and news[0] in bars:
                progress.advance(bars[news[0]], news[1])
    for framework, worker in zip(frameworks, workers, strict=True):
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"the process with {framework} ended with code {worker.exitcode}; see its error above")
    return tallies


def as_json(tally: Tally) -> dict[str, object]:
    """All that a tally says, with its limits."""
    return {
        "framework": tally.framework,
        "kind": tally.kind,
        "inputs": tally.inputs,
        "shares": {verdict: round(count / tally.inputs, 4) for verdict, count in sorted(tally.verdicts.items())},
        "escaped": tally.failed,
        "escaped_first": [{"error": error, "input": data} for error, data in tally.failures],
        "slowest_ms": round(tally.slowest_ms, 3),
        "slowest_limit_ms": SLOWEST_LIMIT_MS,
        "slowest_input": tally.slowest,
        "growth_mib": round(tally.growth_mib, 2),
        "growth_limit_mib": GROWTH_LIMIT_MIB,
        "seconds": round(tally.seconds, 1),
    }


def as_table(tallies: list[Tally]) -> Table:
    """A line for each framework and kind of input, with its limits and whether it met them."""
    table = Table(
        "inputs", "by", "read", "refused", "incomplete", "escaped (0)", f"slowest (≤ {SLOWEST_LIMIT_MS:g} ms)",
        f"growth (≤ {GROWTH_LIMIT_MIB:g} MiB)", "took", "limits", box=None, pad_edge=False,
    )  # fmt: skip
    for tally in tallies:
        shares = [f"{tally.verdicts[verdict] / tally.inputs:.1%}" for verdict in ("read", "refused", "incomplete")]
        table.add_row(
            f"{tally.inputs:,} {tally.kind}", tally.framework, *shares, str(tally.failed),
            f"{tally.slowest_ms:.2f} ms", f"{tally.growth_mib:+.1f} MiB", f"{tally.seconds:.0f} s",
            "met" if tally.within_limits else "missed",
        )  # fmt: skip
    return table


def in_words(tallies: list[Tally]) -> str:
    """What came of it, in a sentence."""
    inputs = f"{sum(tally.inputs for tally in tallies):,} inputs"
    missed = [f"{tally.kind} by {tally.framework}" for tally in tallies if not tally.within_limits]
    if missed:
        return f"Of {inputs}, these missed a limit: {', '.join(missed)}."
    return f"All limits are met: of {inputs} none escaped, took long or leaked."


def count(text: str) -> int:
    """Read a number of inputs."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def main() -> int:
    """Run, print, and return 4 where a limit is missed."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzzing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--messages", type=count, metavar="N", default=1_000_000, help="OpenFlow messages (default %(default)s)"
    )
    options.add_argument(
        "--frames", type=count, metavar="N", default=1_000_000, help="frames of hosts (default %(default)s)"
    )
    options.add_argument(
        "--seed", type=int, metavar="N", default=1, help="draws the inputs; the same draws the same (default 1)"
    )
    options.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    arguments = options.parse_args()
    if not arguments.messages + arguments.frames:
        options.error("without messages and frames nothing is tried; give at least one of them")
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tallies = run(arguments.messages, arguments.frames, arguments.seed, progress)
    if arguments.json:
        print(json.dumps([as_json(tally) for tally in tallies]))
    else:
        Console(width=_TABLE_WIDTH).print(as_table(tallies))
        for tally in tallies:
            for error, data in tally.failures:
                print(f"{tally.framework}: {error} escaped from {data}")
            if tally.slowest_ms > SLOWEST_LIMIT_MS:
                print(f"{tally.framework}: {tally.slowest_ms:.1f} ms for {tally.slowest}")
        print(in_words(tallies))
    return 0 if all(tally.within_limits for tally in tallies) else 4


if __name__ == "__main__":
    sys.exit(main())
