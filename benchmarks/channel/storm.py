"""A storm of peers that are no switches: silent ones, slow ones, and many that come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress

from benchmarks.channel import messages as of
from benchmarks.channel.apart import Apart, Cue
from benchmarks.channel.fleet import Fleet, GoodSwitches, dial, sources
from benchmarks.channel.lines import Run
from benchmarks.channel.subject import Subject, Vitals, daemon_under_test

ECHO_S, AFTERWARDS_S = 0.05, 10.0
_SECOND = 68
_SILENT, _SLOW, _PER_S = 200, 20, 100
_ECHOES_HZ = 100.0


class _Peer(asyncio.Protocol):
    """A socket that only knows when it is over."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection promises
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self.over.set()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


async def rage(cue: Cue, controller: tuple[str, int], seconds: float) -> int:
    """All of it at once for a while; how many connections there were."""
    addresses, opened = sources(_SECOND), 0

    async def open_one() -> _Peer:
        nonlocal opened
        peer = _Peer()
        await dial(lambda: peer, controller, next(addresses))
        opened += 1
        return peer

    async def silent() -> None:
        while True:
            peer = await open_one()
            try:
                await peer.over.wait()
            finally:
                peer.close()

    async def slow() -> None:
        while True:
            peer = await open_one()
            try:
                for byte in _handshake():
                    if peer.over.is_set() or peer.transport is None:
                        break
                    peer.transport.write(byte)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(peer.over.wait(), 1.0)
                await peer.over.wait()
            finally:
                peer.close()

    async def come_and_go() -> None:
        due_s = time.perf_counter()
        while True:
            (await open_one()).close()
            due_s += 1 / _PER_S
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))

    await cue.ready()
    everything = [silent() for _ in range(_SILENT)] + [slow() for _ in range(_SLOW)] + [come_and_go()]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for each in everything:
                group.create_task(each)
    return opened


def _handshake() -> Iterator[bytes]:
    for byte in of.hello() + of.features_reply(0x51, 1):
        yield bytes((byte,))


async def measure(run: Run) -> None:
    """Good switches measure their echoes in the storm, and the daemon's holdings are compared after it."""
    seconds = 3.0 if run.quick else 30.0
    async with daemon_under_test(run.framework) as subject, Fleet(subject.openflow) as fleet:
        good = GoodSwitches(fleet)
        await good.come()
        await good.ask(_ECHOES_HZ, seconds / 6, arp=False)
        run.echoes("quiet", await good.answers())
        before = subject.vitals()
        async with Apart(rage, subject.openflow, seconds) as storm:
            storm.cue()
            await good.ask(_ECHOES_HZ, seconds, arp=False)
            during = subject.vitals()
            opened = await storm.result()
        run.echoes("in the storm", await good.answers(), ECHO_S)
        run.at_most("good switches lost", good.lost(), "switches", 0)
        back_s, after = await _back(subject, before)
        run.at_most(
            "threads and descriptors back after", back_s, "s", AFTERWARDS_S,
            f"{before.threads} and {before.descriptors} before, {during.threads} and {during.descriptors} then, "
            f"{after.threads} and {after.descriptors} after; {opened} connections",
        )  # fmt: skip
        run.told("memory grown", (after.rss_bytes - before.rss_bytes) / 2**20, "MiB")


async def _back(subject: Subject, before: Vitals) -> tuple[float, Vitals]:
    """When no more threads and descriptors are left than there were."""
    begun_s = time.perf_counter()
    while True:
        now = subject.vitals()
        passed_s = time.perf_counter() - begun_s
        if now.threads <= before.threads and now.descriptors <= before.descriptors:
            return passed_s, now
        if passed_s > 2 * AFTERWARDS_S:
            return float("inf"), now
        await asyncio.sleep(0.05)
