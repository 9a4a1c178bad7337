"""In which rounds planned pairs pass from old paths to new ones, so that no link gets more than it carries meanwhile.

Ingress switches flip at their own pace. So in a round, a link may have to carry the larger of the old and the new load
of each pair that flips, and what all others put on it then (zUpdate, SIGCOMM 2013, section 4; SWAN, SIGCOMM 2013,
section 4.2). Whether an order exists is NP-hard; it is searched for in full only among few pairs that contend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

from topologies.fabric import LinkId

Pair: TypeAlias = tuple[str, str]

SEARCHED_PAIRS = 12
"""So many pairs that contend are searched in full: 4,096 states."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Move:
    """What a planned pair puts on links before and after an update; one that stays has the same in both.

    Attributes
    ----------
    source, target : str
        Addresses of the hosts, as in the rules.
    before, after : mapping of LinkId to float
        Bits per second, headers and labels included; links without any are left out.
    """

    source: str
    target: str
    before: Mapping[LinkId, float]
    after: Mapping[LinkId, float]

    @property
    def pair(self) -> Pair:
        return (self.source, self.target)


@dataclass(frozen=True, slots=True)
class Overload:
    """A link that may get more than it carries while pairs flip.

    Attributes
    ----------
    capacity_bps : float
        What it carries; where the plan before or after puts more on it, that.
    """

    link: LinkId
    load_bps: float
    capacity_bps: float

    def __str__(self) -> str:
        return (
            f"link {self.link} may get {self.load_bps / 1e6:.6g} Mbit/s while paths change, "
            f"{(self.load_bps - self.capacity_bps) / 1e6:.6g} Mbit/s more than it carries"
        )


@dataclass(frozen=True, slots=True)
class FlipOrder:
    """Rounds of flips.

    Attributes
    ----------
    rounds : tuple of frozenset of Pair
        Pairs that move; all of a round have flipped before the next one begins.
    overloads : tuple of Overload
        What is unavoidable, or was not avoided; empty where no link gets more than it carries, or than one of the two
        plans itself puts on it.
    proven : bool
        Whether no order without these overloads exists; else none was found.
    """

    rounds: tuple[frozenset[Pair], ...] = ()
    overloads: tuple[Overload, ...] = ()
    proven: bool = True

    @property
    def round_of(self) -> dict[Pair, int]:
        """The round of each pair that moves."""
        return {pair: number for number, pairs in enumerate(self.rounds) for pair in pairs}


def along(source: str, target: str, rate_bps: float, old: Iterable[LinkId], new: Iterable[LinkId]) -> Move:
    """The move of a pair from one path to another; no links where it had, or has, no planned path."""
    return Move(source, target, dict.fromkeys(old, rate_bps), dict.fromkeys(new, rate_bps))


def order_flips(
    moves: Sequence[Move], capacities_bps: Mapping[LinkId, float], *, searched: int = SEARCHED_PAIRS
) -> FlipOrder:
    """Find rounds in which no link gets more than it carries.

    Pairs that contend for no link are independent. Those that do are ordered greedily, as many in a round as fit; if
    that gets stuck, every order is tried. If there is none, all that contend with one another flip at once.

    Parameters
    ----------
    moves : sequence of Move
        Of all planned pairs, those that stay included.
    capacities_bps : mapping of LinkId to float
        Links that are missing carry anything.
    searched : int
        The most pairs that contend for which every order is tried.
    """
    loads = _Loads(moves, capacities_bps)
    rounds: list[set[Pair]] = []
    overloads: list[Overload] = []
    proven = True
    for contending in loads.components():
        found = loads.greedily(contending)
        if found is None and len(contending) <= searched:
            found = loads.exhaustively(contending)
        elif found is None:
            proven = False
        if found is None:
            found = [contending]
            overloads += loads.overloads(contending)
        for number, chosen in enumerate(found):
            if number == len(rounds):
                rounds.append(set())
            rounds[number].update(moves[index].pair for index in chosen)
    return FlipOrder(tuple(map(frozenset, rounds)), tuple(sorted(overloads, key=lambda over: over.link)), proven)


def overloads_while(
    moves: Sequence[Move],
    capacities_bps: Mapping[LinkId, float],
    settled: Callable[[Pair], bool | None],
) -> tuple[Overload, ...]:
    """Links that may get too much where some pairs have flipped, some have not, and of some it is not known.

    Parameters
    ----------
    settled : callable
        Whether a pair has flipped; None where that is not known.
    """
    loads_bps: dict[LinkId, float] = {}
    for move in moves:
        flipped = settled(move.pair)
        for link in move.before.keys() | move.after.keys():
            before, after = move.before.get(link, 0.0), move.after.get(link, 0.0)
            load = max(before, after) if flipped is None else after if flipped else before
            loads_bps[link] = loads_bps.get(link, 0.0) + load
    limits = _limits(moves, capacities_bps)
    return tuple(
        Overload(link, load, limits[link])
        for link, load in sorted(loads_bps.items())
        if load > limits.get(link, load) * (1 + _ROUNDING)
    )


def _limits(moves: Sequence[Move], capacities_bps: Mapping[LinkId, float]) -> dict[LinkId, float]:
    """What links carry, or where it is more, what one of the plans itself puts on them."""
    before: dict[LinkId, float] = {}
    after: dict[LinkId, float] = {}
    for move in moves:
        for side, loads in ((before, move.before), (after, move.after)):
            for link, load in loads.items():
                side[link] = side.get(link, 0.0) + load
    return {
        link: max(capacities_bps[link], before.get(link, 0.0), after.get(link, 0.0))
        for link in before.keys() | after.keys()
        if link in capacities_bps
    }


@dataclass(slots=True)
class _Loads:
    """Loads of the links that moves contend for."""

    moves: Sequence[Move]
    capacities_bps: Mapping[LinkId, float]
    limits: dict[LinkId, float] = field(init=False)
    before: dict[LinkId, float] = field(init=False)
    moving: list[int] = field(init=False)
    _links: dict[int, tuple[LinkId, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.limits = _limits(self.moves, self.capacities_bps)
        self.before = {}
        most: dict[LinkId, float] = {}
        for move in self.moves:
            for link in move.before.keys() | move.after.keys():
                before, after = move.before.get(link, 0.0), move.after.get(link, 0.0)
                self.before[link] = self.before.get(link, 0.0) + before
                most[link] = most.get(link, 0.0) + max(before, after)
        # Other links carry whatever comes, in any order.
        self.limits = {link: limit for link, limit in self.limits.items() if most[link] > limit * (1 + _ROUNDING)}
        self.moving = [index for index, move in enumerate(self.moves) if dict(move.before) != dict(move.after)]

    def links(self, index: int) -> tuple[LinkId, ...]:
        """Links that a move contends for."""
        if index not in self._links:
            move = self.moves[index]
            self._links[index] = tuple(
                link
                for link in sorted(move.before.keys() | move.after.keys())
                if link in self.limits and move.before.get(link, 0.0) != move.after.get(link, 0.0)
            )
        return self._links[index]

    def components(self) -> list[frozenset[int]]:
        """Moves that contend with one another, directly or through others; those alone each by itself."""
        on: dict[LinkId, list[int]] = {}
        for index in self.moving:
            for link in self.links(index):
                on.setdefault(link, []).append(index)
        seen: set[int] = set()
        found = []
        for start in self.moving:
            if start in seen:
                continue
            seen.add(start)
            component, stack = {start}, [start]
            while stack:
                for link in self.links(stack.pop()):
                    fresh = set(on[link]) - seen
                    seen |= fresh
                    component |= fresh
                    stack += fresh
            found.append(frozenset(component))
        return found

    def greedily(self, contending: AbstractSet[int]) -> list[AbstractSet[int]] | None:
        """Rounds of as many moves as fit, those first that take least; None where some fit in no round."""
        left = sorted(contending, key=lambda index: (self._grows(index), index))
        loads = dict(self.before)
        rounds: list[AbstractSet[int]] = []
        while left:
            chosen = self._fitting(left, loads)
            if not chosen:
                return None
            for index in chosen:
                self._flip(index, loads)
            rounds.append(frozenset(chosen))
            left = [index for index in left if index not in rounds[-1]]
        return rounds

    def exhaustively(self, contending: AbstractSet[int]) -> list[AbstractSet[int]] | None:
        """Rounds by trying every order, one move after the other; None proves that there is no order.

        What fits into one round fits one after the other as well, so longer rounds reach nothing more.
        """
        everyone = frozenset(contending)
        dead: set[frozenset[int]] = set()
        way: list[int] = []

        def reach(flipped: frozenset[int], loads: dict[LinkId, float]) -> bool:
            if flipped == everyone:
                return True
            if flipped in dead:
                return False
            for index in sorted(everyone - flipped):
                if self._fitting([index], loads):
                    after = dict(loads)
                    self._flip(index, after)
                    way.append(index)
                    if reach(flipped | {index}, after):
                        return True
                    way.pop()
                    if not self._grows(index):
                        # It only makes room: what does not work after it does not work without it.
                        break
            dead.add(flipped)
            return False

        tight = {link for index in contending for link in self.links(index)}
        return self._joined(way) if reach(frozenset(), {link: self.before[link] for link in tight}) else None

    def overloads(self, contending: AbstractSet[int]) -> list[Overload]:
        """What links may get if all these flip at once."""
        most = dict(self.before)
        for index in contending:
            for link in self.links(index):
                most[link] += max(0.0, self._rise(index, link))
        tight = {link for index in contending for link in self.links(index)}
        return [
            Overload(link, most[link], self.limits[link])
            for link in tight
            if most[link] > self.limits[link] * (1 + _ROUNDING)
        ]

    def _joined(self, way: Sequence[int]) -> list[AbstractSet[int]]:
        """Rounds of what can flip at once among moves that can flip one after the other."""
        loads = dict(self.before)
        rounds: list[AbstractSet[int]] = []
        left = list(way)
        while left:
            count = next(n for n in range(len(left), 0, -1) if len(self._fitting(left[:n], loads)) == n)
            for index in left[:count]:
                self._flip(index, loads)
            rounds.append(frozenset(left[:count]))
            left = left[count:]
        return rounds

    def _fitting(self, candidates: Iterable[int], loads: Mapping[LinkId, float]) -> list[int]:
        """Of these, one after the other, those that can flip at once with the ones before."""
        most = dict(loads)
        chosen = []
        for index in candidates:
            rises = {link: rise for link in self.links(index) if (rise := self._rise(index, link)) > 0}
            if all(most[link] + rise <= self.limits[link] * (1 + _ROUNDING) for link, rise in rises.items()):
                for link, rise in rises.items():
                    most[link] += rise
                chosen.append(index)
        return chosen

    def _rise(self, index: int, link: LinkId) -> float:
        move = self.moves[index]
        return move.after.get(link, 0.0) - move.before.get(link, 0.0)

    def _grows(self, index: int) -> bool:
        """Whether a move puts more on a link that others contend for."""
        return any(self._rise(index, link) > 0 for link in self.links(index))

    def _flip(self, index: int, loads: dict[LinkId, float]) -> None:
        for link in self.links(index):
            loads[link] += self._rise(index, link)
