"""Plays an update's state machine against switches in memory, which fail where a test says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from timelines import Window

from dataplane.machine import UpdateMachine
from dataplane.operations import Operation, apply_operations
from dataplane.rules import RuleSet, SwitchRules
from dataplane.updating import (
    Command,
    Commit,
    Done,
    Ended,
    Event,
    Lost,
    Moved,
    Passed,
    Refused,
    Result,
    Uncertain,
    Wait,
)


class Mishap(StrEnum):
    """What a switch does instead of what it is told.

    ``refuse``: carries out a part and says so. ``late``: stalls after a part, and carries the rest out
    when all is over.
    ``stall``: carries out a part and never the rest. ``gone``: its channel is lost before it gets anything.
    """

    REFUSE = "refuse"
    LATE = "late"
    STALL = "stall"
    GONE = "gone"


@dataclass(frozen=True)
class Fault:
    """One mishap; ``part``: which share of the operations is carried out all the same."""

    mishap: Mishap
    part: float = 0.0


Faults = Callable[[int, Commit], Fault | None]
"""What goes wrong with a commit, by its number."""


@dataclass
class Played:
    """What happened: windows between barriers, and the result."""

    windows: list[Window] = field(default_factory=list)
    commits: int = 0
    rounds: int = 0
    result: Result | None = None
    waited_s: float = 0.0
    uncertain: set[str] = field(default_factory=set)


def play(machine: UpdateMachine, start: RuleSet, faults: Faults = lambda _number, _commit: None) -> Played:
    """Run an update to its end."""
    played = Played()
    tables: dict[str, SwitchRules] = dict(start)
    late: dict[str, tuple[Operation, ...]] = {}
    now_s, drained = 0.0, False
    pending = deque(machine.start(now_s))
    while played.result is None:
        commits: list[Commit] = []
        while pending:
            command: Command = pending.popleft()
            match command:
                case Commit():
                    commits.append(command)
                case Wait(until_s):
                    assert until_s > now_s, "it waits for what has passed"
                    played.waited_s += until_s - now_s
                    now_s, drained = until_s, True
                    pending.extend(machine.handle(Passed(), now_s))
                case Moved():
                    pass
                case Ended():
                    played.result = machine.result()
        if commits:
            played.rounds += 1
            window: dict[str, tuple[Operation, ...]] = {}
            for event in _carry_out(commits, tables, played, faults, window, late):
                pending.extend(machine.handle(event, now_s))
            played.windows.append(Window(window, drained))
            drained = False
            now_s += 0.01
        else:
            assert played.result is not None or pending, "it waits for nothing"
    if late:
        played.windows.append(Window(late))
    return played


def _carry_out(
    commits: Sequence[Commit],
    tables: dict[str, SwitchRules],
    played: Played,
    faults: Faults,
    window: dict[str, tuple[Operation, ...]],
    late: dict[str, tuple[Operation, ...]],
) -> list[Event]:
    events: list[Event] = []
    for commit in commits:
        fault = faults(played.commits, commit)
        played.commits += 1
        operations, switch = commit.operations, commit.switch
        count = len(operations) if fault is None else round(fault.part * len(operations))
        if fault is not None and fault.mishap is Mishap.GONE:
            played.uncertain.add(switch)
            events.append(Lost(switch))
            continue
        window[switch] = operations[:count]
        tables[switch] = apply_operations(tables.get(switch, SwitchRules()), operations[:count])
        if fault is None:
            events.append(Done(switch))
        elif fault.mishap is Mishap.REFUSE:
            events.append(Refused(switch, "it says no", tables[switch]))
        else:
            played.uncertain.add(switch)
            if fault.mishap is Mishap.LATE:
                late[switch] = operations[count:]
            events.append(Uncertain(switch, "it does not answer"))
    return events
