"""Only the control channel of a switch is lost: it goes on by its rules, and nobody changes any."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.dataplane.cases import Case, Setting, exactly, true
from benchmarks.dataplane.probes import Udp
from benchmarks.dataplane.stage import PAIRS, Stage, stage, wait_until
from benchmarks.dataplane.switchrules import FlowWatch, held_by_all

ROW = "channel"
_LOST_S, _QUICK_LOST_S = 20.0, 8.0
_WARM_S, _AFTER_S = 1.0, 3.0
_PATIENCE_S = 30.0


def row(setting: Setting) -> Iterator[Case]:
    """The leaf where a planned pair enters, and the switches of the two tiers above on its way, one after another."""
    lost_s = _QUICK_LOST_S if setting.quick else _LOST_S
    with stage(setting.framework) as made:
        way = made.hops(*PAIRS[0])
        for switch in (way[0].node, way[1].node, way[2].node):
            yield from _lost(made, switch, lost_s)


def _lost(made: Stage, switch: str, lost_s: float) -> Iterator[Case]:
    switches = [node.id for node in made.fabric.switches]
    with ExitStack() as running:
        watch = running.enter_context(FlowWatch(made.cluster, switches))
        flows = [running.enter_context(Udp(made.cluster, *ends)) for pair in PAIRS for ends in (pair, pair[::-1])]
        time.sleep(_WARM_S)
        before, after, begun_s = held_by_all(made.cluster, switches), made.last_event(), time.time()
        made.cluster.switch.cut_channel(switch, cut=True)
        try:
            made.await_event(after, lambda event: event.kind == "switch-down", f"{switch} is gone", _PATIENCE_S)
            time.sleep(lost_s)
            meanwhile = [event.kind for event in made.client.events(after)]
        finally:
            made.cluster.switch.cut_channel(switch, cut=False)
        made.await_event(after, lambda event: event.kind == "switch-up", f"{switch} is back", _PATIENCE_S)
        wait_until(made.whole, f"{switch} is back", _PATIENCE_S)
        time.sleep(_AFTER_S)
        changed = watch.since(begun_s)
        there = held_by_all(made.cluster, switches)
    case = f"the channel of {switch} is lost for {lost_s:.0f} s"
    losses = [udp.loss() for udp in flows]
    yield exactly(ROW, f"{case}: flows changed, those sent again included", len(changed), 0, "", _first(changed))
    same = all(there[name].content == before[name].content for name in switches)
    older = all(there[name].group_ages_s[group] > age_s for name in switches
                for group, age_s in before[name].group_ages_s.items() if group in there[name].group_ages_s)  # fmt: skip
    yield true(ROW, f"{case}: groups and meters", holds=same and older, wanted="as before",
               measured="as before" if same and older else "changed")  # fmt: skip
    yield true(ROW, f"{case}: the switch counts as dead", holds="switch-dead" not in meanwhile, wanted="no",
               measured="yes" if "switch-dead" in meanwhile else "no")  # fmt: skip
    yield exactly(ROW, f"{case}: packets lost", sum(loss.lost for loss in losses), 0, "",
                  f"of {sum(loss.sent for loss in losses)}")  # fmt: skip


def _first(changed: list) -> str:
    return "; ".join(f"{change.switch} {change.event} {change.flow[:60]}" for change in changed[:4])
