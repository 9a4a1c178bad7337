"""Brings the switches to the rules asked for: does what an update's state machine says, and says how it went."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from controller.rulebounds import RULE_BOUNDS
from controller.runtime import Runtime, Switch, Task
from controller.service import PlanStatus
from dataplane.clearing import labelled_only, labels_of, labels_pushed, needed_labels
from dataplane.drain import DRAIN_S, UNLABELLED
from dataplane.flips import FlipOrder, Move, Overload
from dataplane.machine import UpdateMachine
from dataplane.rules import RuleSet, SwitchRules, ToGroup
from dataplane.update import Operation, Rest, apply_operations, difference, no_rest, resting
from dataplane.updating import (
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
from topologies.errors import HeddleError
from topologies.fabric import Fabric

log = logging.getLogger(__name__)

_LOOK_S = 0.05
_TURN_S = 0.002
"""How long rules are compared before other tasks get a turn: a switch can hold very many."""
_REMEMBERED_S = 30.0
"""How much longer than queues need now it is known when labels were left: earlier paths may have had longer ones."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to install.

    Attributes
    ----------
    rules : RuleSet
        Switches that are missing here are left as they are: whoever made the target did not know them.
    leave : frozenset of str
        Switches that take no rules, and are left as they are too.
    spared : frozenset of int
        Labels that a switch out of reach may still push: whoever forwards on one goes on doing so.
    plan : PlanStatus, optional
        What planned traffic follows then.
    fabric : Fabric, optional
        What the rules were made for. Without it default routing may lose packets while it changes.
    moves : tuple of Move
        What every planned pair puts on links before and after. Without them pairs flip all at once, and all flip back
        where one of their switches does not do it.
    flips : FlipOrder, optional
        The order for these moves, where it is known already.
    queue_s : float
        What packets may spend in the queues of their path (`dataplane.drain.queue_s`).
    """

    rules: RuleSet
    leave: frozenset[str] = frozenset()
    spared: frozenset[int] = frozenset()
    plan: PlanStatus | None = None
    fabric: Fabric | None = None
    moves: tuple[Move, ...] = ()
    flips: FlipOrder | None = None
    queue_s: float = DRAIN_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far an installation has come: traffic follows the target, or not, and what was before is gone, or not yet.

    Attributes
    ----------
    target : Target
        What was asked for.
    changed : int
        Operations carried out.
    errors : dict of str to str
        By switch, the first thing that went wrong there; empty where every switch in reach has the rules.
    refused : frozenset of str
        Switches among these that were asked and did not do it: they refused, or did not answer.
    crowded : bool
        Whether nothing was sent, as these switches cannot hold what is new beside what is old.
    served : frozenset of str
        Switches that have the target's rules, and stayed connected all the while.
    cleared : bool
        Whether the old rules are gone as well.
    follows : Follows
        Which plan planned traffic follows: each pair one of them, whole.
    switches : dict of str to SwitchResult
        What became of each switch.
    overloads : tuple of Overload
        Links that could get too much while pairs flipped.
    flipping_s : float
        How long that lasted.
    """

    target: Target
    changed: int
    errors: dict[str, str]
    refused: frozenset[str] = frozenset()
    served: frozenset[str] = frozenset()
    cleared: bool = False
    follows: Follows = Follows.OLD
    switches: dict[str, SwitchResult] = field(default_factory=dict)
    overloads: tuple[Overload, ...] = ()
    flipping_s: float = 0.0
    crowded: bool = False


def turns(runtime: Runtime) -> Rest:
    """What long work calls now and then: it lets other tasks run once a turn is over."""
    ends_s = runtime.now_s() + _TURN_S

    def rest() -> None:
        nonlocal ends_s
        if runtime.now_s() >= ends_s:
            runtime.sleep(0)
            ends_s = runtime.now_s() + _TURN_S

    return rest


class Installer:
    """One installation at a time; a newer target waits for the running one and then starts from its result.

    Parameters
    ----------
    report : callable
        Takes each outcome, in the OpenFlow thread; of one target first that traffic follows it, or that it does not,
        then the end.
    announce : callable, optional
        Told before paths change where a link may get too much meanwhile.
    """

    def __init__(
        self,
        runtime: Runtime,
        report: Callable[[Outcome], None],
        announce: Callable[[str], None] = log.warning,
    ) -> None:
        self._runtime = runtime
        self._report = report
        self._announce = announce
        self._switches: dict[str, Switch] = {}
        self._target: Target | None = None
        self._wanted = False
        self._running = False
        # When a switch last stopped putting a label on packets: these are under way for a while.
        self._left_s: dict[int, float] = {}
        self._began_s = runtime.now_s()
        self._fabric: Fabric | None = None
        self._update: _Update | None = None
        self.installed: dict[str, SwitchRules] = {}
        self._labels: dict[str, tuple[SwitchRules, _Labels]] = {}

    def connected(self, name: str, switch: Switch, rules: SwitchRules) -> None:
        """A switch is there, with these rules of ours in its tables."""
        self._switches[name] = switch
        self.installed[name] = rules

    def disconnected(self, name: str) -> None:
        """A switch is out of reach; its rules are read again when it returns."""
        self._switches.pop(name, None)
        self.installed.pop(name, None)
        self._labels.pop(name, None)
        if self._update is not None and name in self._update.switches:
            self._update.events.append(Lost(name))

    @property
    def reachable(self) -> frozenset[str]:
        """Switches whose rules are known and that take new ones."""
        return frozenset(self._switches)

    @property
    def busy(self) -> bool:
        """Whether an installation is under way."""
        return self._running

    def labels(self) -> frozenset[int]:
        """Labels that some switch within reach pushes or forwards on, detours and fallbacks included."""
        return frozenset[int]().union(*(labels.known for labels in self._labels_by_switch().values()))

    def pushed(self) -> frozenset[tuple[int, str]]:
        """Labels that switches within reach put on packets without one, each with its switch."""
        return frozenset((label, name) for name, labels in self._labels_by_switch().items() for label in labels.pushed)

    def _labels_by_switch(self) -> dict[str, _Labels]:
        for name, rules in self.installed.items():
            # Asked for with every plan, and the rules of most switches are the same as before.
            if name not in self._labels or self._labels[name][0] is not rules:
                self._labels[name] = rules, _Labels(labels_of(rules), labels_pushed(rules))
        return {name: labels for name, (_, labels) in self._labels.items()}

    def aim(self, target: Target) -> None:
        """Install this, once a running installation has ended."""
        self._target = target
        self._wanted = True
        if not self._running:
            self._running = True
            self._runtime.spawn(self._run)

    def _run(self) -> None:
        try:
            while self._wanted and self._target is not None:
                self._wanted = False
                try:
                    self._install(self._target)
                except Exception as error:
                    log.exception("an installation failed")
                    reason = f"{type(error).__name__}: {error}; the log has more, report it"
                    self._report(Outcome(self._target, 0, {"the installation": reason}))
                finally:
                    self._update = None
        finally:
            self._running = False

    def _install(self, target: Target) -> None:
        wanted = target.rules.keys() - target.leave
        if lost := wanted - self._switches.keys():
            # It was there when this was planned, so traffic would cross it by rules that it never got.
            self._report(Outcome(target, 0, dict.fromkeys(sorted(lost), LOST)))
            return
        switches = {name: self._switches[name] for name in sorted(wanted)}
        self._update = update = _Update(switches)
        rest = turns(self._runtime)
        old = {name: self.installed[name] for name in switches}
        # Who takes no part goes on by the rules that it has.
        spared = target.spared | {label for label, name in self.pushed() if name not in switches}
        new = _sparing({name: target.rules[name] for name in switches}, old, spared, rest)
        if crowded := {name: excess for name in switches if (excess := _excess(old[name], new[name]))}:
            self._report(Outcome(target, 0, crowded, crowded=True))
            return
        self._forget_drained(target.queue_s)
        machine = UpdateMachine(
            old,
            new,
            fabric=target.fabric,
            before=self._fabric,
            moves=target.moves,
            flips=target.flips,
            queue_s=target.queue_s,
            left_s=self._last_left(target.queue_s),
            rest=rest,
        )
        self._fabric = target.fabric
        if overloads := machine.order.overloads:
            more = f", and {len(overloads) - 1} more links" if len(overloads) > 1 else ""
            known = "no order of changes avoids it" if machine.order.proven else "no order that avoids it was found"
            self._announce(f"{overloads[0]}{more}; {known}")
        self._carry_out(machine, target, update)

    def _last_left(self, queue_s: float) -> Mapping[int, float]:
        """When labels were left; of what an earlier run did it is known only that it was before this one began."""
        if self._runtime.now_s() >= self._began_s + queue_s:
            return self._left_s
        return dict.fromkeys(self.labels() | {UNLABELLED}, self._began_s) | self._left_s

    def _forget_drained(self, queue_s: float) -> None:
        """Drop labels that nothing has carried for long."""
        since_s = self._runtime.now_s() - queue_s - _REMEMBERED_S
        self._left_s = {label: left_s for label, left_s in self._left_s.items() if left_s > since_s}

    def _carry_out(self, machine: UpdateMachine, target: Target, update: _Update) -> None:
        """Do what an update says until it ends, or something newer is to be installed, which clears up as well."""
        reporter = _Reporter(machine, target, lambda: self._still_there(update.switches), self._report)
        commands = machine.start(self._runtime.now_s())
        while not update.ended:
            if not self._obey(commands, reporter, update):
                machine.stop()
                return
            commands = ()
            while update.events and not commands:
                commands = machine.handle(update.events.pop(0), self._runtime.now_s())
                self._left_s = machine.left_s
                for name in self._still_there(update.switches):
                    self.installed[name] = machine.rules[name]
        reporter.end()

    def _obey(self, commands: Sequence[Command], reporter: _Reporter, update: _Update) -> bool:
        """Carry commands out, all switches at once; False where something newer need not wait any longer."""
        tasks: list[Task] = []
        for command in commands:
            match command:
                case Commit(name, operations):
                    tasks.append(self._spawn_commit(name, operations, update))
                case Moved():
                    reporter.moved()
                case Wait(until_s):
                    if not self._wait(until_s, reporter.machine):
                        return False
                    update.events.append(Passed())
                case Ended():
                    update.ended = True
        for task in tasks:
            task.wait()
        return True

    def _still_there(self, switches: Mapping[str, Switch]) -> frozenset[str]:
        """Those of these that were not lost since; who has returned may have lost its rules."""
        return frozenset(name for name, switch in switches.items() if self._switches.get(name) is switch)

    def _wait(self, until_s: float, machine: UpdateMachine) -> bool:
        """Wait for packets under way; False where something newer is to be installed and fits beside what is there."""
        looked_at: Target | None = None
        while self._runtime.now_s() < until_s:
            if self._wanted and self._target is not None and self._target is not looked_at:
                looked_at = self._target
                if _fits_beside(machine, self._target):
                    return False
            self._runtime.sleep(_LOOK_S)
        return True

    def _spawn_commit(self, name: str, operations: tuple[Operation, ...], update: _Update) -> Task:
        return self._runtime.spawn(lambda: update.events.append(self._commit(name, update.switches[name], operations)))

    def _commit(self, name: str, switch: Switch, operations: Sequence[Operation]) -> Event:
        """Carry operations out on a switch, and say what came of it."""
        if self._switches.get(name) is not switch:
            # It may be back, restarted and empty: what was computed from its old rules does not fit.
            return Lost(name)
        try:
            refused = self._tell(name, switch, operations)
            return Refused(name, refused[0], switch.read_rules().held) if refused else Done(name)
        except HeddleError as error:
            # Nobody knows what it has carried out. When it returns its rules are read anew.
            switch.disconnect(f"its rules are uncertain: {error}")
            return Uncertain(name, str(error))

    @staticmethod
    def _tell(name: str, switch: Switch, operations: Sequence[Operation]) -> tuple[str, ...]:
        try:
            return switch.commit(operations)
        except HeddleError:
            raise
        except Exception as error:
            log.exception("installing on %s failed", name)
            return (f"{type(error).__name__}: {error}; the log has more, report it",)


@dataclass(frozen=True, slots=True)
class _Labels:
    """Labels that a switch knows, and those of them that it puts on packets without one."""

    known: frozenset[int]
    pushed: frozenset[int]


@dataclass(slots=True)
class _Update:
    """An update under way: who takes part, and what has happened that its machine was not told yet."""

    switches: dict[str, Switch]
    events: list[Event] = field(default_factory=list)
    ended: bool = False


@dataclass(slots=True)
class _Reporter:
    """Says how far an update has come, each thing once."""

    machine: UpdateMachine
    target: Target
    still_there: Callable[[], frozenset[str]]
    report: Callable[[Outcome], None]
    _changed: int = 0
    _known: dict[str, str] = field(default_factory=dict)

    def moved(self) -> None:
        """Traffic has moved, or failed to."""
        self.report(self._outcome(self.machine.result()))

    def end(self) -> None:
        """Everything is done that will be; where it failed before, that was said."""
        known = dict(self._known)
        outcome = self._outcome(self.machine.result())
        if not known or outcome.errors:
            self.report(outcome)

    def _outcome(self, result: Result) -> Outcome:
        errors = {
            name: switch.reason for name, switch in result.switches.items() if switch.reason and name not in self._known
        }
        asked = (Fate.REFUSED, Fate.UNCERTAIN)
        changed, self._changed = result.changed - self._changed, result.changed
        self._known |= errors
        return Outcome(
            self.target,
            changed,
            errors,
            frozenset(name for name in errors if result.switches[name].fate in asked),
            self.machine.served() & self.still_there() if not errors else frozenset(),
            result.cleared,
            result.follows,
            result.switches,
            result.overloads,
            result.flipping_s,
        )


def add_missing(
    switch: Switch, have: SwitchRules, wanted: SwitchRules, rest: Rest = no_rest
) -> tuple[SwitchRules, tuple[str, ...]]:
    """Give a switch what it lacks and take nothing away.

    Parameters
    ----------
    rest : callable, optional
        Called now and then while rules are compared, as `turns` makes it.

    Returns
    -------
    tuple of SwitchRules and tuple of str
        The rules that it has then, and what it refused.

    Raises
    ------
    HeddleError
        The switch did not answer.
    """
    keys = {flow.key for flow in resting(have.flows, rest)}
    known = {meter.id for meter in have.meters}
    union = SwitchRules(
        have.flows | {flow for flow in wanted.flows if flow.key not in keys},
        have.groups | wanted.groups,
        have.meters | {meter for meter in wanted.meters if meter.id not in known},
    )
    operations = difference(have, union, rest).additions()
    refused = switch.commit(operations) if operations else ()
    return (switch.read_rules().held if refused else apply_operations(have, operations, rest)), refused


def _excess(old: SwitchRules, new: SwitchRules) -> str | None:
    """What a switch would hold too many of while both are on it: it could not come back with them."""
    excess = RULE_BOUNDS.excess(_both(old, new)) if old != new else None
    return f"the plan would put {excess} on it; give it fewer jobs" if excess else None


def _both(old: SwitchRules, new: SwitchRules) -> SwitchRules:
    return SwitchRules(old.flows | new.flows, old.groups | new.groups, old.meters | new.meters)


def _fits_beside(machine: UpdateMachine, target: Target) -> bool:
    """Whether a newer target finds room beside what an older one has not cleared away yet.

    While an update runs, a switch holds at most twice of what it holds before or after.
    """
    for name, rules in machine.rules.items():
        wanted, steady = target.rules.get(name, SwitchRules()), machine.goal(name)
        most = 2 * max(_size(wanted), _size(steady))
        if _size(rules) + _size(wanted) > most and _size(_both(rules, wanted)) > most:
            return False
    return True


def _size(rules: SwitchRules) -> int:
    return len(rules.flows) + len(rules.groups)


def _sparing(wanted: RuleSet, have: RuleSet, spared: AbstractSet[int], rest: Rest) -> RuleSet:
    """The wanted rules, with those that forward on spared labels left in, and on what these labels turn into."""
    if not spared:
        return wanted
    spared = needed_labels((labelled_only(rules) for rules in have.values()), spared)
    return {name: _spare(rules, have[name], spared, rest) for name, rules in wanted.items()}


def _spare(wanted: SwitchRules, have: SwitchRules, spared: AbstractSet[int], rest: Rest) -> SwitchRules:
    kept = [flow for flow in resting(have.flows, rest) if flow.match.mpls_label in spared]
    if not kept:
        return wanted
    keys = {flow.key for flow in wanted.flows}
    kept = [flow for flow in kept if flow.key not in keys]
    used = {action.group_id for flow in kept for action in flow.actions if isinstance(action, ToGroup)}
    # Where the wanted rules have another group of the same id, that one gets a new id: see `difference`.
    groups = frozenset(group for group in have.groups if group.id in used)
    return replace(wanted, flows=wanted.flows.union(kept), groups=wanted.groups | groups)
