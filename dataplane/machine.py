"""An update as a state machine: answers of switches and time come in, what to send and how long to wait comes out.

What goes wrong on one switch never leaves traffic between two plans. Before a planned pair flips, every switch has the
rules for its new path. If one does not, no pair flips, and what was added goes again. If a pair's own switch does not
flip it, the others go on where the links bear both (their loads are known, and fit), and flip back where not. Default
routing, which promises no loads, goes on at every switch that does not build on the one that failed. Labels that a
switch may still put on packets keep their rules everywhere. Once traffic has moved, nothing is taken back: what could
not be cleared away is left for the next update.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataplane.clearing import admits_switch, clearing, labelled_only, labels_put_on, needed_labels, ports_of
from dataplane.drain import DRAIN_S, UNLABELLED
from dataplane.flips import FlipOrder, Move, Pair, order_flips, overloads_while
from dataplane.operations import AddFlow, Operation, RemoveFlow, Rest, apply_operations, no_rest
from dataplane.order import Change, FlowChange, in_turn
from dataplane.pairs import flow_changes, is_in, is_planned, pair_of, plan_flips, planned, taking_back
from dataplane.rules import RuleSet, SwitchRules, Table
from dataplane.update import StageKind, schedule
from dataplane.updating import (
    GRAVITY,
    LOST,
    Command,
    Commit,
    Done,
    Ended,
    Event,
    Fate,
    Follows,
    Lost,
    Moved,
    Passed,
    Refused,
    Result,
    SwitchResult,
    Uncertain,
    Wait,
)
from topologies.fabric import Fabric, LinkId


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
    left_s : mapping of int to float, optional
        When a switch last stopped putting a label on packets, before this update; for `UNLABELLED`, when default
        routing last changed.
    rest : callable, optional
        Called now and then.

    Attributes
    ----------
    rules : dict of str to SwitchRules
        What each switch has, as far as that is known.
    left_s : dict of int to float
        When a switch last stopped putting a label on packets.
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
        left_s: Mapping[int, float] | None = None,
        rest: Rest = no_rest,
    ) -> None:
        self._moves = moves
        self._capacities_bps = {
            link.id: link.capacity_bps for link in (fabric.links if fabric is not None else ()) if link.capacity_bps
        }
        self.order = flips if flips is not None else order_flips(moves, self._capacities_bps)
        self._schedule = schedule(
            old, new, rest, fabric=fabric, before=before, rounds=self.order.round_of, clears=False
        )
        self._old: dict[str, SwitchRules] = {switch: old.get(switch, SwitchRules()) for switch in self._schedule.new}
        self._new = self._schedule.new
        self._fabric = fabric
        self._queue_s = queue_s
        self._rest = rest
        self.rules = dict(self._old)
        self.left_s = dict(left_s or {})
        self._before_step: dict[str, SwitchRules] = {}
        self._steps = deque(_Step(stage.operations, stage.kind) for stage in self._schedule.stages)
        self._flips = plan_flips(self._schedule.stages)
        self._step: _Step | None = None
        self._outstanding: dict[str, tuple[Operation, ...]] = {}
        self._asked: set[str] = set()
        self._failures: dict[str, _Failure] = {}
        self._maybe: dict[str, SwitchRules] = {}
        self._undone: set[Change] = set()
        self._round = 0
        self._back = False
        self._broken = _Broken()
        self._drained_s: float | None = None
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
                self._undone |= {(switch, change) for change in flow_changes(operations) if not is_in(change, left)}
                self._fail(switch, Fate.REFUSED, reason)
            case Uncertain(switch, reason):
                self._lose(switch, Fate.UNCERTAIN, reason)
            case Lost(switch):
                self._lose(switch, Fate.LOST, LOST)
            case Passed():
                pass
        return () if self._outstanding or self._ended else self._next(now_s)

    def stop(self) -> None:
        """Give up waiting; a later update clears up what is left."""
        self._ended = True

    def result(self) -> Result:
        """How far it has come."""
        switches = {switch: self._result_of(switch) for switch in self._new}
        moved = {switches[switch].follows for switch in self._flips}
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

    def goal(self, switch: str) -> SwitchRules:
        """What a switch shall have in the end, as things stand."""
        return (self._old if self._back else self._new).get(switch, SwitchRules())

    def served(self) -> frozenset[str]:
        """Switches that have all the new rules."""
        return frozenset(
            switch
            for switch, rules in self._new.items()
            if switch not in self._failures and rules.flows <= self.rules[switch].flows
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
        if commands and step.kind is StageKind.FLIP:
            self._before_step = {switch: self.rules[switch] for switch in self._outstanding}
            if self._flip_began_s is None:
                self._flip_began_s = now_s
        return tuple(commands)

    def _finish_step(self, now_s: float) -> None:
        step, self._step = self._step, None
        if step is None or step.kind is not StageKind.FLIP:
            return
        self._round += not step.back
        if self._flip_began_s is not None:
            self._flipping_s = now_s - self._flip_began_s
        for switch, before in self._before_step.items():
            groups = {group.id: group for group in before.groups}
            for flow in before.flows - self.rules[switch].flows:
                self.left_s |= dict.fromkeys(labels_put_on(flow, groups), now_s)
                if flow.table is Table.DEFAULT:
                    self.left_s[UNLABELLED] = now_s
        self._before_step = {}

    def _allowed(self, switch: str, operations: tuple[Operation, ...], step: _Step) -> tuple[Operation, ...]:
        """What of a stage a switch may do, after what went wrong so far."""
        failure = self._failures.get(switch)
        if failure is not None and not (failure.fate is Fate.REFUSED and (step.back or self._clearing)):
            self._undone |= {(switch, change) for change in flow_changes(operations)}
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
        if is_planned(change.flow):
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
        ports = ports_of(change.flow, self._new[switch])
        return self._broken.links.isdisjoint(LinkId(switch, port) for port in ports)

    # ── what went wrong ──────────────────────────────────────────────────────────────────────────

    def _fail(self, switch: str, fate: Fate, reason: str) -> None:
        known = self._failures.setdefault(switch, _Failure(fate, reason))
        known.fate = max(known.fate, fate, key=GRAVITY.index)
        if self._clearing:
            self._left.add(switch)

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
            self._undone |= {(switch, change) for change in flow_changes(operations)}
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
            for change in taking_back(self.rules[switch], self._old[switch]):
                number = rounds.get(pair_of(change.flow), 0)
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
            inner = (labelled_only(rules) for rules in self._new.values())
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
            meant = [change for change in changes if pair_of(change.flow) == pair]
            if not meant:
                continue
            if switch in self._maybe:
                return None
            done = [is_in(change, self.rules[switch]) for change in meant]
            return True if all(done) else None if any(done) else False
        return True

    def _find_broken(self) -> _Broken:
        """Labels and links that lead to a switch which has no rules for them."""
        labels: set[int] = set()
        closed: set[LinkId] = set()
        for switch in self._failures:
            missing = self._new[switch].flows - self.rules[switch].flows
            has = {flow.key for flow in self.rules[switch].flows - self._new[switch].flows}
            for flow in missing:
                if flow.table is Table.TRANSIT and flow.match.mpls_label is not None and flow.key not in has:
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
                        LinkId(switch, port) for port in ports_of(flow, self._new[switch])
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
        going = frozenset(
            change.flow.match.mpls_label or UNLABELLED
            for found in operations.values()
            for change in flow_changes(found)
        )
        if self._drained_s is None:
            last_s = max((self.left_s[label] for label in going & self.left_s.keys()), default=-math.inf)
            self._drained_s = last_s + self._queue_s
        if now_s < self._drained_s:
            told: tuple[Command, ...] = () if self._told else (Moved(),)
            self._told = True
            return (*told, Wait(self._drained_s))
        self._clearing = True
        if operations:
            self._steps.append(_Step(operations, StageKind.CLEARING))
        return None

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
            return Follows.OLD if self._back else Follows.NEW
        if switch in self._maybe and planned(self._maybe[switch]) not in (
            planned(self._new[switch]),
            planned(self._old[switch]),
        ):
            return Follows.EITHER
        now = planned(self.rules[switch])
        if now == planned(self._new[switch]):
            return Follows.NEW
        return Follows.OLD if now == planned(self._old[switch]) else Follows.EITHER
