"""Many switches connect at once."""

from __future__ import annotations

import asyncio
import time

from benchmarks.channel.fleet import Fleet
from benchmarks.channel.lines import Run
from benchmarks.channel.subject import Subject, daemon_under_test

LIMIT_S, THREADS = 5.0, 2
_SWITCHES, _FEW = 256, 8
_PORTS = (1, 2, 3, 4)
_GIVE_UP_S = 60.0
_POLL_S = 0.05


async def measure(run: Run) -> None:
    """From the first connection to the last switch that is connected, by the daemon's events and by its API."""
    dpids = range(1, (_FEW if run.quick else _SWITCHES) + 1)
    async with daemon_under_test(run.framework) as subject, Fleet(subject.openflow) as fleet:
        # What the API's first answer needs is there before anything is counted.
        await subject.connected()
        before = subject.vitals()
        begun_s, begun_wall_s = time.perf_counter(), time.time()
        await asyncio.gather(*(fleet.connect(dpid, _PORTS) for dpid in dpids))
        shown_s = await _until_shown(subject, set(dpids), begun_s)
        after = subject.vitals()
        events = await subject.wait_for_events("switch-up", dpids, 0, 1.0)
        up_s = (
            max(event.at_s for event in events.values()) - begun_wall_s if len(events) == len(dpids) else float("inf")
        )
        run.at_most("last one connected", up_s, "s", LIMIT_S, f"{len(dpids)} switches of {len(_PORTS)} ports")
        run.at_most("all shown by the API", shown_s, "s", LIMIT_S)
        run.at_most(
            "threads more or less", abs(after.threads - before.threads), "threads", THREADS, f"{before.threads} before"
        )
        grown = (after.rss_bytes - before.rss_bytes) / 2**20
        run.told("memory grown", grown, "MiB", f"{grown * 1024 / len(dpids):.0f} KiB a switch")
        run.at_most("lost", sum(switch.is_over for switch in fleet.switches), "switches", 0)


async def _until_shown(subject: Subject, dpids: set[int], begun_s: float) -> float:
    while not dpids <= await subject.connected():
        if time.perf_counter() - begun_s > _GIVE_UP_S:
            return float("inf")
        await asyncio.sleep(_POLL_S)
    return time.perf_counter() - begun_s
