"""An update as a state machine: answers of switches and time come in, what to send and how long to wait comes out.

What goes wrong on one switch never leaves traffic between two plans. Before a planned pair flips, every switch has the
rules for its new path. If one does not, no pair flips, and what was added goes again. If a pair's own switch does not
flip it, the others go on where the links bear both (their loads are known, and fit), and flip back where not. Default
routing, which promises no loads, goes on at every switch that does not build on the one that failed. Labels that a
switch may still put on packets keep their rules everywhere. Once traffic has moved, nothing is taken back: what could
not be cleared away is left for the next update.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dataplane.clearing import admits_switch, clearing, labels_of, labels_put_on, needed_labels
from dataplane.drain import DRAIN_S, POLL_S, Drain
from dataplane.flips import FlipOrder, Move, Overload, Pair, order_flips, overloads_while
from dataplane.operations import AddFlow, Operation, RemoveFlow, Rest, apply_operations, no_rest
from dataplane.order import Change, FlowChange, in_turn
from dataplane.rules import FlowRule, Output, RuleSet, SwitchRules, Table, ToGroup
from dataplane.update import Stage, StageKind, schedule
from topologies.fabric import Fabric, LinkId

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
    """Say when it is later.

    Attributes
    ----------
    labels : frozenset of int
        Whose packets are to be counted then; empty where time alone decides.
    """

    until_s: float
    labels: frozenset[int] = frozenset()


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
    """Time has passed; with the packets that all switches in reach have counted for labels, where these were read."""

    packets: Mapping[int, int] | None = None


Event: TypeAlias = Done | Refused | Uncertain | Lost | Passed


class Fate(StrEnum):
    """What became of one switch in an update."""

    UNCHANGED = "unchanged"
    DONE = "done"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"
    LOST = "lost"


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


@dataclass(slots=True)
class _Failure:
    fate: Fate
    reason: str


@dataclass(frozen=True, slots=True)
class _Step:
    """A stage, or one that takes flips back (``back``) or clears up."""

    operations: Mapping[str, tuple[Operation, ...]]
    kind: StageKind
    back: bool = False


@dataclass(slots=True)
class _Broken:
    """What must not be used, as a switch that failed has no rules for it."""

    labels: frozenset[int] = frozenset()
    links: frozenset[LinkId] = frozenset()


class UpdateMachine:
    """One update from ``old`` to ``new``.

    Parameters
    ----------
    old, new : RuleSet
        Of all switches that take part.
    fabric : Fabric, optional
        Where the ports of the new rules lead.
    before : Fabric, optional
        Where those of the old rules led.
    moves : sequence of Move
        What planned pairs put on links before and after, where that is known.
    flips : FlipOrder, optional
        For these; by default it is made from the capacities of ``fabric``.
    queue_s : float
        What packets may spend in the queues of their path.
    flipped_s : float
        When a switch last stopped putting labels on packets, before this update.
    polled : bool
        Whether packets of labels can be counted.
    rest : callable, optional
        Called now and then.

    Attributes
    ----------
    rules : dict of str to SwitchRules
        What each switch has, as far as that is known.
    flipped_s : float
        When a switch last stopped putting labels on packets.
    order : FlipOrder
        In which pairs flip.
    """

    def __init__(
        self,
        old: RuleSet,
        new: RuleSet,
        *,
        fabric: Fabric | None = None,
        before: Fabric | None = None,
        moves: Sequence[Move] = (),
        flips: FlipOrder | None = None,
        queue_s: float = DRAIN_S,
        flipped_s: float = 0.0,
        polled: bool = False,
        rest: Rest = no_rest,
    ) -> None:
        self._moves = moves
        self._capacities_bps = {
            link.id: link.capacity_bps for link in (fabric.links if fabric is not None else ()) if link.capacity_bps
        }
        self.order = flips if flips is not None else order_flips(moves, self._capacities_bps)
        self._schedule = schedule(old, new, rest, fabric=fabric, before=before, rounds=self.order.round_of)
        self._old: dict[str, SwitchRules] = {switch: old.get(switch, SwitchRules()) for switch in self._schedule.new}
        self._new = self._schedule.new
        self._fabric = fabric
        self._queue_s = queue_s
        self._polled = polled
        self._rest = rest
        self.rules = dict(self._old)
        self.flipped_s = flipped_s
        self._steps = deque(
            _Step(stage.operations, stage.kind)
            for stage in self._schedule.stages
            if stage.kind is not StageKind.CLEARING
        )
        self._flips = _plan_flips(self._schedule.stages)
        self._step: _Step | None = None
        self._outstanding: dict[str, tuple[Operation, ...]] = {}
        self._asked: set[str] = set()
        self._failures: dict[str, _Failure] = {}
        self._maybe: dict[str, SwitchRules] = {}
        self._undone: set[Change] = set()
        self._round = 0
        self._back = False
        self._broken = _Broken()
        self._drain: Drain | None = None
        self._told = False
        self._clearing = False
        self._left: set[str] = set()
        self._ended = False
        self._changed = 0
        self._flip_began_s: float | None = None
        self._flipping_s = 0.0

    def start(self, now_s: float) -> tuple[Command, ...]:
        """What to do first."""
        return self._next(now_s)

    def handle(self, event: Event, now_s: float) -> tuple[Command, ...]:
        """What to do after something has happened."""
        match event:
            case Done(switch):
                if (operations := self._outstanding.pop(switch, None)) is not None:
                    self.rules[switch] = apply_operations(self.rules[switch], operations, self._rest)
                    self._changed += len(operations)
            case Refused(switch, reason, left):
                operations = self._outstanding.pop(switch, ())
                self.rules[switch] = left
                self._undone |= {(switch, change) for change in _flow_changes(operations) if not _is_in(change, left)}
                self._fail(switch, Fate.REFUSED, reason)
            case Uncertain(switch, reason):
                self._lose(switch, Fate.UNCERTAIN, reason)
            case Lost(switch):
                self._lose(switch, Fate.LOST, LOST)
            case Passed(packets):
                if self._drain is not None and packets is not None:
                    self._drain.poll(packets)
        return () if self._outstanding or self._ended else self._next(now_s)

    def stop(self) -> None:
        """Give up waiting; a later update clears up what is left."""
        self._ended = True

    def result(self) -> Result:
        """How far it has come."""
        switches = {switch: self._result_of(switch) for switch in self._new}
        moved = {switches[switch].follows for switch in self._flips if switch in switches}
        follows = Follows.NEW if not moved else moved.pop() if len(moved) == 1 else Follows.EITHER
        over = not self._steps and not self._outstanding and self._clearing and self._ended
        overloads = self.order.overloads if self._flips else ()
        if follows is Follows.EITHER:
            overloads = overloads_while(self._moves, self._capacities_bps, self._settled) or overloads
        return Result(
            follows,
            switches,
            self._changed,
            over and not self._failures and not self._left,
            overloads,
            self._flipping_s,
        )

    # ── step by step ─────────────────────────────────────────────────────────────────────────────

    def _next(self, now_s: float) -> tuple[Command, ...]:
        """Go on after a step, or after waiting."""
        self._finish_step(now_s)
        while True:
            if self._failures and not self._clearing and not self._back:
                self._look_at_failures()
            if self._steps:
                self._step = self._steps.popleft()
                if commands := self._begin_step(self._step, now_s):
                    return commands
                self._finish_step(now_s)
            elif self._clearing:
                self._ended = True
                return (Ended(),)
            elif (wait := self._before_clearing(now_s)) is not None:
                return wait

    def _begin_step(self, step: _Step, now_s: float) -> tuple[Command, ...]:
        commands = []
        for switch, operations in step.operations.items():
            chosen = self._allowed(switch, operations, step)
            if chosen:
                self._outstanding[switch] = chosen
                self._asked.add(switch)
                commands.append(Commit(switch, chosen))
        if commands and step.kind is StageKind.FLIP and self._flip_began_s is None:
            self._flip_began_s = now_s
        return tuple(commands)

    def _finish_step(self, now_s: float) -> None:
        step, self._step = self._step, None
        if step is None or step.kind is not StageKind.FLIP:
            return
        self._round += not step.back
        if self._flip_began_s is not None:
            self.flipped_s = now_s
            self._flipping_s = now_s - self._flip_began_s

    def _allowed(self, switch: str, operations: tuple[Operation, ...], step: _Step) -> tuple[Operation, ...]:
        """What of a stage a switch may do, after what went wrong so far."""
        failure = self._failures.get(switch)
        if failure is not None and not (failure.fate is Fate.REFUSED and (step.back or self._clearing)):
            self._undone |= {(switch, change) for change in _flow_changes(operations)}
            if self._clearing:
                self._left.add(switch)
            return ()
        if step.back or self._clearing or not (self._failures or self._undone):
            return operations
        chosen = []
        for operation in operations:
            if isinstance(operation, AddFlow | RemoveFlow) and not self._may(switch, operation):
                self._undone.add((switch, operation))
            else:
                chosen.append(operation)
        return tuple(chosen)

    def _may(self, switch: str, change: FlowChange) -> bool:
        if change.flow.table is Table.CLASSIFY:
            return not self._back
        if change.flow.table < Table.TRANSIT or self._step is None or self._step.kind is StageKind.INNER:
            return True
        if not self._undone.isdisjoint(self._schedule.needs.get((switch, change), ())):
            return False
        if isinstance(change, RemoveFlow):
            return True
        groups = {group.id: group for group in self._new[switch].groups}
        if not self._broken.labels.isdisjoint(labels_put_on(change.flow, groups)):
            return False
        ports = _ports(change.flow, self._new[switch])
        return self._broken.links.isdisjoint(LinkId(switch, port) for port in ports)

    # ── what went wrong ──────────────────────────────────────────────────────────────────────────

    def _fail(self, switch: str, fate: Fate, reason: str) -> None:
        known = self._failures.setdefault(switch, _Failure(fate, reason))
        if self._clearing:
            self._left.add(switch)
        if (known.fate in (Fate.LOST, Fate.REFUSED) and fate is not Fate.LOST) or known.fate is Fate.REFUSED:
            known.fate = fate

    def _lose(self, switch: str, fate: Fate, reason: str) -> None:
        """A switch is out of reach; of what it was told last, anything may be in force."""
        if switch not in self._new:
            return
        operations = self._outstanding.pop(switch, None)
        if operations is not None:
            before = self.rules[switch]
            after = apply_operations(before, operations, self._rest)
            self._maybe[switch] = SwitchRules(
                before.flows | after.flows, before.groups | after.groups, before.meters | after.meters
            )
            self._undone |= {(switch, change) for change in _flow_changes(operations)}
        self._fail(switch, fate, reason)

    def _look_at_failures(self) -> None:
        """Decide whether planned pairs go on; where not, those that have flipped flip back first."""
        self._broken = self._find_broken()
        if not self._flips or self._goes_on():
            return
        self._back = True
        rounds = self.order.round_of
        found: dict[int, dict[str, list[FlowChange]]] = {}
        for switch in self._flips:
            for change in _taking_back(self.rules[switch], self._old[switch]):
                number = rounds.get(_pair(change.flow), 0)
                found.setdefault(number, {}).setdefault(switch, []).append(change)
        for number in sorted(found):
            operations = {switch: tuple(in_turn(changes)) for switch, changes in found[number].items()}
            self._steps.appendleft(_Step(operations, StageKind.FLIP, back=True))

    def _goes_on(self) -> bool:
        """Whether planned pairs can flip, or stay flipped, though some switches failed."""
        pushed = set[int]()
        for switch, changes in self._flips.items():
            groups = {group.id: group for group in self._new[switch].groups}
            pushed.update(label for change in changes for label in labels_put_on(change.flow, groups))
        if self._broken.labels:
            inner = (_without_others(rules) for rules in self._new.values())
            if not self._broken.labels.isdisjoint(needed_labels(inner, pushed)):
                return False
        if not any(self._follows(switch) is not Follows.NEW for switch in self._failures if switch in self._flips):
            return True
        if not self._moves:
            return False
        rounds = self.order.round_of
        for number in range(self._round, len(self.order.rounds) + 1):

            def settled(pair: Pair, number: int = number) -> bool | None:
                if (stays := self._settled(pair, failed_only=True)) is not True:
                    return stays
                at = rounds.get(pair, 0)
                return None if at == number else at < number

            if overloads_while(self._moves, self._capacities_bps, settled):
                return False
        return True

    def _settled(self, pair: Pair, *, failed_only: bool = False) -> bool | None:
        """Whether a pair follows the new plan; None where it may follow either.

        ``failed_only``: pairs at switches that did not fail count as if they did.
        """
        for switch, changes in self._flips.items():
            if failed_only and switch not in self._failures:
                continue
            meant = [change for change in changes if _pair(change.flow) == pair]
            if not meant:
                continue
            if switch in self._maybe:
                return None
            done = [_is_in(change, self.rules[switch]) for change in meant]
            return True if all(done) else None if any(done) else False
        return True

    def _find_broken(self) -> _Broken:
        """Labels and links that lead to a switch which has no rules for them."""
        labels: set[int] = set()
        closed: set[LinkId] = set()
        for switch in self._failures:
            for flow in self._new[switch].flows - self.rules[switch].flows:
                if flow.table is Table.TRANSIT and flow.match.mpls_label is not None:
                    labels.add(flow.match.mpls_label)
                elif admits_switch(flow):
                    closed.add(LinkId(switch, flow.match.in_port or 0))
        links = frozenset(
            link.id
            for link in (self._fabric.links if self._fabric is not None and closed else ())
            if link.reverse_id in closed
        )
        if links:
            for switch in {link.node for link in links} & self._new.keys():
                for flow in self._new[switch].flows:
                    if flow.match.mpls_label is not None and not links.isdisjoint(
                        LinkId(switch, port) for port in _ports(flow, self._new[switch])
                    ):
                        labels.add(flow.match.mpls_label)
        return _Broken(frozenset(labels), links)

    # ── clearing up ──────────────────────────────────────────────────────────────────────────────

    def _before_clearing(self, now_s: float) -> tuple[Command, ...] | None:
        """What comes before old rules go; None where that is over, and the last step is there."""
        doubtful = bool(self._failures) or self._back
        in_force = [self._maybe.get(switch, rules) for switch, rules in self.rules.items()] if doubtful else None
        goal = self._old if self._back else self._new
        operations = clearing(self.rules, goal, in_force=in_force, ports=not doubtful, rest=self._rest)
        labels = frozenset(
            label
            for found in operations.values()
            for change in _flow_changes(found)
            if (label := change.flow.match.mpls_label) is not None
        )
        if self._drain is None:
            self._drain = Drain(labels & self._carried(), self.flipped_s + self._queue_s, self._polled)
        if self._drain.labels and not self._drain.is_over(now_s):
            until_s = max(self._drain.until_s, now_s)
            if self._polled:
                until_s = now_s + POLL_S
            told: tuple[Command, ...] = () if self._told else (Moved(),)
            self._told = True
            return (*told, Wait(until_s, self._drain.labels if self._polled else frozenset()))
        self._clearing = True
        if moving := self._drain.moving() & labels:
            operations = {switch: self._spared(switch, found, moving) for switch, found in operations.items()}
        if operations:
            self._steps.append(_Step(operations, StageKind.CLEARING))
        return None

    def _carried(self) -> frozenset[int]:
        """Labels that packets may carry, or may have carried a while ago."""
        before = frozenset[int]().union(*(labels_of(rules) for rules in self._old.values()))
        if self._flip_began_s is None:
            return before
        return before.union(*(labels_of(rules) for rules in self._new.values()))

    def _spared(
        self, switch: str, operations: tuple[Operation, ...], moving: AbstractSet[int]
    ) -> tuple[Operation, ...]:
        """What goes although some labels still carry packets."""
        kept = [change for change in _flow_changes(operations) if change.flow.match.mpls_label in moving]
        if not kept:
            return operations
        self._left.add(switch)
        return tuple(change for change in _flow_changes(operations) if change not in kept)

    # ── the result ───────────────────────────────────────────────────────────────────────────────

    def _result_of(self, switch: str) -> SwitchResult:
        failure = self._failures.get(switch)
        left = switch in self._left or (failure is not None and switch in self._maybe)
        if failure is not None:
            return SwitchResult(failure.fate, self._follows(switch), failure.reason, left)
        fate = Fate.DONE if switch in self._asked else Fate.UNCHANGED
        return SwitchResult(fate, self._follows(switch), left=left)

    def _follows(self, switch: str) -> Follows:
        if switch not in self._flips:
            return Follows.NEW
        if switch in self._maybe and _classify(self._maybe[switch]) not in (
            _classify(self._new[switch]),
            _classify(self._old[switch]),
        ):
            return Follows.EITHER
        now = _classify(self.rules[switch])
        if now == _classify(self._new[switch]):
            return Follows.NEW
        return Follows.OLD if now == _classify(self._old[switch]) else Follows.EITHER


def _plan_flips(stages: Iterable[Stage]) -> dict[str, tuple[FlowChange, ...]]:
    """What moves planned pairs, by switch."""
    found: dict[str, tuple[FlowChange, ...]] = {}
    for stage in stages:
        if stage.kind is StageKind.FLIP:
            for switch, operations in stage.operations.items():
                flips = [change for change in _flow_changes(operations) if change.flow.table is Table.CLASSIFY]
                if flips:
                    found[switch] = (*found.get(switch, ()), *flips)
    return found


def _taking_back(have: SwitchRules, want: SwitchRules) -> list[FlowChange]:
    """What gives a switch the planned pairs that it had."""
    now, before = _classify(have), _classify(want)
    added = before - now
    keys = {flow.key for flow in added}
    return [
        *(AddFlow(flow) for flow in added),
        *(RemoveFlow(flow) for flow in now - before if flow.key not in keys),
    ]


def _classify(rules: SwitchRules) -> frozenset[FlowRule]:
    return frozenset(flow for flow in rules.flows if flow.table is Table.CLASSIFY)


def _without_others(rules: SwitchRules) -> SwitchRules:
    """The rules that forward on labels, and their groups."""
    return SwitchRules(frozenset(flow for flow in rules.flows if flow.match.mpls_label is not None), rules.groups)


def _flow_changes(operations: Iterable[Operation]) -> list[FlowChange]:
    return [operation for operation in operations if isinstance(operation, AddFlow | RemoveFlow)]


def _is_in(change: FlowChange, rules: SwitchRules) -> bool:
    """Whether a switch with these rules has carried a change out."""
    if isinstance(change, AddFlow):
        return change.flow in rules.flows
    return change.flow not in rules.flows


def _pair(flow: FlowRule) -> Pair:
    return (flow.match.ipv4_src or "", flow.match.ipv4_dst or "")


def _ports(flow: FlowRule, rules: SwitchRules) -> frozenset[int]:
    """Ports by which a rule may send packets, fallbacks included."""
    used = {action.group_id for action in flow.actions if isinstance(action, ToGroup)}
    ways = [flow.actions]
    ways += (bucket.actions for group in rules.groups if group.id in used for bucket in group.buckets)
    return frozenset(action.port for way in ways for action in way if isinstance(action, Output))
