"""Brings the switches to the rules asked for, in the order that `dataplane.update` computes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from controller.rulebounds import RULE_BOUNDS
from controller.runtime import Runtime, Switch
from dataplane.rules import PushLabel, RuleSet, SwitchRules, Table
from dataplane.update import (
    AddFlow,
    Operation,
    RemoveFlow,
    Rest,
    Stage,
    apply_operations,
    difference,
    no_rest,
    resting,
    stages,
)
from topologies.errors import HeddleError

log = logging.getLogger(__name__)

DRAIN_S = 2.0
"""Wait before old labels go: what packets under way may spend in the queues of their path."""
_LOOK_S = 0.05
_TURN_S = 0.002
"""How long rules are compared before other tasks get a turn: a switch can hold very many."""


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
    """

    rules: RuleSet
    leave: frozenset[str] = frozenset()
    spared: frozenset[int] = frozenset()


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
    served : frozenset of str
        Switches that have the target's rules, and stayed connected all the while.
    cleared : bool
        Whether the old rules are gone as well.
    """

    target: Target
    changed: int
    errors: dict[str, str]
    refused: frozenset[str] = frozenset()
    served: frozenset[str] = frozenset()
    cleared: bool = False


class _Refused(HeddleError):
    """A switch did not carry out what it was told."""


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
        Takes each outcome, in the OpenFlow thread; of one target first that traffic follows it, then the end.
    """

    def __init__(self, runtime: Runtime, report: Callable[[Outcome], None]) -> None:
        self._runtime = runtime
        self._report = report
        self._switches: dict[str, Switch] = {}
        self._target: Target | None = None
        self._wanted = False
        self._running = False
        # When an ingress last stopped pushing labels: their packets are under way for a while.
        self._flipped_s = runtime.now_s() - DRAIN_S
        self.installed: dict[str, SwitchRules] = {}
        self._labels: dict[str, tuple[SwitchRules, frozenset[int]]] = {}

    def connected(self, name: str, switch: Switch, rules: SwitchRules) -> None:
        """A switch is there, with these rules of ours in its tables."""
        self._switches[name] = switch
        self.installed[name] = rules

    def disconnected(self, name: str) -> None:
        """A switch is out of reach; its rules are read again when it returns."""
        self._switches.pop(name, None)
        self.installed.pop(name, None)
        self._labels.pop(name, None)

    @property
    def reachable(self) -> frozenset[str]:
        """Switches whose rules are known and that take new ones."""
        return frozenset(self._switches)

    @property
    def busy(self) -> bool:
        """Whether an installation is under way."""
        return self._running

    def labels(self) -> frozenset[int]:
        """Path labels that some switch within reach pushes or forwards on."""
        for name, rules in self.installed.items():
            # Asked for with every plan, and the rules of most switches are the same as before.
            if name not in self._labels or self._labels[name][0] is not rules:
                self._labels[name] = rules, _labels(rules)
        return frozenset[int]().union(*(labels for _, labels in self._labels.values()))

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
            self._running = False

    def _install(self, target: Target) -> None:
        wanted = target.rules.keys() - target.leave
        if lost := wanted - self._switches.keys():
            # It was there when this was planned, so traffic would cross it by rules that it never got.
            self._report(Outcome(target, 0, dict.fromkeys(sorted(lost), "it was disconnected meanwhile")))
            return
        switches = {name: self._switches[name] for name in sorted(wanted)}
        rest = turns(self._runtime)
        old = {name: self.installed[name] for name in switches}
        new = {name: _sparing(target.rules[name], rules, target.spared, rest) for name, rules in old.items()}
        if crowded := {name: excess for name in switches if (excess := _excess(old[name], new[name]))}:
            self._report(Outcome(target, 0, crowded))
            return
        changed = 0
        drained = False
        for stage in stages(old, new, rest):
            if not drained and _removes_labels(stage, rest):
                self._report(Outcome(target, changed, {}, served=self._still_there(switches)))
                if not self._drain():
                    return
                drained, changed = True, 0
            changed += sum(len(operations) for operations in stage.operations.values())
            errors, refused = self._carry_out(stage, switches)
            if _flips(stage, rest):
                self._flipped_s = self._runtime.now_s()
            if errors:
                # Later stages count on this one, on every switch: no ingress may flip to labels unknown downstream.
                self._report(Outcome(target, changed, errors, refused))
                return
        self._report(Outcome(target, changed, {}, served=self._still_there(switches), cleared=True))

    def _still_there(self, switches: dict[str, Switch]) -> frozenset[str]:
        """Those of these that were not lost since; who has returned may have lost its rules."""
        return frozenset(name for name, switch in switches.items() if self._switches.get(name) is switch)

    def _drain(self) -> bool:
        """Wait for packets under way; False where something newer is to be installed, which then clears up as well."""
        while self._runtime.now_s() < self._flipped_s + DRAIN_S:
            if self._wanted:
                return False
            self._runtime.sleep(_LOOK_S)
        return True

    def _carry_out(self, stage: Stage, switches: dict[str, Switch]) -> tuple[dict[str, str], frozenset[str]]:
        """One stage on all its switches at once: it ends when each has answered its barrier; errors and who refused."""
        errors: dict[str, str] = {}
        refused: set[str] = set()

        def on(name: str, operations: Sequence[Operation]) -> None:
            try:
                self._commit(name, switches[name], operations)
            except _Refused as error:
                errors[name] = str(error)
                refused.add(name)
            except HeddleError as error:
                errors[name] = str(error)
            except Exception as error:
                log.exception("installing on %s failed", name)
                errors[name] = f"{type(error).__name__}: {error}; the log has more, report it"

        tasks = [
            self._runtime.spawn(lambda name=name, operations=operations: on(name, operations))  # type: ignore[misc]
            for name, operations in stage.operations.items()
        ]
        for task in tasks:
            task.wait()
        return errors, frozenset(refused)

    def _commit(self, name: str, switch: Switch, operations: Sequence[Operation]) -> None:
        """Carry operations out on a switch, and keep account of its rules."""
        if self._switches.get(name) is not switch:
            # It may be back, restarted and empty: what was computed from its old rules does not fit.
            raise HeddleError("it was disconnected meanwhile")
        have = self.installed[name]
        try:
            refused = switch.commit(operations)
            left = switch.read_rules()[0] if refused else apply_operations(have, operations, turns(self._runtime))
        except HeddleError as error:
            # Nobody knows what it has carried out. When it returns its rules are read anew.
            switch.disconnect(f"its rules are uncertain: {error}")
            raise _Refused(str(error)) from error
        if self._switches.get(name) is switch:
            self.installed[name] = left
        if refused:
            raise _Refused(refused[0])


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
    return (switch.read_rules()[0] if refused else apply_operations(have, operations, rest)), refused


def _excess(old: SwitchRules, new: SwitchRules) -> str | None:
    """What a switch would hold too many of while both are on it: it could not come back with them."""
    excess = RULE_BOUNDS.excess(SwitchRules(old.flows | new.flows, old.groups | new.groups))
    return f"the plan would put {excess} on it; give it fewer jobs" if excess else None


def _labels(rules: SwitchRules) -> frozenset[int]:
    matched = {flow.match.mpls_label for flow in rules.flows if flow.match.mpls_label is not None}
    pushed = {action.label for flow in rules.flows for action in flow.actions if isinstance(action, PushLabel)}
    return frozenset(matched | pushed)


def _sparing(wanted: SwitchRules, have: SwitchRules, spared: AbstractSet[int], rest: Rest) -> SwitchRules:
    """The wanted rules, with those that forward on spared labels left in."""
    keys = {flow.key for flow in wanted.flows}
    kept = {flow for flow in resting(have.flows, rest) if flow.match.mpls_label in spared and flow.key not in keys}
    return replace(wanted, flows=wanted.flows | kept) if kept else wanted


def _flips(stage: Stage, rest: Rest) -> bool:
    """Whether a stage may have made an ingress stop pushing a label."""
    return any(
        isinstance(operation, AddFlow | RemoveFlow) and operation.flow.table is Table.CLASSIFY
        for operations in stage.operations.values()
        for operation in resting(operations, rest)
    )


def _removes_labels(stage: Stage, rest: Rest) -> bool:
    return any(
        isinstance(operation, RemoveFlow) and operation.flow.match.mpls_label is not None
        for operations in stage.operations.values()
        for operation in resting(operations, rest)
    )
