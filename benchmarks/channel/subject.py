"""The daemon under test: a process of its own, seen from outside alone: /proc, its API and its metrics."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.api_models import EventInfo, LinkInfo
from mininet_scenarios.daemon import Daemon, free_address
from topologies.errors import HeddleError

START_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a process holds, by /proc."""

    threads: int
    descriptors: int
    rss_bytes: int


def vitals_of(pid: int) -> Vitals:
    """Read a process's threads, open descriptors and resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()

    def field(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
        if found is None:
            raise HeddleError(f"/proc/{pid}/status has no {name}; is the process still there?")
        return int(found[1])

    return Vitals(field("Threads"), len(os.listdir(f"/proc/{pid}/fd")), field("VmRSS") * 1024)  # noqa: PTH208 - counted


class Subject:
    """A running daemon.

    Attributes
    ----------
    openflow : (str, int)
        Where it listens for switches.
    """

    def __init__(self, daemon: Daemon, openflow: tuple[str, int]) -> None:
        self._daemon = daemon
        self.openflow = openflow

    def vitals(self) -> Vitals:
        return vitals_of(self._daemon.pid)

    async def events(self, after: int = 0) -> tuple[EventInfo, ...]:
        """What happened, by the daemon's own clock, which is this machine's."""
        return await asyncio.to_thread(self._daemon.client.events, after)

    async def last_event(self) -> int:
        """Id of the newest event."""
        return max((event.id for event in await self.events()), default=0)

    async def connected(self) -> set[int]:
        """Dpids that the API shows as connected."""
        switches = await asyncio.to_thread(self._daemon.client.switches)
        return {int(switch.dpid, 16) for switch in switches if switch.connected}

    async def links(self) -> tuple[LinkInfo, ...]:
        """The links that the API shows."""
        return await asyncio.to_thread(self._daemon.client.links)

    async def wait_for_events(
        self, kind: str, dpids: Collection[int], after: int, timeout_s: float
    ) -> dict[int, EventInfo]:
        """The first event of a kind for each of these switches; without those that did not come in time."""
        names = {f"switch s-{dpid:016x} ": dpid for dpid in dpids}
        deadline_s = time.perf_counter() + timeout_s
        found: dict[int, EventInfo] = {}
        while len(found) < len(names) and time.perf_counter() < deadline_s:
            for event in await self.events(after):
                after = max(after, event.id)
                name = next((name for name in names if event.message.startswith(name)), None)
                if event.kind == kind and name is not None:
                    found.setdefault(names[name], event)
            await asyncio.sleep(_POLL_S)
        return found

    async def dropped(self) -> list[str]:
        """Why connected switches were closed by the daemon; those that closed by themselves are left out."""
        reasons = [event.message for event in await self.events() if event.kind == "switch-down"]
        return [reason for reason in reasons if not reason.endswith("the switch closed the connection")]

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self._daemon.log.read_text(errors="replace").splitlines()[-20:])


@asynccontextmanager
async def daemon_under_test(framework: str) -> AsyncIterator[Subject]:
    """A daemon with a state of its own and nothing declared, until the block is left.

    Raises
    ------
    HeddleError
        It does not start.
    """
    openflow = free_address()
    with tempfile.TemporaryDirectory(prefix="heddle-channel-") as directory:
        environment = os.environ | {"HEDDLE_FRAMEWORK": framework}
        with Daemon(Path(directory), None, openflow, environment=environment) as daemon:
            subject = Subject(daemon, openflow)
            if not await until(daemon.client.health, START_S):
                raise HeddleError(
                    f"the daemon does not answer within {START_S:g} s; its log says: {subject.last_words()}"
                )
            yield subject


async def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether a condition comes true in time; asked in a thread of its own, since it may wait."""
    deadline_s = time.perf_counter() + timeout_s
    while not await asyncio.to_thread(condition):
        if time.perf_counter() >= deadline_s:
            return False
        await asyncio.sleep(_POLL_S)
    return True
