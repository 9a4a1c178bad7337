"""Every broken message, before the handshake, in it and after it: who sends one is closed, and nobody else feels it."""

from __future__ import annotations

import asyncio
import itertools
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

import numpy as np

from benchmarks.channel import messages as of
from benchmarks.channel.apart import Apart, Cue
from benchmarks.channel.fleet import FakeSwitch, Fleet, GoodSwitches, first_of
from benchmarks.channel.lines import Run
from benchmarks.channel.subject import daemon_under_test
from controller.testing_messages import KINDS, broken, sample

CLOSED_S, ECHO_S, GROWTH_BYTES = 0.1, 0.05, 10 << 20
_CORPUS = Path(__file__).parents[2] / "tests" / "unit" / "controller" / "hostile" / "inputs.toml"
_AT_A_TIME = 4
_GIVE_UP_S = 3.0
_SHOWN = 64
_MAX_LEFT_OPEN = 50
"""With more of them the rest is not tried: a frozen daemon would keep us for hours."""
_ECHOES_HZ = 100.0
_SECOND, _FIRST_DPID = 66, 0xBAD0
_ANSWERS = {
    "hello": (of.HELLO, None),
    "features": (of.FEATURES_REQUEST, None),
    "barrier": (of.BARRIER_REQUEST, None),
    "multipart-flow": (of.MULTIPART_REQUEST, of.FLOW_STATS),
    "multipart-flow-nicira": (of.MULTIPART_REQUEST, of.FLOW_STATS),
    "multipart-port": (of.MULTIPART_REQUEST, of.PORT_STATS),
    "multipart-group-description": (of.MULTIPART_REQUEST, of.GROUP_DESC),
    "multipart-meter-config": (of.MULTIPART_REQUEST, of.METER_CONFIG),
    "multipart-port-description": (of.MULTIPART_REQUEST, of.PORT_DESC),
}
"""What the daemon asks, by the kind of message that answers it."""
_KEPT_AS_BYTES = "multipart-flow-nicira"
"""What is broken inside another's action, which nobody reads, costs no switch its channel: it goes on at once."""


class When(StrEnum):
    """At which moment a broken message is sent."""

    FIRST = "first"
    ASKED = "asked"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A message and when it is sent."""

    kind: str
    what: str
    when: When
    data: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt: seconds from the last byte to the end, infinite where it was left open.

    Where it may go on, to the answer of an echo behind it.
    """

    attempt: Attempt
    closed_s: float


def published() -> Iterator[tuple[str, str, bytes]]:
    """Messages that freeze the bare frameworks, with the kind of each: what was published against them, and more."""
    for known in tomllib.loads(_CORPUS.read_text())["input"]:
        if known["kind"] == "message" and not known.get("legal"):
            data = bytes.fromhex(known["bytes"])
            parts = {asked: kind for kind, asked in _ANSWERS.items() if kind != _KEPT_AS_BYTES}
            part = int.from_bytes(data[8:10])
            kind = "hello" if data[1] == of.HELLO else parts.get((of.MULTIPART_REQUEST, part), f"type {data[1]}")
            yield kind, known["name"], data


def attempts(seeds: Sequence[int]) -> Iterator[Attempt]:
    """All of them; a header that says more than is there is left out, since its rest may still come."""
    for kind, what, data in published():
        yield from _moments(kind, what, data)
    for seed in seeds:
        for kind in KINDS:
            for what, data in broken(sample(kind, Random(seed))):  # noqa: S311 - the same ones in every run
                if what.startswith("header") and what.endswith(("over", "largest")):
                    continue
                yield from _moments(kind, what, data)


def _moments(kind: str, what: str, data: bytes) -> Iterator[Attempt]:
    yield Attempt(kind, what, When.FIRST, data)
    yield Attempt(kind, what, When.UP, data)
    if kind in _ANSWERS:
        yield Attempt(kind, what, When.ASKED, data)


async def attack(cue: Cue, controller: tuple[str, int], seeds: Sequence[int]) -> list[Outcome]:
    """Make all attempts, a few at a time, each on a connection and from an address of its own."""
    todo = attempts(seeds)
    outcomes: list[Outcome] = []
    fleet = Fleet(controller, _SECOND)

    async def work(dpid: int) -> None:
        for attempt in todo:
            if sum(outcome.closed_s == float("inf") for outcome in outcomes) > _MAX_LEFT_OPEN:
                return
            outcomes.append(await _make(fleet, dpid, attempt))

    await cue.ready()
    async with fleet:
        await asyncio.gather(*(work(_FIRST_DPID + number) for number in range(_AT_A_TIME)))
    return outcomes


async def _make(fleet: Fleet, dpid: int, attempt: Attempt) -> Outcome:
    switch = FakeSwitch(dpid)
    sent_s: list[float] = []
    gone_on = asyncio.Event()

    def strike(xid: int | None = None) -> None:
        data = attempt.data
        if xid is not None and len(data) >= of.HEADER.size:
            data = data[:4] + xid.to_bytes(4) + data[8:]
        switch.send(data)
        sent_s.append(time.perf_counter())
        if attempt.kind == _KEPT_AS_BYTES and attempt.when is not When.FIRST:
            switch.ask_echo()

    def answer(kind: int, xid: int, whole: bytes) -> bool:
        if sent_s:
            if kind == of.ECHO_REPLY:
                gone_on.set()
            return False
        if attempt.when is When.FIRST:
            # The controller speaks first; what it says is not answered.
            return True
        if attempt.when is When.ASKED:
            asked, part = _ANSWERS[attempt.kind]
            if kind == asked and (part is None or int.from_bytes(whole[8:10]) == part):
                strike(xid)
                return True
        return False

    switch.answer = answer
    await fleet.join(switch)
    if attempt.when is When.FIRST:
        strike()
    elif attempt.when is When.UP:
        await first_of(switch.up, switch.over, timeout_s=_GIVE_UP_S)
        strike()
    await first_of(switch.over, gone_on, timeout_s=_GIVE_UP_S)
    fleet.leave(switch)
    if sent_s and switch.over_s is not None:
        return Outcome(attempt, switch.over_s - sent_s[0])
    return Outcome(attempt, switch.echo_s[0] if gone_on.is_set() else float("inf"))


async def measure(run: Run) -> None:
    """Attack, while good switches measure their echoes."""
    seeds = (1,) if run.quick else (1, 2, 3)
    async with daemon_under_test(run.framework) as subject, Fleet(subject.openflow) as fleet:
        good = GoodSwitches(fleet)
        await good.come()
        await good.ask(_ECHOES_HZ, 1.0 if run.quick else 5.0, arp=False)
        run.echoes("quiet", await good.answers())
        before = subject.vitals()
        over = asyncio.Event()
        async with Apart(attack, subject.openflow, seeds) as attackers:
            attackers.cue()
            asking = asyncio.create_task(good.ask(_ECHOES_HZ, float("inf"), arp=False, until=over))
            outcomes = await attackers.result()
            over.set()
            await asking
        answers = await good.answers()
        grown = subject.vitals().rss_bytes - before.rss_bytes
        _judge(run, outcomes)
        run.echoes("under attack", answers, ECHO_S)
        run.at_most("good switches lost", good.lost(), "switches", 0)
        run.at_most("memory grown", grown / 2**20, "MiB", GROWTH_BYTES / 2**20)


def _judge(run: Run, outcomes: Sequence[Outcome]) -> None:
    closed_s = np.array([outcome.closed_s for outcome in outcomes])
    left = [outcome.attempt for outcome in outcomes if not np.isfinite(outcome.closed_s)]
    late = [outcome.attempt for outcome in outcomes if CLOSED_S < outcome.closed_s < float("inf")]
    shut = closed_s[np.isfinite(closed_s)]
    if len(shut):
        note = f"{len(outcomes)} messages, median {np.median(shut) * 1e3:.2g} ms, {len(late)} late{_named(late)}"
        run.at_most("closed after the last byte, slowest", float(shut.max()) * 1e3, "ms", CLOSED_S * 1e3, note)
    run.at_most("left open", len(left), "messages", 0, _named(left))


def _named(those: Sequence[Attempt]) -> str:
    """Which they are, most of one kind first."""
    if not those:
        return ""
    counts = Counter((attempt.kind, attempt.when) for attempt in those)
    kinds = ", ".join(f"{count} {kind} ({when})" for (kind, when), count in itertools.islice(counts.most_common(), 6))
    return f": {kinds}; first: {those[0].kind}, {those[0].what}, {those[0].when}, {those[0].data.hex()[:_SHOWN]}"
