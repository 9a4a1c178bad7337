"""A switch dies while its neighbours' ports stay up, and comes back empty; traffic goes round it.

Besides the planned pairs, some that default routing carries are watched: their rules lead to the dead switch, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.dataplane.cases import Case, Setting, at_most, exactly, told
from benchmarks.dataplane.probes import Udp
from benchmarks.dataplane.stage import PAIRS, Stage, stage, wait_until
from benchmarks.dataplane.switchrules import Held, held
from mininet_scenarios.machine import CpuTime

ROW = "death"
ROUND_S, PROVISIONED_S = 2.0, 1.0
_UNPLANNED = (("h2", "h6"), ("h4", "h8"), ("h6", "h2"), ("h8", "h4"))
_UNPLANNED_PER_S = 50.0
_WARM_S, _AFTER_S, _QUIET_S = 1.0, 1.0, 3.0
_FLOWS_ON = 50
_PATIENCE_S = 30.0


def row(setting: Setting) -> Iterator[Case]:
    """The first switch of each of the two middle tiers on the way of a planned pair."""
    with stage(setting.framework) as made:
        for hop in (0,) if setting.quick else (0, 1):
            yield from _death(made, made.fabric.link_by_id[made.hops(*PAIRS[0])[hop]].target)


def _death(made: Stage, switch: str) -> Iterator[Case]:
    cpu = CpuTime.now()
    with ExitStack() as running:
        flows = [running.enter_context(Udp(made.cluster, *pair)) for pair in (PAIRS[0], PAIRS[0][::-1])]
        flows += [running.enter_context(Udp(made.cluster, *pair, _UNPLANNED_PER_S)) for pair in _UNPLANNED]
        time.sleep(_WARM_S)
        after, before = made.last_event(), [udp.sent for udp in flows]
        died_s = time.time()
        made.cluster.switch.delete_bridge(switch)
        dead = made.await_event(after, lambda event: event.kind == "switch-dead", f"{switch} is dead", _PATIENCE_S)
        wait_until(lambda: not _is_planned(made, switch), f"all paths leave {switch}", _PATIENCE_S)
        made.wait_active()
        time.sleep(_AFTER_S)
        for udp in flows:
            udp.await_packets(_FLOWS_ON)
        middle, after = [udp.sent for udp in flows], made.last_event()
        made.cluster.switch.add_bridges([made.bridge(switch)])
        back = made.await_event(after, lambda event: event.kind == "switch-up", f"{switch} is back", _PATIENCE_S)
        made.wait_whole()
        holds, read_s = _settled(made, switch)
        end = [udp.sent for udp in flows]
        time.sleep(_AFTER_S)
    outages = [
        gap for udp, first, last in zip(flows, before, middle, strict=True) for gap in udp.loss(first, last).gaps
    ]
    latest_s = max((gap.until_s for gap in outages), default=died_s)
    returning = [udp.loss(first, last) for udp, first, last in zip(flows, middle, end, strict=True)]
    yield at_most(ROW, f"{switch} dies: from its end to the last packet lost", latest_s - died_s, ROUND_S, "s")
    yield told(ROW, f"{switch} dies: from its end to the report", f"{dead.at_s - died_s:.2f} s")
    last_s = read_s - _youngest_s(holds)
    yield at_most(ROW, f"{switch} returns: from the connection to its last rule", last_s - back.at_s,
                  PROVISIONED_S, "s", f"{len(holds.flows)} flows, {len(holds.groups)} groups")  # fmt: skip
    yield told(ROW, f"{switch}: processors idle", f"{CpuTime.now().idle_share_since(cpu):.0%}")
    yield exactly(ROW, f"{switch} returns: packets lost", sum(loss.lost for loss in returning), 0)


def _settled(made: Stage, switch: str) -> tuple[Held, float]:
    """What a switch holds once nothing has come for a while, and the Unix time of reading it."""
    read: list[tuple[Held, float]] = []

    def is_settled() -> bool:
        read.append((held(made.cluster, switch), time.time()))
        return bool(read[-1][0].groups) and _youngest_s(read[-1][0]) >= _QUIET_S

    wait_until(is_settled, f"no rules come to {switch} any more", _PATIENCE_S)
    return read[-1]


def _youngest_s(holds: Held) -> float:
    return min((*holds.flows.values(), *holds.group_ages_s.values()))


def _is_planned(made: Stage, switch: str) -> bool:
    ways = (made.hops(*ends) for pair in PAIRS for ends in (pair, pair[::-1]))
    return any(switch in (link.node, made.fabric.link_by_id[link].target) for way in ways for link in way)
