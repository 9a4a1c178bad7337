"""Links that fail on planned paths: without the controller, with it, and silently."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.dataplane import bare_group
from benchmarks.dataplane.cases import Case, Setting, at_most, told
from benchmarks.dataplane.outages import Outage, control_told, fail_and_repair, judged, losses
from benchmarks.dataplane.probes import Udp, both_ways
from benchmarks.dataplane.stage import PAIRS, Stage, median, stage, wait_until
from benchmarks.dataplane.switchrules import FlowWatch
from dataplane.rules import Table
from mininet_scenarios.machine import CpuTime
from topologies.fabric import LinkId

_FAILURES, _QUICK_FAILURES = 20, 8
_QUIET_S = 0.2

_MOVED_S = 0.5
_SILENCES, _QUICK_SILENCES = 8, 4
_PATIENCE_S = 30.0
_FLOWS_ON = 200


def failover(setting: Setting) -> Iterator[Case]:
    """Failures and repairs while no controller runs."""
    row = "failover"
    each = (_QUICK_FAILURES if setting.quick else _FAILURES) // len(PAIRS)
    with stage(setting.framework, control=True) as made:
        ways = {(one, other): made.hops(one, other) for pair in PAIRS for one, other in (pair, pair[::-1])}
        made.daemon.kill()
        cpu = CpuTime.now()
        outages: list[Outage] = []
        control: list[Outage] = []
        for turn, pair in enumerate(PAIRS):
            control += _control(made, each)
            with both_ways(made.cluster, pair) as running:
                for number in range(each):
                    udp = running[number % 2]
                    link, end = _place(made, ways[udp.source, udp.target], number // 2, turn)
                    cable = {link, made.other_end(link)}
                    crossing = [udp for udp in running if not cable.isdisjoint(ways[udp.source, udp.target])]
                    outages.append(fail_and_repair(made.cluster, end, crossing, running))
        yield from control_told(row, losses(control))
        yield from judged(row, "controller stopped", losses(outages), losses(control))
        yield told(row, "controller stopped: which ends failed", ", ".join(str(outage.end) for outage in outages))
        yield told(row, "processors idle", f"{CpuTime.now().idle_share_since(cpu):.0%}")


def replan(setting: Setting) -> Iterator[Case]:
    """The same while the controller runs: it moves what crossed the link to the best of the paths that are left."""
    row = "replan"
    each = (_QUICK_FAILURES if setting.quick else _FAILURES) // len(PAIRS)
    with stage(setting.framework, control=True) as made, _watch(made) as watch:
        outages: list[Outage] = []
        control: list[Outage] = []
        took_s: list[float] = []
        for turn, pair in enumerate(PAIRS):
            control += _control(made, each)
            with both_ways(made.cluster, pair) as running:
                for number in range(each):
                    link, end = _place(made, _way(made, running[number % 2]), number // 2, turn)
                    crossing = [udp for udp in running if _crosses(made, _way(made, udp), link)]
                    after = made.last_event()

                    def moved(link: LinkId = link, after: int = after) -> None:
                        status = made.await_event(after, lambda event: event.kind == "port-down", f"{link} is down")
                        took_s.append(_moved_s(made, watch, link, status.at_s) - status.at_s)

                    outages.append(fail_and_repair(made.cluster, end, crossing, running, moved))
                    made.wait_whole()
        most_s = max(took_s)
        note = f"{len(took_s)} failures, median {median(took_s):.3f} s"
        yield at_most(row, "from the port status to the last flip, worst", most_s, _MOVED_S, "s", note)
        yield from control_told(row, losses(control))
        yield from judged(row, "controller running", losses(outages), losses(control))


def silent(setting: Setting) -> Iterator[Case]:
    """Links that stay up and drop everything, both ways."""
    row = "silent"
    each = (_QUICK_SILENCES if setting.quick else _SILENCES) // len(PAIRS)
    with stage(setting.framework) as made, _watch(made) as watch:
        took_s: list[float] = []
        noticed_s: list[float] = []
        for turn, pair in enumerate(PAIRS):
            with both_ways(made.cluster, pair) as running:
                for number in range(each):
                    link, _ = _place(made, _way(made, running[number % 2]), number // 2 + turn, 0)
                    crossing = [udp for udp in running if _crosses(made, _way(made, udp), link)]
                    after, begun_s = made.last_event(), time.time()
                    made.silence(link, silent=True)
                    try:
                        report = made.await_event(after, lambda event: event.kind == "link-silent", f"{link} is silent")
                        noticed_s.append(report.at_s - begun_s)
                        took_s.append(_moved_s(made, watch, link, report.at_s) - report.at_s)
                        for udp in crossing:
                            udp.await_packets(_FLOWS_ON)
                    finally:
                        made.silence(link, silent=False)
                    made.wait_whole()
        yield at_most(row, "from the report to the last flip, worst", max(took_s), _MOVED_S, "s",
                      f"{len(took_s)} failures, median {median(took_s):.3f} s")  # fmt: skip
        said = f"median {median(noticed_s):.2f} s, worst {max(noticed_s):.2f} s"
        yield told(row, "from the failure to the report", said)


def _watch(made: Stage) -> FlowWatch:
    """Of the switches where planned pairs enter the fabric."""
    hosts = (host for pair in PAIRS for host in pair)
    return FlowWatch(made.cluster, sorted({made.fabric.access_link(host).target for host in hosts}))


def _way(made: Stage, udp: Udp) -> tuple[LinkId, ...]:
    return made.hops(udp.source, udp.target)


def _crosses(made: Stage, way: tuple[LinkId, ...], link: LinkId) -> bool:
    return link in way or made.other_end(link) in way


def _moved_s(made: Stage, watch: FlowWatch, link: LinkId, since_s: float) -> float:
    """Wait until no plan crosses a cable and all jobs have their rules; Unix time at which the last pair moved."""

    def is_off() -> bool:
        ways = (made.hops(*ends) for pair in PAIRS for ends in (pair, pair[::-1]))
        return not any(_crosses(made, way, link) for way in ways)

    wait_until(is_off, f"all paths leave {link}", _PATIENCE_S)
    made.wait_active()
    time.sleep(_QUIET_S)
    flips = [change.at_s for change in watch.since(since_s) if change.table == Table.CLASSIFY]
    return max(flips, default=float("inf"))


def _place(made: Stage, way: tuple[LinkId, ...], number: int, turn: int) -> tuple[LinkId, LinkId]:
    """A link of a way, all in turn, and the end of its cable that goes down, both in turn."""
    link = way[number % len(way)]
    near = (number + number // len(way) + turn) % 2 == 0
    return link, link if near else made.other_end(link)


def _control(made: Stage, count: int) -> list[Outage]:
    with both_ways(made.cluster, bare_group.HOSTS) as running:
        ends = bare_group.USED
        return [fail_and_repair(made.cluster, ends[number % 2], running, running) for number in range(count)]
