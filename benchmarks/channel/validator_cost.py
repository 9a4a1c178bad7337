"""What the channel costs: packets a second through it, beside the framework's own without a check."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

from benchmarks.channel import messages as of
from benchmarks.channel.fleet import FakeSwitch, Fleet
from benchmarks.channel.lines import Run
from benchmarks.channel.throughput_child import BARE, HEDDLE
from mininet_scenarios.daemon import free_address
from topologies.errors import HeddleError

LEAST_RATIO = 0.85
_SWITCHES, _PORTS, _IN_FLIGHT = 4, 8, 8
"""Packets in flight of one port: fewer than any fair queue sheds."""
_START_S = 30.0
_STALLED_S = 5.0


class _Pump:
    """Keeps packets in flight on one switch: a packet that comes back is sent again."""

    def __init__(self, switch: FakeSwitch) -> None:
        self._switch = switch
        self.returned = 0
        self.running = False
        self._packets = [of.packet_in(port, _frame(port)) for port in switch.ports]
        switch.answer = self._answer

    def start(self) -> None:
        self.running = True
        self._switch.send(b"".join(self._packets) * _IN_FLIGHT)

    def _answer(self, kind: int, _xid: int, whole: bytes) -> bool:
        if kind != of.PACKET_OUT:
            return False
        self.returned += 1
        if self.running:
            # The frame says from which port it was sent; it is always the last two bytes.
            (number,) = struct.unpack_from("!H", whole, len(whole) - 2)
            self._switch.send(self._packets[number])
        return True


def _frame(port: int) -> bytes:
    return of.arp_request(0x0A000001, 0x0A000002)[:-2] + struct.pack("!H", port - 1)


@asynccontextmanager
async def _child(kind: str, framework: str) -> AsyncIterator[tuple[str, int]]:
    address = free_address()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-B", "-m", "benchmarks.channel.throughput_child", kind, str(address[1]),
        env=os.environ | {"HEDDLE_FRAMEWORK": framework},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        if process.stdout is None:
            raise HeddleError("the controller of the benchmark has no output to read")
        async with asyncio.timeout(_START_S):
            if b"listening" not in await process.stdout.readline():
                raise HeddleError(f"the controller of the benchmark ({kind}, {framework}) did not start; see above")
        yield address
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _connected(address: tuple[str, int]) -> tuple[Fleet, list[_Pump]]:
    """Switches at a controller that asks for nothing after the handshake."""
    fleet = Fleet(address)
    deadline_s = time.perf_counter() + _START_S
    while True:
        try:
            switches = [await fleet.connect(dpid, range(1, _PORTS + 1)) for dpid in range(1, _SWITCHES + 1)]
            break
        except ConnectionRefusedError:
            # The framework says nothing once it listens.
            if time.perf_counter() > deadline_s:
                raise
            await asyncio.sleep(0.1)
    async with asyncio.timeout(_START_S):
        await asyncio.gather(*(switch.described.wait() for switch in switches))
    return fleet, [_Pump(switch) for switch in switches]


async def _rate(pumps: list[_Pump], seconds: float) -> float:
    """Packets a second that came back."""
    for pump in pumps:
        pump.start()
    # The first packets find an idle controller; what counts is the steady state.
    await asyncio.sleep(seconds / 5)
    returned, begun_s = sum(pump.returned for pump in pumps), time.perf_counter()
    await asyncio.sleep(seconds)
    passed_s = time.perf_counter() - begun_s
    rate = (sum(pump.returned for pump in pumps) - returned) / passed_s
    await _drain(pumps)
    return rate


async def _drain(pumps: list[_Pump]) -> None:
    for pump in pumps:
        pump.running = False
    before, since_s = -1, time.perf_counter()
    while (now := sum(pump.returned for pump in pumps)) != before and time.perf_counter() - since_s < _STALLED_S:
        before = now
        await asyncio.sleep(0.1)


async def measure(run: Run) -> None:
    """Both controllers run at once and are driven in turn; medians are compared."""
    repeats, seconds = (2, 0.5) if run.quick else (9, 2.0)
    rates: dict[str, list[float]] = {HEDDLE: [], BARE: []}
    async with _child(HEDDLE, run.framework) as ours, _child(BARE, run.framework) as theirs:
        (our_fleet, our_pumps), (their_fleet, their_pumps) = await _connected(ours), await _connected(theirs)
        async with our_fleet, their_fleet:
            for number in range(repeats):
                turns = [(HEDDLE, our_pumps), (BARE, their_pumps)]
                for kind, pumps in turns if number % 2 else reversed(turns):
                    rates[kind].append(await _rate(pumps, seconds))
            lost = sum(switch.is_over for fleet in (our_fleet, their_fleet) for switch in fleet.switches)
    ours_pps, bare_pps = median(rates[HEDDLE]), median(rates[BARE])
    run.told("Heddle's channel", ours_pps, "packets/s", _range(rates[HEDDLE]))
    run.told("the framework's own", bare_pps, "packets/s", _range(rates[BARE]))
    run.at_least("ratio", ours_pps / bare_pps if bare_pps else 0.0, "×", LEAST_RATIO, f"medians of {repeats}")
    run.at_most("switches lost", lost, "switches", 0)


def _range(rates: list[float]) -> str:
    return f"{min(rates):,.0f} to {max(rates):,.0f}"
