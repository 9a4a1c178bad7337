"""Hostile inputs, published and found, thrown at the daemon before and after a handshake while real switches run."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmarks.attacks.figures import Figure, at_least, at_most, told
from benchmarks.attacks.peers import FakeSwitch
from benchmarks.attacks.rogue_peers import PAIRS
from benchmarks.attacks.stage import Stage, stage
from benchmarks.attacks.watch import Watch, load, pings
from controller.testing_messages import KINDS, broken, sample

INPUTS = Path(__file__).parents[2] / "tests" / "unit" / "controller" / "hostile" / "inputs.toml"
_FIRST_DPID = 0xBAD0000
_HANDSHAKE_S = 5.0
_TAKEN_S = 0.05


def row(framework: str) -> Iterator[Figure]:
    """All inputs, and every length of a sample of each kind of message broken in every way."""
    with stage(framework, declared=True) as made:
        made.acquaint("h2", "h6", "h3")
        yield from attack(made, [*published(), *invented()], [*frames()])


def published() -> Iterator[tuple[str, bytes]]:
    """Messages of the corpus, by name."""
    for name, kind, data in _inputs():
        if kind == "message":
            yield name, data


def frames() -> Iterator[tuple[str, bytes]]:
    """Frames of the corpus, by name: what a host sends, and a switch carries up."""
    for name, kind, data in _inputs():
        if kind == "frame":
            yield name, data


def _inputs() -> Iterator[tuple[str, str, bytes]]:
    for given in tomllib.loads(INPUTS.read_text())["input"]:
        yield given["name"], given["kind"], bytes.fromhex("".join(given["bytes"].split()))


def invented(seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """One sample of each kind, with each of its lengths broken."""
    random = Random(seed)  # noqa: S311 - a repeatable choice, no secret
    for kind in KINDS:
        for what, data in broken(sample(kind, random)):
            yield f"{kind}: {what}", data


def attack(
    made: Stage, messages: list[tuple[str, bytes]], hosts_frames: list[tuple[str, bytes]], name: str = "published"
) -> Iterator[Figure]:
    """Throw each message at the daemon twice, each frame from a host, and look at the real switches."""
    pid, before = made.daemon.pid, load(made.daemon.pid)
    unfinished = 0
    with Watch(made) as watch:
        with pings(made, *PAIRS) as result:
            for number, (_, data) in enumerate(messages):
                unfinished += throw(made, number, data)
            with made.tap("h4", 0x88B5) as tap:
                tap.send(*(frame.ljust(60, b"\0") for _, frame in hosts_frames))
                time.sleep(1.0)
        counted = watch.counted()
    after = load(pid)
    ours = {made.name(node.id) for node in made.fabric.switches}
    down = sum(
        event.kind == "switch-down" and any(f" {switch} " in event.message for switch in ours)
        for event in made.client.events()
    )
    yield told(name, "messages thrown, before and after a handshake", len(messages), f"and {len(hosts_frames)} frames")
    yield at_most(name, "real switches disconnected", down + len(watch.down_switches), 0)
    yield at_most(name, "links lost or invented", len(watch.missing_links | watch.invented_links), 0)
    yield at_most(name, "pings lost", result[1], 0, f"of {result[0]}")
    yield at_most(name, "handshakes that did not end", unfinished, 0)
    yield at_least(name, "counted", counted.total(), 1, str(dict(counted)))
    yield told(name, "switches in the API afterwards", len(made.client.switches()), f"{len(ours)} are real")
    yield told(name, "memory gained, MB", (after.rss_bytes - before.rss_bytes) / 1e6)
    yield told(name, "API answer, worst, s", watch.api_worst_s, f"{len(watch.api_s)} answers, {watch.unanswered} none")


def throw(made: Stage, number: int, data: bytes) -> bool:
    """Send a message ahead of HELLO, then after a handshake; whether that handshake did not end."""
    # Each from an address of its own: who breaks the rules may have to wait before being heard again.
    source = f"127.9.{number // 250 % 250}.{1 + number % 250}"
    early = FakeSwitch(made.openflow, _FIRST_DPID + number, source, before=data)
    early.closed.wait(_TAKEN_S)
    early.close()
    late = FakeSwitch(made.openflow, _FIRST_DPID + number, f"127.8.{number // 250 % 250}.{1 + number % 250}")
    up = late.up.wait(_HANDSHAKE_S)
    late.send(data)
    late.closed.wait(_TAKEN_S)
    late.close()
    return not up
