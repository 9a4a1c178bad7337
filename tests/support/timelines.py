"""What can become of a packet while switches change their rules: every interleaving, each step in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from dataplane.operations import Operation, apply_operations
from dataplane.pipeline import Alternative, Packet, SwitchPipeline, ipv4_packet
from dataplane.rules import RuleSet, SwitchRules
from dataplane.testing import identity
from solver.routing import Path
from topologies.fabric import Fabric, Link, LinkId


@dataclass(frozen=True)
class Window:
    """What switches do between two barriers, each in order and at its own pace.

    ``drained``: packets from before have left the fabric when it begins.
    """

    operations: Mapping[str, tuple[Operation, ...]]
    drained: bool = False


@dataclass(frozen=True)
class Fate:
    """What became of a packet: the links that it took, and what ended it (empty where it arrived)."""

    way: Path
    end: str = ""


@dataclass(frozen=True)
class _State:
    """A packet that has crossed links; ``seen``: how far the switches were that it met, at least."""

    way: Path
    packet: Packet
    window: int
    seen: tuple[tuple[str, int], ...]


class Timeline:
    """All that packets can meet while windows pass.

    Switches are independent of one another between two barriers, and a packet sees how far a switch is only when it is
    there. So it is enough to choose that at each hop: anything from what is certain by then to all that the window has,
    of this window or a later one. Of two moments at which a switch does the same with a packet, the earlier one leaves
    it every choice that the later one does. `every_step` makes no use of this, and must find the same.
    """

    def __init__(self, fabric: Fabric, start: RuleSet, windows: Sequence[Window]) -> None:
        self._fabric = fabric
        self._windows = (Window({}), *windows)
        self._tables: dict[str, list[SwitchRules]] = {}
        # For each switch, how far it is when each window has passed.
        self._until: dict[str, list[int]] = {}
        for node in fabric.switches:
            tables, until = [start.get(node.id, SwitchRules())], []
            for window in self._windows:
                for operation in window.operations.get(node.id, ()):
                    tables.append(apply_operations(tables[-1], [operation]))
                until.append(len(tables) - 1)
            self._tables[node.id], self._until[node.id] = tables, until
        self._pipelines: dict[tuple[str, int], SwitchPipeline] = {}
        self._outcomes: dict[tuple[str, int, int, Packet], frozenset[Alternative]] = {}

    @property
    def final(self) -> dict[str, SwitchRules]:
        """The rules in the end."""
        return {switch: tables[-1] for switch, tables in self._tables.items()}

    def most_rules(self, switch: str) -> int:
        """The most flows and groups that a switch has at any moment."""
        return max(len(rules.flows) + len(rules.groups) for rules in self._tables[switch])

    def fates(self, source: str, target: str) -> frozenset[Fate]:
        """What can become of an IPv4 packet between two hosts that is sent at any moment."""
        access = self._fabric.access_link(source)
        packet = ipv4_packet(identity(self._fabric, source), identity(self._fabric, target))
        begins = [0, *(number for number, window in enumerate(self._windows) if window.drained)]
        stack = [_State((access.id,), packet, begin, ()) for begin in begins]
        found: set[Fate] = set()
        known = set(stack)
        while stack:
            state = stack.pop()
            if (end := self._end(state.way, target)) is not None:
                found.add(Fate(state.way, end))
                continue
            for following in self._next(state):
                if isinstance(following, Fate):
                    found.add(following)
                elif following not in known:
                    known.add(following)
                    stack.append(following)
        return frozenset(found)

    def sample(self, source: str, target: str, packet: Packet, random: Random) -> Fate:
        """What becomes of one packet that is sent at some moment, while switches proceed at some pace."""
        window = random.randrange(len(self._windows))
        state = _State((self._fabric.access_link(source).id,), packet, window, ())
        while (end := self._end(state.way, target)) is None:
            link = self._fabric.link_by_id[state.way[-1]]
            window, switch = state.window, link.target
            while random.random() < 0.3 and window + 1 < len(self._windows) and not self._windows[window + 1].drained:
                window += 1
            until, seen = self._until[switch], dict(state.seen)
            least = max(seen.get(switch, 0), until[window - 1] if window else 0)
            # Long before, long after and in the midst of it are equally worth a look.
            place = random.choice((least, random.randint(least, until[window]), until[window]))
            alternatives = sorted(self._process(switch, place, link, state.packet), key=repr)
            moment = _State((), state.packet, window, tuple(sorted({**seen, switch: place}.items())))
            following = self._follow(random.choice(alternatives), switch, state.way, moment)
            if isinstance(following, Fate):
                return following
            state = following
        return Fate(state.way, end)

    def _end(self, way: Path, target: str) -> str | None:
        link = self._fabric.link_by_id[way[-1]]
        if link.target == target:
            return ""
        if link.target not in self._tables:
            return f"delivered to {link.target}"
        return "goes round" if len(way) > 2 * len(self._tables) + 2 else None

    def _next(self, state: _State) -> Iterator[_State | Fate]:
        link = self._fabric.link_by_id[state.way[-1]]
        switch = link.target
        least = dict(state.seen).get(switch, 0)
        met: set[Alternative] = set()
        for window in range(state.window, len(self._windows)):
            if window > state.window and self._windows[window].drained:
                break
            until = self._until[switch]
            for place in range(max(least, until[window - 1] if window else 0), until[window] + 1):
                for alternative in self._process(switch, place, link, state.packet) - met:
                    met.add(alternative)
                    seen = tuple(sorted({**dict(state.seen), switch: place}.items()))
                    yield self._follow(alternative, switch, state.way, _State(state.way, state.packet, window, seen))

    def _follow(self, alternative: Alternative, switch: str, way: Path, state: _State) -> _State | Fate:
        if len(alternative) != 1:
            return Fate(way, f"dropped at {switch}" if not alternative else f"copied at {switch}")
        (emission,) = alternative
        out = LinkId(switch, emission.port)
        if out not in self._fabric.link_by_id:
            return Fate(way, f"lost at {out}")
        return _State((*way, out), emission.packet, state.window, state.seen)

    def _process(self, switch: str, place: int, link: Link, packet: Packet) -> frozenset[Alternative]:
        key = (switch, place, link.target_port, packet)
        if key not in self._outcomes:
            if (switch, place) not in self._pipelines:
                self._pipelines[switch, place] = SwitchPipeline(switch, self._tables[switch][place])
            self._outcomes[key] = self._pipelines[switch, place].process(packet, link.target_port)
        return self._outcomes[key]

    def every_step(self, source: str, target: str) -> frozenset[Fate]:
        """The same as `fates`, by walking through all states of all switches and of one packet, step by step."""
        access = self._fabric.access_link(source)
        packet = ipv4_packet(identity(self._fabric, source), identity(self._fabric, target))
        names = sorted(self._tables)
        found: set[Fate] = set()
        first = (0, (0,) * len(names), None)
        stack: list[tuple[int, tuple[int, ...], tuple[Path, Packet] | None]] = [first]
        known = set(stack)
        while stack:
            window, places, flight = stack.pop()
            following: list[tuple[int, tuple[int, ...], tuple[Path, Packet] | None]] = []
            until = tuple(self._until[name][window] for name in names)
            for number, (place, last) in enumerate(zip(places, until, strict=True)):
                if place < last:
                    following.append((window, (*places[:number], place + 1, *places[number + 1 :]), flight))
            may_begin = window + 1 < len(self._windows) and (flight is None or not self._windows[window + 1].drained)
            if places == until and may_begin:
                following.append((window + 1, places, flight))
            if flight is None:
                following.append((window, places, ((access.id,), packet)))
            elif (end := self._end(flight[0], target)) is not None:
                found.add(Fate(flight[0], end))
            else:
                link = self._fabric.link_by_id[flight[0][-1]]
                place = places[names.index(link.target)]
                for alternative in self._process(link.target, place, link, flight[1]):
                    state = self._follow(alternative, link.target, flight[0], _State((), flight[1], 0, ()))
                    if isinstance(state, Fate):
                        found.add(state)
                    else:
                        following.append((window, places, (state.way, state.packet)))
            for state_after in following:
                if state_after not in known:
                    known.add(state_after)
                    stack.append(state_after)
        return frozenset(found)


def ways_of(fates: Iterable[Fate]) -> set[Path]:
    """The ways of packets that all arrive.

    Raises
    ------
    AssertionError
        Some do not.
    """
    ways = set()
    for fate in fates:
        assert not fate.end, f"{fate.end} after {' '.join(map(str, fate.way))}"
        ways.add(fate.way)
    return ways
