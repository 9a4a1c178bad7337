"""Somebody changes the rules of a switch with ``ovs-ofctl``: how long until they are right again, and what is said."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.dataplane.cases import Case, Setting, at_most, exactly, true
from benchmarks.dataplane.stage import Stage, median, seconds_until, stage
from benchmarks.dataplane.switchrules import Held, held, held_by_all, ofctl
from benchmarks.dataplane.tampering import FOREIGN_FLOW, TAMPERINGS, Tampering
from controller.api_models import EventInfo
from topologies.errors import HeddleError

ROW = "drift"
HEALED_S = 10.0
_TURNS, _QUICK_TURNS = 3, 1
_SEED = 1
_PATIENCE_S = 30.0
_AUDITS_S = 12.0
"""In this time every switch is looked at twice."""
_LOOK_S = 0.05


@dataclass
class _Found:
    healed_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    told: Counter[str] = field(default_factory=Counter)


def row(setting: Setting) -> Iterator[Case]:
    """Every kind of change in turn, at random moments, each on a switch that was left alone for longest."""
    turns = _QUICK_TURNS if setting.quick else _TURNS
    chance = random.Random(_SEED)  # noqa: S311 - moments and rules, not secrets
    found = _Found()
    with stage(setting.framework) as made:
        switches = [node.id for node in made.fabric.switches]
        chance.shuffle(switches)
        for _ in range(turns):
            for tampering in TAMPERINGS:
                time.sleep(chance.uniform(0.0, 2.0))
                _tamper(made, tampering, switches, chance, found)
        foreign = list(_foreign(made, switches[0]))
    for tampering in TAMPERINGS:
        took_s = found.healed_s[tampering.what]
        note = f"worst of {turns}; median {median(took_s):.2f} s"
        yield at_most(ROW, f"{tampering.what}: healed", max(took_s), HEALED_S, "s", note)
        yield exactly(ROW, f"{tampering.what}: reported as an event", found.told[tampering.what], turns)
    yield from foreign


def _tamper(made: Stage, tampering: Tampering, switches: list[str], chance: random.Random, found: _Found) -> None:
    """Do it to the first switch that has something of the kind, which goes to the end of the queue."""
    for switch in switches:
        before = held(made.cluster, switch)
        if arguments := sorted(tampering.find(before)):
            break
    else:
        raise HeddleError(f"{tampering.what}: no switch has one")
    switches.remove(switch)
    switches.append(switch)
    after = made.last_event()
    tampering.carry_out(made.cluster, switch, chance.choice(arguments))
    if _is_as(made, switch, before):
        raise HeddleError(f"{tampering.what}: nothing changed on {switch}")
    found.healed_s[tampering.what].append(seconds_until(lambda: _is_as(made, switch, before), _PATIENCE_S))
    found.told[tampering.what] += bool(_told(made, after, "rules-drifted", switch))


def _is_as(made: Stage, switch: str, before: Held) -> bool:
    time.sleep(_LOOK_S)
    return held(made.cluster, switch).content == before.content


def _told(made: Stage, after: int, kind: str, switch: str) -> list[EventInfo]:
    return [event for event in made.client.events(after) if event.kind == kind and f"switch {switch}" in event.message]


def _foreign(made: Stage, switch: str) -> Iterator[Case]:
    """A flow of somebody else's comes, and stays."""
    names, after = [node.id for node in made.fabric.switches], made.last_event()
    before = held_by_all(made.cluster, names)
    ofctl(made.cluster, "add-flow", switch, FOREIGN_FLOW)
    told_s = seconds_until(lambda: _told(made, after, "foreign-rules", switch), _PATIENCE_S)
    yield at_most(ROW, "a foreign flow: reported as an event", told_s, HEALED_S, "s")
    time.sleep(_AUDITS_S)
    there = held_by_all(made.cluster, names)
    ours = all(there[name].content == before[name].content for name in names if name != switch)
    added = there[switch].flows.keys() - before[switch].flows.keys()
    removed = before[switch].flows.keys() - there[switch].flows.keys()
    yield true(
        ROW, "a foreign flow: left alone, and all of ours with it", holds=ours and len(added) == 1 and not removed,
        wanted="1 flow more", measured=f"{len(added)} more, {len(removed)} less",
    )  # fmt: skip
