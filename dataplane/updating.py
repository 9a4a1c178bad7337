"""What an update says and hears: commands to switches, events that answer them, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dataplane.flips import Overload
from dataplane.operations import Operation
from dataplane.rules import SwitchRules

LOST = "it was disconnected meanwhile"


@dataclass(frozen=True, slots=True)
class Commit:
    """Have a switch carry out these operations, and say how that went."""

    switch: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """Traffic has moved as far as it will; what remains is clearing up."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Say when it is later."""

    until_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more is to be done."""


Command: TypeAlias = Commit | Moved | Wait | Ended


@dataclass(frozen=True, slots=True)
class Done:
    """A switch has carried out what it was told, and answered its barrier."""

    switch: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A switch said no to some of it; it has ``left`` now."""

    switch: str
    reason: str
    left: SwitchRules


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A switch did not answer: it may have carried out any part."""

    switch: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A switch is out of reach; it forwards by the rules it has."""

    switch: str


@dataclass(frozen=True, slots=True)
class Passed:
    """Time has passed."""


Event: TypeAlias = Done | Refused | Uncertain | Lost | Passed


class Fate(StrEnum):
    """What became of one switch in an update."""

    UNCHANGED = "unchanged"
    DONE = "done"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"
    LOST = "lost"


GRAVITY = (Fate.UNCHANGED, Fate.DONE, Fate.REFUSED, Fate.LOST, Fate.UNCERTAIN)
"""The worst last: what is known of a switch least."""


class Follows(StrEnum):
    """Which plan the planned packets follow that enter at a switch: each packet one of them, whole."""

    OLD = "old"
    NEW = "new"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class SwitchResult:
    """What became of one switch.

    Attributes
    ----------
    reason : str
        What went wrong; empty where nothing did.
    left : bool
        Whether it has rules that a later update has to clear away.
    """

    fate: Fate
    follows: Follows
    reason: str = ""
    left: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How far an update has come.

    Attributes
    ----------
    follows : Follows
        Which plan planned traffic follows, by all its ingress switches together.
    switches : dict of str to SwitchResult
    changed : int
        Operations carried out.
    cleared : bool
        Whether everything is done, on every switch.
    overloads : tuple of Overload
        Links that could get too much while pairs flipped, or may as long as they follow either plan.
    flipping_s : float
        How long that lasted.
    """

    follows: Follows
    switches: dict[str, SwitchResult]
    changed: int
    cleared: bool
    overloads: tuple[Overload, ...] = ()
    flipping_s: float = 0.0
