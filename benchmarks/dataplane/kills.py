"""``kill -9`` of the daemon at random moments of an update, while numbered packets and a TCP stream run."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.dataplane.cases import Case, Setting, exactly, told
from benchmarks.dataplane.probes import Tcp, Udp
from benchmarks.dataplane.stage import CAPACITY_BPS, PAIRS, Stage, median, stage
from benchmarks.dataplane.switchrules import Held, flows_held, held, held_by_all
from benchmarks.dataplane.tampering import label_forwarded_on, label_pushed
from benchmarks.dataplane.updates import ask_to_move
from controller.client import DaemonUnreachable
from topologies.fabric import LinkId

ROW = "kills"
_KILLS, _QUICK_KILLS = 20, 4
_SEED = 1
_WITHIN_S = 1.6
"""From the request to the end of the draining of old labels, on a fabric that does nothing else."""
_WARM_S = 2.0
_AFTER_S = 1.0
_TCP_SHARE = 0.5
_WHOLE_S = 60.0
_LOOK_S = 0.5
_GROUP_ID = re.compile(r"group_id=(\d+)")


@dataclass(frozen=True, slots=True)
class _Path:
    label: int
    links: tuple[LinkId, ...]


@dataclass
class _Found:
    """What the kills came to."""

    phases: Counter[str] = field(default_factory=Counter)
    completed: int = 0
    undone: int = 0
    sent_again: int = 0
    whole_s: list[float] = field(default_factory=list)


def row(setting: Setting) -> Iterator[Case]:
    """The kills, each after the daemon is whole again."""
    kills = _QUICK_KILLS if setting.quick else _KILLS
    moments = random.Random(_SEED)  # noqa: S311 - moments, not secrets
    found = _Found()
    with (
        stage(setting.framework) as made,
        Udp(made.cluster, *PAIRS[0]) as udp,
        Tcp(made.cluster, *PAIRS[1], _TCP_SHARE * CAPACITY_BPS) as tcp,
    ):
        time.sleep(_WARM_S)
        for _ in range(kills):
            _kill_once(made, moments.uniform(0.0, _WITHIN_S), found)
        time.sleep(_AFTER_S)
    loss = udp.loss()
    yield exactly(ROW, f"{kills} kills: UDP packets lost", loss.lost, 0, "", f"of {loss.sent}")
    yield exactly(ROW, f"{kills} kills: UDP packets duplicated", loss.twice, 0, "", f"{loss.late} came late")
    yield exactly(ROW, f"{kills} kills: TCP segments lost", tcp.lost, 0, "", str(tcp))
    yield exactly(
        ROW, "updates completed or undone whole", found.completed + found.undone, kills, "",
        f"{found.completed} completed, {found.undone} undone",
    )  # fmt: skip
    yield exactly(ROW, "rules sent again that were right", found.sent_again, 0)
    phases = ", ".join(f"{count} {phase}" for phase, count in sorted(found.phases.items()))
    yield told(ROW, "switches at the moment of the kill", phases)
    yield told(
        ROW, "from the restart until all rules are as planned",
        f"{median(found.whole_s):.1f} s, worst {max(found.whole_s):.1f} s",
    )  # fmt: skip


def _kill_once(made: Stage, after_s: float, found: _Found) -> None:
    """Begin an update, kill the daemon, start it again, and see what has become of the rules."""
    old = _paths(made)
    names = [node.id for node in made.fabric.switches]
    mover = threading.Thread(target=_ask, args=(made,))
    mover.start()
    time.sleep(after_s)
    made.daemon.kill()
    mover.join()
    at_kill = held_by_all(made.cluster, names)
    read_s = time.time()
    found.phases[_phase(at_kill, old)] += 1
    begun_s = time.monotonic()
    made.daemon.start()
    made.daemon.wait_ready()
    made.wait_whole()
    _await_whole(made)
    found.whole_s.append(time.monotonic() - begun_s)
    now = _paths(made)
    found.completed += now != old
    found.undone += now == old
    for name in names:
        since_s = time.time() - read_s
        found.sent_again += _sent_again(at_kill[name], held(made.cluster, name), since_s)


def _ask(made: Stage) -> None:
    # The daemon may be gone before it answers, or before it is asked.
    with contextlib.suppress(DaemonUnreachable):
        ask_to_move(made)


def _paths(made: Stage) -> frozenset[_Path]:
    plan = made.client.plan()
    return frozenset(
        _Path(path.label, tuple(map(LinkId.parse, path.links))) for path in (plan.paths if plan is not None else ())
    )


def _await_whole(made: Stage) -> None:
    deadline_s = time.monotonic() + _WHOLE_S
    while not _is_whole(made):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the switches have other rules than planned, {_WHOLE_S:g} s after a restart")
        # A switch that is asked for all its rules without a break has no time for its controller.
        time.sleep(_LOOK_S)


def _is_whole(made: Stage) -> bool:
    """Whether switches have the rules of the plan's labels, and of no other's."""
    there = {node.id: flows_held(made.cluster, node.id) for node in made.fabric.switches}
    pushed: set[tuple[str, int]] = set()
    forwarded: set[tuple[str, int]] = set()
    for path in _paths(made):
        pushed.add((path.links[1].node, path.label))
        forwarded |= {(link.node, path.label) for link in path.links[1:]}
    return (
        {(switch, label) for switch, each in there.items() for label in _pushed(each)},
        {(switch, label) for switch, each in there.items() for label in _matched(each)},
    ) == (pushed, forwarded)


def _matched(flows: Iterable[str]) -> Iterator[int]:
    """Labels of planned paths that a switch forwards on."""
    return (label for flow in flows if (label := label_forwarded_on(flow)) is not None)


def _pushed(flows: Iterable[str]) -> Iterator[int]:
    """Labels that a switch puts on packets from hosts."""
    return (label for flow in flows if (label := label_pushed(flow)) is not None)


def _phase(there: Mapping[str, Held], old: frozenset[_Path]) -> str:
    """How far the update had come."""
    before = {path.label for path in old}
    pushed = {label for each in there.values() for label in _pushed(each.flows)}
    known = {label for each in there.values() for label in _matched(each.flows)}
    if known <= before:
        return "before the first new rule"
    if pushed <= before:
        return "before the first pair moved"
    if pushed & before:
        return "between two pairs"
    return "before the old rules went" if known & before else "after the update"


def _sent_again(before: Held, after: Held, since_s: float) -> int:
    """Flows and groups that are there, were there, and have come anew in so many seconds."""
    flows = sum(age_s < since_s for flow, age_s in after.flows.items() if flow in before.flows)
    ids = {int(found[1]) for group in after.groups & before.groups if (found := _GROUP_ID.search(group)) is not None}
    return flows + sum(age_s < since_s for group, age_s in after.group_ages_s.items() if group in ids)
