"""Cables that keep failing: each is used again only once it has stayed up, for longer the more often it failed lately.

A cable has a penalty that grows with each loss and halves with time, as routes have in RFC 2439. Unlike there, what
counts is not that the penalty has fallen but that the cable has stayed up for a time that grows with it: who fails
again within that time starts anew, so what flaps faster than its time carries nothing, and what was mended is back
after a minute at most. Two losses cost nothing: that is a cable put in again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from networkx.utils import UnionFind

from controller.ports import Change, PortId

HALF_LIFE_S = 120.0
"""The penalty halves in this time: a cable that fails each 30 s or more often is not used at all."""
FREE = 2.0
"""A penalty up to here costs nothing; each loss adds 1."""
FIRST_S = 2.0
"""With each loss beyond, the time doubles from here."""
_FORGOTTEN = 0.1
_LOOK_S = 60.0

Cable: TypeAlias = tuple[PortId, PortId]
"""Both ends, the lower one first."""


def cable_between(one: PortId, other: PortId) -> Cable:
    """The cable between two ports."""
    return (one, other) if one < other else (other, one)


@dataclass(slots=True)
class _Record:
    """A cable's past. ``steady_s`` is when it is used again; None while it is down."""

    penalty: float = 0.0
    losses: int = 0
    since_s: float = 0.0
    steady_s: float | None = None
    damped: bool = False
    needed: bool = False

    def at(self, now_s: float) -> float:
        return float(self.penalty * 2.0 ** ((self.since_s - now_s) / HALF_LIFE_S))


@dataclass(frozen=True, slots=True)
class Sifted:
    """Directed cables told apart.

    Attributes
    ----------
    used : tuple of (PortId, PortId)
        Those that may carry traffic.
    held : tuple of (PortId, PortId)
        Damped ones, which carry none.
    needed : tuple of (PortId, PortId)
        Damped ones among ``used``: without them the fabric would fall into more parts.
    changes : tuple of Change
        What is to be told.
    """

    used: tuple[tuple[PortId, PortId], ...]
    held: tuple[tuple[PortId, PortId], ...] = ()
    needed: tuple[tuple[PortId, PortId], ...] = ()
    changes: tuple[Change, ...] = ()


class Damping:
    """Remembers losses of cables.

    Parameters
    ----------
    longest_s : float
        Longest time for which a cable has to stay up before it is used again; 0 uses every cable at once.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._records: dict[Cable, _Record] = {}
        self._waiting: dict[Cable, _Record] = {}
        self._looked_s = 0.0

    def lost(self, cable: Cable, now_s: float) -> None:
        """A cable that was known in both directions is no more."""
        record = self._records.setdefault(cable, _Record())
        # What was earned beyond the longest time would be paid for long after the cable has got well.
        most = self._penalty_of(self._longest_s)
        record.penalty, record.since_s = min(record.at(now_s) + 1.0, most), now_s
        record.losses += 1
        record.steady_s = None

    def sift(self, cables: Iterable[tuple[PortId, PortId]], now_s: float) -> Sifted:
        """Tell cables that may be used from those that have to stay up first; one that was lost is up from now on."""
        directed = tuple(cables)
        waiting: dict[Cable, _Record] = {}
        changes: list[Change] = []
        for one, other in directed:
            cable = cable_between(one, other)
            record = self._records.get(cable)
            if record is None or cable in waiting:
                continue
            if record.steady_s is None:
                record.steady_s = now_s + self._hold_s(record.at(now_s))
            if record.steady_s > now_s:
                waiting[cable] = record
                if not record.damped:
                    record.damped = True
                    changes.append(_damped(cable, record, now_s))
            elif record.damped:
                changes.append(_over(cable, record))
        self._waiting = waiting
        if not waiting:
            return Sifted(directed, changes=tuple(changes))
        needed = _needed(directed, waiting)
        for cable, record in waiting.items():
            if cable in needed and not record.needed:
                changes.append(_kept(cable))
            record.needed = cable in needed
        used = tuple(ends for ends in directed if (key := cable_between(*ends)) not in waiting or key in needed)
        held = tuple(ends for ends in directed if (key := cable_between(*ends)) in waiting and key not in needed)
        return Sifted(used, held, tuple(ends for ends in used if cable_between(*ends) in waiting), tuple(changes))

    def is_due(self, now_s: float) -> bool:
        """Whether a cable has stayed up for long enough since it was last sifted."""
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            self._records = {
                cable: record
                for cable, record in self._records.items()
                if cable in self._waiting or record.at(now_s) > _FORGOTTEN
            }
        return any(record.steady_s is not None and record.steady_s <= now_s for record in self._waiting.values())

    def _hold_s(self, penalty: float) -> float:
        return 0.0 if penalty <= FREE else float(min(FIRST_S * 2.0 ** (penalty - FREE), self._longest_s))

    def _penalty_of(self, hold_s: float) -> float:
        """The least penalty that costs so much."""
        penalty = FREE
        while self._hold_s(penalty) < hold_s:
            penalty += 1.0
        return penalty


def _needed(directed: Iterable[tuple[PortId, PortId]], waiting: Mapping[Cable, _Record]) -> frozenset[Cable]:
    """As few of the waiting cables as join what would be apart: those in use first, then the steadiest."""
    parts: UnionFind[int] = UnionFind()
    for one, other in directed:
        if cable_between(one, other) not in waiting:
            parts.union(one.dpid, other.dpid)
    needed = set()
    for cable in sorted(waiting, key=lambda cable: (not waiting[cable].needed, waiting[cable].steady_s or 0.0, cable)):
        near, far = (end.dpid for end in cable)
        if parts[near] != parts[far]:
            parts.union(near, far)
            needed.add(cable)
    return frozenset(needed)


def _damped(cable: Cable, record: _Record, now_s: float) -> Change:
    wait_s = (record.steady_s or now_s) - now_s
    message = f"the link {cable[0]} – {cable[1]} failed {record.losses} times lately"
    return Change(False, "link-damped", f"{message}: it is used again once it has stayed up for {wait_s:.0f} s")


def _over(cable: Cable, record: _Record) -> Change:
    record.damped = record.needed = False
    return Change(False, "link-steady", f"the link {cable[0]} – {cable[1]} stays up, and is used again")


def _kept(cable: Cable) -> Change:
    message = f"the link {cable[0]} – {cable[1]} keeps failing, but is used: without it the fabric would fall apart"
    return Change(False, "link-needed", message)
