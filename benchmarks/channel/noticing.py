"""How soon a switch that is gone is known to be gone: after its FIN, and when it only falls silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from benchmarks.channel.fleet import FakeSwitch, Fleet, GoodSwitches
from benchmarks.channel.lines import Run
from benchmarks.channel.subject import Subject, daemon_under_test

FIN_S, SILENT_S = 0.1, 3.0
_GIVE_UP_S = 40.0
_FIRST_DPID = 0xF100
_APART_S = 0.137
"""Between one switch's end and the next one's: no multiple of what the daemon does at a steady pace."""


async def measure_fin(run: Run) -> None:
    """From the moment before a switch closes its connection to the time stamp of the daemon's event."""
    async with daemon_under_test(run.framework) as subject, Fleet(subject.openflow) as fleet:
        noticed_s = await _noticed(subject, fleet, 4 if run.quick else 20, FakeSwitch.close)
        run.at_most(
            "noticed after FIN, slowest", max(noticed_s) * 1e3, "ms", FIN_S * 1e3, _spread(noticed_s, 1e3, "ms")
        )


async def measure_silent(run: Run) -> None:
    """From the moment that a switch stops answering, or reading, to the time stamp of the daemon's event."""
    count = 2 if run.quick else 12
    async with daemon_under_test(run.framework) as subject, Fleet(subject.openflow) as fleet:
        good = GoodSwitches(fleet)
        await good.come()
        for what, fall_silent in (("answers nothing", _stop_answering), ("reads nothing", FakeSwitch.stop_reading)):
            noticed_s = await _noticed(subject, fleet, count, fall_silent)
            run.at_most(f"{what}, noticed after", max(noticed_s), "s", SILENT_S, _spread(noticed_s, 1, "s"))
        run.at_most("good switches lost", good.lost(), "switches", 0)


def _stop_answering(switch: FakeSwitch) -> None:
    switch.silent = True


async def _noticed(subject: Subject, fleet: Fleet, count: int, end: Callable[[FakeSwitch], None]) -> list[float]:
    """Seconds until the daemon's ``switch-down``, for each of some switches that end one after another."""
    dpids = range(_FIRST_DPID, _FIRST_DPID + count)
    after = await subject.last_event()
    switches = await fleet.connect_all(dpids)
    await subject.wait_for_events("switch-up", dpids, after, _GIVE_UP_S)
    # Long enough after the handshake that nothing of it is still to be answered.
    await asyncio.sleep(2.0)
    ended_wall_s = {}
    for switch in switches:
        ended_wall_s[switch.dpid] = time.time()
        end(switch)
        await asyncio.sleep(_APART_S)
    events = await subject.wait_for_events("switch-down", dpids, after, _GIVE_UP_S)
    for switch in switches:
        fleet.leave(switch)
    return [
        events[dpid].at_s - ended_s if dpid in events else float("inf") for dpid, ended_s in ended_wall_s.items()
    ]  # fmt: skip


def _spread(noticed_s: Sequence[float], scale: float, unit: str) -> str:
    middle = sorted(noticed_s)[len(noticed_s) // 2]
    return f"median {middle * scale:.3g} {unit}, {len(noticed_s)} switches"
