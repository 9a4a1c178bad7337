"""A switch that stops reading while the daemon has much to send it: the others do not wait for it."""

from __future__ import annotations

import asyncio
import itertools
import time

from benchmarks.channel import messages as of
from benchmarks.channel.apart import Apart, Cue
from benchmarks.channel.fleet import ASKING, TARGETS, FakeSwitch, Fleet, GoodSwitches, first_of
from benchmarks.channel.lines import Run
from benchmarks.channel.subject import daemon_under_test

MARGIN_S = 0.01
_SECOND, _FIRST_DPID = 67, 0x57C0
_QUESTIONS_HZ, _BURST = 1000.0, 10
_RATE_HZ = 50.0


async def stick(cue: Cue, controller: tuple[str, int], seconds: float) -> list[float]:
    """Ask and never read, again and again; how long each was kept, in seconds."""
    kept_s: list[float] = []
    async with Fleet(controller, _SECOND) as fleet:
        await cue.ready()
        ends_s = time.perf_counter() + seconds
        for dpid in itertools.count(_FIRST_DPID):
            switch = await fleet.connect(dpid, (ASKING, TARGETS), small_buffer=True)
            kept_s.append(await _stick(switch, ends_s))
            if time.perf_counter() >= ends_s:
                return kept_s
    raise AssertionError


async def _stick(switch: FakeSwitch, ends_s: float) -> float:
    host = 0x0B000000 + (switch.dpid & 0xFF) * 256
    switch.hosts = {host: ASKING, host + 1: TARGETS}
    await first_of(switch.up, switch.over)
    # Its port has to be known as one with hosts before its questions are answered.
    while not switch.arp_s and not switch.is_over and time.perf_counter() < ends_s:
        switch.packet_in(TARGETS, of.arp_request(host + 1, host + 1))
        switch.ask_arp(ASKING, host, host + 1)
        await asyncio.sleep(0.2)
    switch.stop_reading()
    begun_s = time.perf_counter()
    question = of.packet_in(ASKING, of.arp_request(host, host + 1)) * _BURST
    while not switch.is_over and time.perf_counter() < ends_s:
        # An ended connection is seen in writing alone, since nobody reads.
        switch.send(question)
        await asyncio.sleep(_BURST / _QUESTIONS_HZ)
    return time.perf_counter() - begun_s


async def measure(run: Run) -> None:
    """Compare ARP round trips of good switches without and with a stuck one."""
    seconds = 3.0 if run.quick else 25.0
    async with daemon_under_test(run.framework) as subject, Fleet(subject.openflow) as fleet:
        good = GoodSwitches(fleet)
        await good.come()
        async with Apart(stick, subject.openflow, seconds) as stuck:
            await good.ask(_RATE_HZ, seconds / 2)
            run.arps("quiet", await good.answers())
            stuck.cue()
            await good.ask(_RATE_HZ, seconds)
            kept_s = await stuck.result()
        run.arps("beside a stuck reader", await good.answers(), run.p99_s("ARP, quiet") + MARGIN_S)
        run.at_most("good switches lost", good.lost(), "switches", 0)
        kept = ", ".join(f"{each:.1f} s" for each in kept_s)
        run.told("stuck readers", len(kept_s), "switches", f"kept for {kept} at {_QUESTIONS_HZ:g} questions/s")
        reasons = await subject.dropped()
        run.told("stuck readers dropped", len(reasons), "switches", reasons[0] if reasons else "")
