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
from benchmarks.dataplane.switchrules import held

ROW = "death"
ROUND_S, PROVISIONED_S = 2.0, 1.0
_UNPLANNED = (("h2", "h6"), ("h4", "h8"), ("h6", "h2"), ("h8", "h4"))
_UNPLANNED_PER_S = 100.0
_WARM_S, _AFTER_S, _QUIET_S = 1.0, 1.0, 3.0
_FLOWS_ON = 100
_PATIENCE_S = 30.0


def row(setting: Setting) -> Iterator[Case]:
    """The first switch of each of the two middle tiers on the way of a planned pair."""
    with stage(setting.framework) as made:
        for hop in (0,) if setting.quick else (0, 1):
            yield from _death(made, made.fabric.link_by_id[made.hops(*PAIRS[0])[hop]].target)


def _death(made: Stage, switch: str) -> Iterator[Case]:
    with ExitStack() as running:
        pairs = [(pair, 1000.0) for one in PAIRS for pair in (one, one[::-1])]
        pairs += [(pair, _UNPLANNED_PER_S) for pair in _UNPLANNED]
        flows = [running.enter_context(Udp(made.cluster, *pair, rate)) for pair, rate in pairs]
        time.sleep(_WARM_S)
        after, before = made.last_event(), [udp.sent for udp in flows]
        died_s = time.time()
        made.cluster.switch.delete_bridge(switch)
        dead = made.await_event(after, lambda event: event.kind == "switch-dead", f"{switch} is dead", _PATIENCE_S)
        wait_until(lambda: not _is_planned(made, switch), f"all paths leave {switch}", _PATIENCE_S)
        made.wait_active()
        time.sleep(_AFTER_S)
        for udp in flows:
            udp.await_packets(int(_FLOWS_ON))
        middle, after = [udp.sent for udp in flows], made.last_event()
        made.cluster.switch.add_bridges([made.bridge(switch)])
        back = made.await_event(after, lambda event: event.kind == "switch-up", f"{switch} is back", _PATIENCE_S)
        made.wait_whole()
        time.sleep(_QUIET_S)
        now_s, holds = time.time(), held(made.cluster, switch)
        end = [udp.sent for udp in flows]
        time.sleep(_AFTER_S)
    outages = [
        gap for udp, first, last in zip(flows, before, middle, strict=True) for gap in udp.loss(first, last).gaps
    ]
    latest_s = max((gap.until_s for gap in outages), default=died_s)
    returning = [udp.loss(first, last) for udp, first, last in zip(flows, middle, end, strict=True)]
    youngest_s = min((*holds.flows.values(), *holds.group_ages_s.values()))
    yield at_most(ROW, f"{switch} dies: from its end to the last packet lost", latest_s - died_s, ROUND_S, "s")
    yield told(ROW, f"{switch} dies: from its end to the report", f"{dead.at_s - died_s:.2f} s")
    yield at_most(ROW, f"{switch} returns: from the connection to its last rule", now_s - youngest_s - back.at_s,
                  PROVISIONED_S, "s", f"{len(holds.flows)} flows, {len(holds.groups)} groups")  # fmt: skip
    yield exactly(ROW, f"{switch} returns: packets lost", sum(loss.lost for loss in returning), 0)


def _is_planned(made: Stage, switch: str) -> bool:
    ways = (made.hops(*ends) for pair in PAIRS for ends in (pair, pair[::-1]))
    return any(switch in (link.node, made.fabric.link_by_id[link].target) for way in ways for link in way)
