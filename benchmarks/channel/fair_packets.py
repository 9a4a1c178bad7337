"""One switch sends packets as fast as it can: the others' are answered as before."""

from __future__ import annotations

import asyncio
import time

from benchmarks.channel import messages as of
from benchmarks.channel.apart import Apart, Cue
from benchmarks.channel.fleet import ASKING, TARGETS, FakeSwitch, Fleet, GoodSwitches, first_of
from benchmarks.channel.lines import Run
from benchmarks.channel.subject import daemon_under_test

LIMIT_S = 0.05
_SECOND, _DPID = 69, 0xF100D
_RATE_HZ = 50.0
_HOST = 0x0C000001
_KNOWN_S = 5.0
_CHUNK = 64


def _frames() -> dict[str, bytes]:
    return {
        "ARP": of.arp_request(_HOST, _HOST + 1),
        "LLDP": of.foreign_lldp(),
        "UDP": of.datagram(),
    }


async def flood(cue: Cue, controller: tuple[str, int], seconds: float) -> dict[str, int]:
    """Flood with each kind of frame in turn, at a cue each; how many packets were written, by kind."""
    async with Fleet(controller, _SECOND) as fleet:
        switch = await fleet.connect(_DPID, (ASKING, TARGETS))
        await _become_known(switch)
        sent = {}
        for number, (name, frame) in enumerate(_frames().items()):
            await (cue.given() if number else cue.ready())
            sent[name] = await _flood(switch, of.packet_in(ASKING, frame), seconds)
        return sent


async def _become_known(switch: FakeSwitch) -> None:
    switch.hosts = {_HOST: ASKING, _HOST + 1: TARGETS}
    await first_of(switch.up, switch.over)
    ends_s = time.perf_counter() + _KNOWN_S
    while not switch.arp_s and time.perf_counter() < ends_s:
        switch.packet_in(TARGETS, of.arp_request(_HOST + 1, _HOST + 1))
        switch.ask_arp(ASKING, _HOST, _HOST + 1)
        await asyncio.sleep(0.2)


async def _flood(switch: FakeSwitch, packet: bytes, seconds: float) -> int:
    sent, chunk = 0, packet * _CHUNK
    ends_s = time.perf_counter() + seconds
    while time.perf_counter() < ends_s and not switch.is_over:
        switch.send(chunk)
        sent += _CHUNK
        # As fast as the daemon reads, and no faster: a busy loop here would be felt as a slow daemon.
        if not await first_of(switch.writable, switch.over, timeout_s=ends_s - time.perf_counter()):
            break
        await asyncio.sleep(0)
    return sent


async def measure(run: Run) -> None:
    """Compare the others' ARP and echoes without and with a flood."""
    seconds = 1.0 if run.quick else 5.0
    async with daemon_under_test(run.framework) as subject, Fleet(subject.openflow) as fleet:
        good = GoodSwitches(fleet)
        await good.come()
        async with Apart(flood, subject.openflow, seconds) as flooder:
            await good.ask(_RATE_HZ, seconds)
            answers = await good.answers()
            run.arps("quiet", answers)
            run.echoes("quiet", answers)
            for name in _frames():
                flooder.cue()
                await good.ask(_RATE_HZ, seconds)
                answers = await good.answers()
                run.arps(f"beside a flood of {name}", answers, LIMIT_S)
                run.echoes(f"beside a flood of {name}", answers, LIMIT_S)
                # The flood is over by now but for what the daemon has still to read of it.
                await asyncio.sleep(1.0)
            for name, sent in (await flooder.result()).items():
                run.told(f"flood of {name}", sent / seconds, "packets/s")
        run.at_most("good switches lost", good.lost(), "switches", 0)
        reasons = await subject.dropped()
        run.told("flooder dropped", len(reasons), "times", reasons[0] if reasons else "")
