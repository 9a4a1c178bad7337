"""A fleet of fake switches at one daemon as users run it: how soon a large fabric is provisioned."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.channel import messages as of
from benchmarks.dataplane.cases import Case, Setting, at_most, exactly, told
from benchmarks.fleet.fleet import Fleet
from dataplane.compiler import DefaultRouting, compile_rules
from mininet_scenarios.daemon import Daemon, free_address
from topologies.errors import HeddleError
from topologies.fabric import Fabric
from topologies.fat_tree import fat_tree

START = "fleet-start"
_CAPACITY_BPS = 100e9
_START_K, _QUICK_START_K = 14, 4
_START_S = 5.0
_PATIENCE_S = 120.0
_POLL_S = 0.1
REDIAL_S = 1.0
"""As Open vSwitch does at first."""


@dataclass(frozen=True, slots=True)
class Started:
    """When each phase of a start was over, in seconds since the first switch dialled.

    Attributes
    ----------
    connected_s, discovered_s, planned_s, installed_s : float
        The last switch was asked for its rules; the daemon knew all of the fabric; the first rule of routing was in
        force, and the last one.
    daemon_cpu_s, fleet_cpu_s : float
        Processor time that the daemon and its planner took meanwhile, and the fleet.
    flows, wrong, redialled : int
        Flow entries in all; switches whose rules are not what the compiler makes for the declared fabric, or hold what
        no rule of ours is; connections that were lost and opened again.
    """

    connected_s: float
    discovered_s: float
    planned_s: float
    installed_s: float
    daemon_cpu_s: float
    fleet_cpu_s: float
    flows: int
    wrong: int
    redialled: int


def start_row(setting: Setting) -> Iterator[Case]:
    """From the first connection until every switch has its default routing."""
    fabric = fat_tree(_QUICK_START_K if setting.quick else _START_K, capacity_bps=_CAPACITY_BPS)
    size = f"{len(fabric.switches)} switches, {len(fabric.hosts)} hosts"
    started = asyncio.run(_start(fabric, setting.framework))
    phases = (
        f"connected {started.connected_s:.2f} s, discovered {started.discovered_s:.2f} s, "
        f"first rules {started.planned_s:.2f} s"
    )
    yield at_most(START, f"{size}: until provisioned", started.installed_s, _START_S, "s", phases)
    yield exactly(START, "switches whose rules are not the compiler's", started.wrong, 0, "", f"{started.flows} flows")
    yield told(START, "connections lost and opened again", str(started.redialled))
    cpu = f"daemon and planner {started.daemon_cpu_s:.1f} s, fleet {started.fleet_cpu_s:.1f} s"
    yield told(START, "processor time meanwhile", cpu)


async def _start(fabric: Fabric, framework: str) -> Started:
    async with (
        running_daemon(fabric, framework) as (daemon, openflow),
        Fleet(fabric, openflow, redial_s=REDIAL_S) as fleet,
    ):
        cpu_s = _cpu_s(daemon.pid), time.process_time()
        begun_s, begun_unix_s = time.perf_counter(), time.time()
        await fleet.connect()
        await _connected(fleet)
        connected_s = time.perf_counter() - begun_s
        await until(lambda: daemon.client.ready().ready, "the daemon is ready")
        cpu_s = _cpu_s(daemon.pid) - cpu_s[0], time.process_time() - cpu_s[1]
        [settled] = [event for event in daemon.client.events() if event.kind == "settled"]
        discovered_s = settled.at_s - begun_unix_s
        changes = [entry.at_s - begun_s for entry in fleet.journal if entry.kind == of.FLOW_MOD]
        wanted = compile_rules(fabric, default=DefaultRouting.ECMP)
        have, foreign = fleet.rules(), fleet.foreign()
        return Started(
            connected_s,
            discovered_s,
            min((at_s for at_s in changes if at_s >= discovered_s), default=float("inf")),
            max(changes),
            *cpu_s,
            sum(len(rules.flows) for rules in have.values()),
            sum(have[name] != rules or name in foreign for name, rules in wanted.items()),
            len(fleet.redialled),
        )


async def _connected(fleet: Fleet) -> None:
    """Wait until every switch has been asked for its rules."""
    async with asyncio.timeout(_PATIENCE_S):
        for name in fleet.datapaths:
            while not fleet.connection(name).up.is_set():
                await asyncio.sleep(_POLL_S / 10)


def _cpu_s(pid: int) -> float:
    """Processor time of a process and its children so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own_s + sum(_cpu_s(int(child)) for child in children)


@asynccontextmanager
async def running_daemon(fabric: Fabric, framework: str) -> AsyncIterator[tuple[Daemon, tuple[str, int]]]:
    """A daemon that is told of a fabric and listens, as a user runs it."""
    openflow = free_address()
    with tempfile.TemporaryDirectory(prefix="heddle-fleet-") as directory:
        environment = os.environ | {"HEDDLE_FRAMEWORK": framework}
        with Daemon(Path(directory), fabric, openflow, environment=environment) as daemon:
            await until(lambda: _listens(openflow), "the daemon listens for switches")
            yield daemon, openflow


def _listens(address: tuple[str, int]) -> bool:
    try:
        # From another address, or it may connect to itself and take the port from the daemon.
        socket.create_connection(address, source_address=("127.2.0.1", 0)).close()
    except OSError:
        return False
    return True


async def until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again, beside the loop in which the switches live.

    Raises
    ------
    HeddleError
        It takes too long.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while not await asyncio.to_thread(condition):
        if time.monotonic() >= deadline_s:
            raise HeddleError(f"not within {_PATIENCE_S:g} s: {what}")
        await asyncio.sleep(_POLL_S)
