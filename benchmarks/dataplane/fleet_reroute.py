"""A fleet of fake switches under all-to-all: the busiest cable fails, and all its pairs get other paths."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from benchmarks.channel import messages as of
from benchmarks.dataplane.cases import Case, Setting, at_most, exactly, told
from benchmarks.dataplane.fleet_rows import REDIAL_S, running_daemon, until
from benchmarks.fleet.decoding import decode_flow
from benchmarks.fleet.fleet import Fleet
from controller.api_models import PathInfo
from controller.client import Client, JobState
from dataplane.rules import PushLabel, Table
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree
from workloads.job import Algorithm, Collective, Job

ROW = "fleet-reroute"
_CAPACITY_BPS = 100e9
_K, _QUICK_K = 8, 4
_RANKS = 16
_REROUTED_S = 0.25
_ACTIVE_S = 300.0
_MOVED_S = 60.0
_FAILURES, _QUICK_FAILURES = 5, 2
_TABLE_AT, _CONFIRMED = 24, (of.BARRIER_REPLY, of.EXPERIMENTER)


@dataclass(frozen=True, slots=True)
class Rerouted:
    """What one failure came to, in seconds since its port status.

    Attributes
    ----------
    pairs : int
        Planned pairs whose path led over the cable.
    first_s, flipped_s, barrier_s : float
        The first change of any rule, the first one of an ingress, and the answer to the last ingress's barrier.
    switches, changes : int
        Switches with changed rules until then, and how many.
    """

    link: LinkId
    pairs: int
    first_s: float
    flipped_s: float
    barrier_s: float
    switches: int
    changes: int


def row(setting: Setting) -> Iterator[Case]:
    """From the port status to the barrier of the last ingress, for one failure after the other."""
    fabric = fat_tree(_QUICK_K if setting.quick else _K, capacity_bps=_CAPACITY_BPS, delay_s=1e-6)
    found = asyncio.run(_measure(fabric, setting))
    size = f"{len(fabric.switches)} switches, {len(fabric.hosts)} hosts"
    worst = max(found, key=lambda one: one.barrier_s)
    times = sorted(one.barrier_s for one in found)
    phases = (
        f"{worst.pairs} pairs off {worst.link}, first rule after {1e3 * worst.first_s:.0f} ms, first ingress after "
        f"{1e3 * worst.flipped_s:.0f} ms; {worst.changes} changes on {worst.switches} switches"
    )
    case = f"{size}: until the ingress barrier, worst of {len(found)}"
    yield at_most(ROW, case, worst.barrier_s, _REROUTED_S, "s", phases)
    yield told(ROW, "the median", f"{1e3 * times[len(times) // 2]:.0f} ms")
    yield exactly(ROW, "failures after which no pair had to move", sum(one.pairs == 0 for one in found), 0)


async def _measure(fabric: Fabric, setting: Setting) -> list[Rerouted]:
    ranks = _RANKS if not setting.quick else 4
    hosts = [host.id for host in fabric.hosts]
    count = len(hosts) // ranks
    jobs = [
        Job(f"job{number}", tuple(hosts[number::count]), 1 << 30, Collective.ALL_TO_ALL, Algorithm.PAIRWISE)
        for number in range(count)
    ]
    async with (
        running_daemon(fabric, setting.framework) as (daemon, openflow),
        Fleet(fabric, openflow, redial_s=REDIAL_S) as fleet,
    ):
        await fleet.connect()
        await asyncio.to_thread(daemon.wait_ready)
        await until(lambda: daemon.client.ready().ready, "the daemon is ready")
        for job in jobs:
            await asyncio.to_thread(daemon.client.submit_job, job)
        found: list[Rerouted] = []
        for _ in range(_QUICK_FAILURES if setting.quick else _FAILURES):
            await _at_rest(daemon.client, jobs)
            found.append(await _fail_busiest(fleet, daemon.client, {one.link for one in found}))
            fleet.repair(found[-1].link)
            await until(lambda: found[-1].link in daemon.client.fabric().link_by_id, "the cable is back")
        return found


async def _at_rest(client: Client, jobs: list[Job]) -> None:
    """Wait until all jobs have their rules, and nothing better is being looked for."""
    for job in jobs:
        await asyncio.to_thread(client.wait_job, job.name, JobState.ACTIVE, _ACTIVE_S)

    def is_best() -> bool:
        plan = client.plan()
        return plan is not None and plan.engine != "mending"

    await until(is_best, "the best plan is found")
    for job in jobs:
        await asyncio.to_thread(client.wait_job, job.name, JobState.ACTIVE, _ACTIVE_S)


async def _fail_busiest(fleet: Fleet, client: Client, former: AbstractSet[LinkId]) -> Rerouted:
    """Let the cable fail that carries most pairs, is no host's and did not fail before, and see them leave it."""
    plan = await asyncio.to_thread(client.plan)
    paths = [path for path in plan.paths if path.rate_bps > 0] if plan is not None else []
    between = {link.id for link in fleet.fabric.links if {link.source, link.target} <= fleet.datapaths.keys()}
    between -= former
    users: Counter[LinkId] = Counter(link for path in paths for link in _links(path) if link in between)
    [(link, _)] = users.most_common(1)
    cable = {link, fleet.fabric.link_by_id[link].reverse_id}
    moving = [path for path in paths if not cable.isdisjoint(_links(path))]
    begun_s = time.perf_counter()
    fleet.fail(link)
    async with asyncio.timeout(_MOVED_S):
        # Looked at in the loop where the tables change, and not too often: the daemon needs the processor.
        while not _have_moved(fleet, moving):
            await asyncio.sleep(0.05)
    return _rerouted(fleet, link, moving, begun_s)


def _links(path: PathInfo) -> list[LinkId]:
    return [LinkId.parse(link) for link in path.links]


def _have_moved(fleet: Fleet, paths: list[PathInfo]) -> bool:
    """Whether the ingress of each pair puts another label on its packets."""
    address = {host.id: host.ip for host in fleet.fabric.hosts}
    former: dict[str, dict[tuple[str | None, str | None], int]] = {}
    for path in paths:
        former.setdefault(_links(path)[1].node, {})[address[path.source], address[path.target]] = path.label
    for name, labels in former.items():
        for entry in fleet.datapaths[name].tables.flows.values():
            if entry.table == Table.CLASSIFY:
                flow = decode_flow(entry)
                label = labels.get((flow.match.ipv4_src, flow.match.ipv4_dst))
                if label is not None and PushLabel(label) in flow.actions:
                    return False
    return True


def _rerouted(fleet: Fleet, link: LinkId, moving: list[PathInfo], begun_s: float) -> Rerouted:
    ingresses = {fleet.datapaths[_links(path)[1].node].dpid for path in moving}
    entries = list(fleet.since(begun_s))
    flips = [entry for entry in entries if entry.kind == of.FLOW_MOD and entry.message[_TABLE_AT] == Table.CLASSIFY]
    flips = [entry for entry in flips if entry.dpid in ingresses]
    barriers = [
        next((one.at_s for one in entries if one.dpid == dpid and one.kind in _CONFIRMED and one.at_s >= last), last)
        for dpid, last in {entry.dpid: entry.at_s for entry in flips}.items()
    ]
    end_s = max(barriers)
    changes = [entry for entry in entries if entry.kind == of.FLOW_MOD and entry.at_s <= end_s]
    return Rerouted(
        link,
        len(moving),
        changes[0].at_s - begun_s,
        flips[0].at_s - begun_s,
        end_s - begun_s,
        len({entry.dpid for entry in changes}),
        len(changes),
    )
