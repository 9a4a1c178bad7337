"""A peer that is another switch each time: what it leaves behind costs the others nothing."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from benchmarks.channel.apart import Apart, Cue
from benchmarks.channel.fleet import FakeSwitch, Fleet, GoodSwitches, first_of
from benchmarks.channel.lines import Run
from benchmarks.channel.subject import daemon_under_test

LIMIT_S, GROWTH_BYTES = 0.05, 10 << 20
_SECOND, _FIRST_DPID = 70, 0x100000
_MANY, _FEW, _AT_A_TIME = 2_000, 50, 5
_PORTS = range(1, 9)
_RATE_HZ = 50.0


async def come_and_go(cue: Cue, controller: tuple[str, int], first: int, count: int) -> int:
    """Connect with one dpid after another, a few at a time, and close each as soon as it is up; how many came up."""
    came_up = 0
    await cue.ready()
    async with Fleet(controller, _SECOND) as fleet:
        dpids = iter(range(first, first + count))

        async def work() -> None:
            nonlocal came_up
            for dpid in dpids:
                switch = FakeSwitch(dpid, _PORTS)
                await fleet.join(switch)
                await first_of(switch.up, switch.over)
                came_up += switch.up.is_set()
                fleet.leave(switch)

        await asyncio.gather(*(work() for _ in range(_AT_A_TIME)))
    return came_up


async def measure(run: Run) -> None:
    """Compare good switches' round trips, and the daemon's memory, before such a peer and after it."""
    count, seconds = (_FEW, 1.0) if run.quick else (_MANY, 5.0)
    async with daemon_under_test(run.framework) as subject, Fleet(subject.openflow) as fleet:
        good = GoodSwitches(fleet)
        await good.come()
        await good.ask(_RATE_HZ, seconds)
        run.arps("quiet", await good.answers())
        held_bytes, came_up = [subject.vitals().rss_bytes], 0
        for number in range(2):
            async with Apart(come_and_go, subject.openflow, _FIRST_DPID + number * count, count) as rogue:
                rogue.cue()
                came_up += await rogue.result()
            # What the daemon has still to do for those that are gone is felt by nobody afterwards.
            await asyncio.sleep(2.0)
            held_bytes.append(subject.vitals().rss_bytes)
        await good.ask(_RATE_HZ, seconds)
        answers = await good.answers()
        run.arps("afterwards", answers, LIMIT_S)
        run.echoes("afterwards", answers, LIMIT_S)
        run.at_most("good switches lost", good.lost(), "switches", 0)
        first, again = ((after - before) / 2**20 for before, after in pairwise(held_bytes))
        run.told("memory grown at first", first, "MiB", f"{came_up} of {2 * count} dpids came up in all")
        # What is remembered of those that were here has a bound.
        run.at_most("memory grown by as many again", again, "MiB", GROWTH_BYTES / 2**20)
