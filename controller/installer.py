"""Brings the switches to the rules asked for, in the order that `dataplane.update` computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.runtime import Runtime, Switch
from dataplane.rules import PushLabel, RuleSet, SwitchRules
from dataplane.update import Operation, RemoveFlow, Stage, apply_operations, difference, stages
from topologies.errors import HeddleError

DRAIN_S = 0.5
"""Wait before old labels go: the time that packets under way may spend in queues on their path."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an installation ended.

    Attributes
    ----------
    target : RuleSet
        What was asked for.
    changed : int
        Operations carried out.
    errors : tuple of str
        What went wrong, one sentence each; empty where every reachable switch has the rules.
    """

    target: RuleSet
    changed: int
    errors: tuple[str, ...]


class Installer:
    """One installation at a time; a newer target waits for the running one and then starts from its result.

    Parameters
    ----------
    report : callable
        Takes each outcome, in the OpenFlow thread.
    """

    def __init__(self, runtime: Runtime, report: Callable[[Outcome], None]) -> None:
        self._runtime = runtime
        self._report = report
        self._switches: dict[str, Switch] = {}
        self._target: RuleSet | None = None
        self._wanted = False
        self._running = False
        self.installed: dict[str, SwitchRules] = {}

    def connected(self, name: str, switch: Switch, rules: SwitchRules) -> None:
        """A switch is there, with these rules of ours in its tables."""
        self._switches[name] = switch
        self.installed[name] = rules

    def disconnected(self, name: str) -> None:
        """A switch is out of reach; its rules are read again when it returns."""
        self._switches.pop(name, None)
        self.installed.pop(name, None)

    def labels(self) -> frozenset[int]:
        """Path labels that some switch within reach pushes or forwards on."""
        flows = [flow for rules in self.installed.values() for flow in rules.flows]
        matched = {flow.match.mpls_label for flow in flows if flow.match.mpls_label is not None}
        pushed = {action.label for flow in flows for action in flow.actions if isinstance(action, PushLabel)}
        return frozenset(matched | pushed)

    def add_missing(self, name: str, wanted: SwitchRules) -> tuple[str, ...]:
        """Give one switch what it lacks and take nothing away; returns what it refused.

        Raises
        ------
        HeddleError
            The switch did not answer.
        """
        have = self.installed.get(name, SwitchRules())
        keys = {flow.key for flow in have.flows}
        union = SwitchRules(
            have.flows | {flow for flow in wanted.flows if flow.key not in keys},
            have.groups | wanted.groups,
            have.meters | {meter for meter in wanted.meters if meter.id not in {known.id for known in have.meters}},
        )
        return self._commit(name, difference(have, union).additions())

    def aim(self, target: RuleSet) -> None:
        """Install these rules, once a running installation has ended."""
        self._target = target
        self._wanted = True
        if not self._running:
            self._running = True
            self._runtime.spawn(self._run)

    def _run(self) -> None:
        try:
            while self._wanted and self._target is not None:
                self._wanted = False
                self._report(self._install(self._target))
        finally:
            self._running = False

    def _install(self, target: RuleSet) -> Outcome:
        old = {name: self.installed[name] for name in self._switches}
        new = {name: target.get(name, SwitchRules()) for name in old}
        changed = 0
        errors: list[str] = []
        drained = False
        for stage in stages(old, new):
            if not drained and _removes_labels(stage):
                self._runtime.sleep(DRAIN_S)
                drained = True
            changed += sum(len(operations) for operations in stage.operations.values())
            errors += self._carry_out(stage)
            if errors:
                break
        return Outcome(target, changed, tuple(errors))

    def _carry_out(self, stage: Stage) -> list[str]:
        """One stage on all its switches at once: it ends when each has answered its barrier."""
        errors = [f"{name}: it is disconnected" for name in stage.operations if name not in self._switches]

        def on(name: str, operations: Sequence[Operation]) -> None:
            try:
                errors.extend(f"{name}: {refused}" for refused in self._commit(name, operations))
            except HeddleError as error:
                # Later stages count on this one, on every switch: no ingress may flip to labels unknown downstream.
                errors.append(f"{name}: {error}")

        tasks = [
            self._runtime.spawn(lambda name=name, operations=operations: on(name, operations))  # type: ignore[misc]
            for name, operations in stage.operations.items()
            if name in self._switches
        ]
        for task in tasks:
            task.wait()
        return errors

    def _commit(self, name: str, operations: Sequence[Operation]) -> tuple[str, ...]:
        switch = self._switches.get(name)
        if switch is None or not operations:
            return ()
        refused = switch.commit(operations)
        if refused:
            self.installed[name], _ = switch.read_rules()
        elif name in self.installed:
            self.installed[name] = apply_operations(self.installed[name], operations)
        return refused


def _removes_labels(stage: Stage) -> bool:
    return any(
        isinstance(operation, RemoveFlow) and operation.flow.match.mpls_label is not None
        for operations in stage.operations.values()
        for operation in operations
    )
