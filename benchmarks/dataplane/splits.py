"""Fractional splits and rate caps on real switches: bytes on each link beside what the plan says of it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dataplane import flows_in_host
from benchmarks.dataplane.cases import Case, Setting, at_most, told, true
from controller.api_models import PathInfo
from controller.client import Client, JobState
from dataplane.splits import TOLERANCE
from mininet_scenarios.cluster import Cluster
from mininet_scenarios.daemon import Daemon, free_address
from mininet_scenarios.reachability import await_reachable
from topologies.errors import HeddleError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from workloads.job import Job

ROW, CAPS_ROW = "splits", "caps"
ROCE_PORT, TCP_PORT = 4791, 5201
FIRST_PORT = 49_152
_LINE_BPS, _SENT_BPS, _CAP_BPS = 10e6, 4e6, 2.5e6
_FRAME_BYTES = flows_in_host.PAYLOAD_BYTES + 42
_SECONDS, _QUICK_SECONDS = 10.0, 4.0
_SETTLE_S = 0.5
_PATIENCE_S = 60.0
_PAIR = ("h1", "h2")
_IN_TURN = "TCP by a hash"
_UPLINKS_BPS = {1: (2.5e6, 7.5e6), 4: (2.5e6, 7.5e6), 64: (3.7e6, 6.3e6)}
"""By the number of flows: what the two ways between the hosts carry, neither of them all that a host can send."""
_MANY, _MANY_UPLINKS_BPS, _MANY_BYTES = 4000, (5e6, 5e6), 1000
"""So many that a hash holds the shares: TCP takes a select group."""


@dataclass(frozen=True)
class _Stage:
    cluster: Cluster
    client: Client

    def paths(self) -> list[PathInfo]:
        """Those of the pair, the widest first."""
        plan = self.client.plan()
        found = [path for path in (plan.paths if plan is not None else ()) if (path.source, path.target) == _PAIR]
        return sorted(found, key=lambda path: -path.share)

    def submit(self, flows: int, cap_bps: float | None = None) -> None:
        """Have the pair planned in place of what was."""
        for job in self.client.jobs():
            self.client.delete_job(job.name)
            self.client.wait_gone(job.name, _PATIENCE_S)
        name = f"flows-{flows}" + ("-capped" if cap_bps else "")
        self.client.submit_job(Job(name, _PAIR, 1 << 20, flows_per_pair=flows, rate_cap_bps=cap_bps))
        self.client.wait_job(name, JobState.ACTIVE, _PATIENCE_S)

    def sent_bytes(self) -> dict[LinkId, int]:
        """What left the first switch by each of its links to the next, since the start."""
        sent = self.cluster.counters().sent_bytes
        return {link: count for link, count in sent.items() if link.node == "l1" and link.port > 1}


def row(setting: Setting) -> Iterator[Case]:
    """One, 4 and 64 flows, UDP to RoCEv2's port and TCP."""
    seconds = _QUICK_SECONDS if setting.quick else _SECONDS
    for flows, uplinks_bps in _UPLINKS_BPS.items():
        with _stage(setting.framework, uplinks_bps) as made:
            made.submit(flows)
            yield from _shares(made, flows)
            for kind in ("UDP 4791", "TCP"):
                yield from _measured(made, kind, flows, seconds)
            if flows > 1:
                yield _by_chance(made, flows, seconds)
    with _stage(setting.framework, _MANY_UPLINKS_BPS) as made:
        made.submit(_MANY)
        yield from _shares(made, _MANY)
        yield from _measured(made, _IN_TURN, _MANY, seconds)


def caps_row(setting: Setting) -> Iterator[Case]:
    """UDP above a cap, and the same without one."""
    seconds = _QUICK_SECONDS if setting.quick else _SECONDS
    with _stage(setting.framework, (7.5e6, 7.5e6)) as made:
        for cap_bps in (None, _CAP_BPS):
            made.submit(4, cap_bps)
            before, begun_s = made.sent_bytes(), time.monotonic()
            _run(made.cluster, "UDP 4791", 4, seconds, FIRST_PORT)
            lasted_s = time.monotonic() - begun_s
            rate_bps = sum(count - before[link] for link, count in made.sent_bytes().items()) * 8 / lasted_s
            what = f"{_SENT_BPS / 1e6:g} Mbit/s of UDP"
            if cap_bps is None:
                yield told(CAPS_ROW, f"{what}, no cap", f"{rate_bps / 1e6:.2f} Mbit/s")
            else:
                # What the bucket holds at first comes on top.
                limit = 1.1 * cap_bps / 1e6
                yield at_most(CAPS_ROW, f"{what}, a cap of {cap_bps / 1e6:g}", rate_bps / 1e6, limit, "Mbit/s")
                used = f"{rate_bps / cap_bps:.0%} of the cap"
                yield true(CAPS_ROW, "the cap is used", holds=rate_bps > 0.8 * cap_bps, wanted="≥ 80 %", measured=used)


def _shares(made: _Stage, flows: int) -> Iterator[Case]:
    paths, plan = made.paths(), made.client.plan()
    reason = plan.reason if plan is not None else ""
    said = " : ".join(f"{100 * path.share:.1f}" for path in paths)
    if flows == 1:
        refused = len(paths) == 1 and "declare one flow" in reason
        yield true(
            ROW, "1 flow is not split", holds=refused, wanted="refused and said", measured=reason.split("; ")[-1]
        )
    else:
        wanted = "two paths"
        yield true(ROW, f"{flows} flows are split", holds=len(paths) == 2, wanted=wanted, measured=f"{said} %")


def _measured(made: _Stage, kind: str, flows: int, seconds: float) -> Iterator[Case]:
    parts = _parts(made, kind, flows, seconds, FIRST_PORT)
    for path in made.paths():
        link = LinkId.parse(path.links[1])
        off = abs(parts[link] - path.share) / path.share
        note = f"{100 * parts[link]:.2f} % of the bytes on {link}, planned {100 * path.share:.2f} %"
        yield at_most(ROW, f"{kind}, {flows} flows, off the plan", 100 * off, 100 * TOLERANCE, "%", note)


def _by_chance(made: _Stage, flows: int, seconds: float) -> Case:
    """Ports that the kernel draws hold no shares; this is told, not promised."""
    parts = _parts(made, "TCP", flows, seconds, 0)
    said = " : ".join(f"{100 * parts[LinkId.parse(path.links[1])]:.1f}" for path in made.paths())
    return told(ROW, f"TCP, {flows} flows, ports left to the kernel", f"{said} %")


def _parts(made: _Stage, kind: str, flows: int, seconds: float, first_port: int) -> dict[LinkId, float]:
    """The part of the bytes that went into each link."""
    before = made.sent_bytes()
    _run(made.cluster, kind, flows, seconds, first_port)
    time.sleep(_SETTLE_S)
    counted = {link: count - before[link] for link, count in made.sent_bytes().items()}
    return {link: count / sum(counted.values()) for link, count in counted.items()}


def _run(cluster: Cluster, kind: str, flows: int, seconds: float, first_port: int) -> None:
    """Equal flows from one host to the other, at a steady rate."""
    address = cluster.fabric.node_by_id[_PAIR[1]].ip or ""
    take: tuple[str, ...]
    give: tuple[str, ...]
    frames = max(1, round(_SENT_BPS * seconds / 8 / _FRAME_BYTES / flows))
    if kind == _IN_TURN:
        take = ("tcp-take-in-turn", str(TCP_PORT), str(flows))
        give = ("tcp-give-in-turn", address, str(TCP_PORT), str(flows), str(_MANY_BYTES))
    elif kind == "TCP":
        take = ("tcp-take", str(TCP_PORT), str(flows))
        give = ("tcp-give", address, str(TCP_PORT), str(first_port), str(flows),
                str(frames * flows_in_host.PAYLOAD_BYTES), str(_SENT_BPS))  # fmt: skip
    else:
        take = ("udp-take", str(ROCE_PORT))
        per_second = _SENT_BPS / 8 / _FRAME_BYTES
        give = ("udp-give", address, str(ROCE_PORT), str(first_port), str(flows), str(frames), str(per_second))
    program = (sys.executable, "-B", flows_in_host.__file__)
    taker = cluster.start_in(
        _PAIR[1], *program, *take, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        if taker.stdout is None or taker.stdout.readline() != b"ready\n":
            raise HeddleError(f"'{take[0]}' in {_PAIR[1]} does not listen")
        giver = cluster.start_in(_PAIR[0], *program, *give, start_new_session=True)
        if giver.wait(seconds + _PATIENCE_S):
            raise HeddleError(f"'{give[0]}' in {_PAIR[0]} failed")
    finally:
        taker.kill()
        taker.communicate()


def two_ways(uplinks_bps: tuple[float, float]) -> Fabric:
    """Two hosts on two leaves, and two spines between these."""
    nodes = [Node(f"l{leaf}", NodeKind.SWITCH, tier=1, dpid=leaf) for leaf in (1, 2)]
    nodes += [Node(f"s{spine}", NodeKind.SWITCH, tier=2, dpid=16 + spine) for spine in (1, 2)]
    nodes += [
        Node(host, NodeKind.HOST, tier=0, ip=f"10.0.{number}.1", mac=f"02:00:00:00:{number:02x}:01")
        for number, host in enumerate(_PAIR, 1)
    ]
    cables = [(host, 1, f"l{leaf}", 1, _LINE_BPS) for leaf, host in enumerate(_PAIR, 1)]
    cables += [
        (f"l{leaf}", 1 + spine, f"s{spine}", leaf, uplinks_bps[spine - 1]) for leaf in (1, 2) for spine in (1, 2)
    ]
    links = []
    for one, one_port, other, other_port, capacity_bps in cables:
        links.append(Link(one, one_port, other, other_port, capacity_bps, 1e-5))
        links.append(Link(other, other_port, one, one_port, capacity_bps, 1e-5))
    return Fabric(tuple(nodes), tuple(links))


@contextmanager
def _stage(framework: str, uplinks_bps: tuple[float, float]) -> Iterator[_Stage]:
    fabric, openflow = two_ways(uplinks_bps), free_address()
    with Cluster(fabric, openflow) as cluster, tempfile.TemporaryDirectory() as directory:
        environment = cluster.run.environment | {"HEDDLE_FRAMEWORK": framework}
        with Daemon(Path(directory), fabric, openflow, environment=environment) as daemon:
            daemon.wait_ready()
            await_reachable(cluster, _PAIR)
            yield _Stage(cluster, daemon.client)
