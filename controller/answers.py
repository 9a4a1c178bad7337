"""Requests to the planner's process, and its answers: only what changed since the last answer travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.planning import PlanAnswer, PlanRequest
from controller.service import PlannedPath, PlanStatus
from dataplane.rules import RuleSet, SwitchRules

_NONE = SwitchRules()


@dataclass(frozen=True, slots=True)
class RulesChange:
    """What becomes of the rules of one switch."""

    gone: SwitchRules
    come: SwitchRules


@dataclass(frozen=True, slots=True)
class ShortAnswer:
    """An answer with changes instead of rules.

    Attributes
    ----------
    answer : PlanAnswer
        Without rules.
    switches : tuple of str
        All that have rules.
    changes : dict of str to RulesChange
        Since the answer before; switches that are missing have what they had.
    paths : tuple of PlannedPath or int
        Of the plan, each by its place in the plan before where it was there.
    """

    answer: PlanAnswer
    switches: tuple[str, ...]
    changes: Mapping[str, RulesChange]
    paths: tuple[PlannedPath | int, ...]


@dataclass(frozen=True, slots=True)
class ShortRequest:
    """A request; where it builds on the plan of the last answer, without that."""

    request: PlanRequest
    builds_on_last: bool


class Shortener:
    """What gets requests and sends answers."""

    def __init__(self) -> None:
        self._sent: RuleSet = {}
        self._places: dict[PlannedPath, int] = {}
        self._plan: PlanStatus | None = None

    def whole_request(self, short: ShortRequest) -> PlanRequest:
        """Put back the plan that was left out."""
        return replace(short.request, active=self._plan) if short.builds_on_last else short.request

    def shorten(self, answer: PlanAnswer) -> ShortAnswer:
        """Leave out the rules that were in the last answer."""
        changes = {
            name: change
            for name, rules in answer.rules.items()
            if (change := _change(self._sent.get(name, _NONE), rules)) is not None
        }
        paths = answer.plan.paths if answer.plan is not None else ()
        short = ShortAnswer(
            replace(answer, rules={}, plan=_with_paths(answer.plan, ())),
            tuple(answer.rules),
            changes,
            tuple(self._places.get(path, path) for path in paths),
        )
        self._plan = answer.plan
        self._sent, self._places = answer.rules, {path: place for place, path in enumerate(paths)}
        return short


def _change(old: SwitchRules, new: SwitchRules) -> RulesChange | None:
    if old is new or old == new:
        return None
    return RulesChange(_less(old, new), _less(new, old))


def _less(rules: SwitchRules, others: SwitchRules) -> SwitchRules:
    return SwitchRules(rules.flows - others.flows, rules.groups - others.groups, rules.meters - others.meters)


def _with_paths(plan: PlanStatus | None, paths: tuple[PlannedPath, ...]) -> PlanStatus | None:
    return replace(plan, paths=paths) if plan is not None else None


class Lengthener:
    """What sends requests and gets answers. The rules of a switch that keeps all are the same object as before."""

    def __init__(self) -> None:
        self._known: RuleSet = {}
        self._paths: tuple[PlannedPath, ...] = ()
        self._plan: PlanStatus | None = None

    def short_request(self, request: PlanRequest) -> ShortRequest:
        """Leave out the plan where it is that of the last answer."""
        if request.active is None or request.active is not self._plan:
            return ShortRequest(request, builds_on_last=False)
        return ShortRequest(replace(request, active=None), builds_on_last=True)

    def lengthen(self, short: ShortAnswer) -> PlanAnswer:
        """Put the rules back that were left out."""
        rules = {}
        for name in short.switches:
            rules[name] = self._known.get(name, _NONE)
            if (change := short.changes.get(name)) is not None:
                kept, come = _less(rules[name], change.gone), change.come
                rules[name] = SwitchRules(
                    kept.flows | come.flows, kept.groups | come.groups, kept.meters | come.meters
                )  # fmt: skip
        self._known = rules
        self._paths = tuple(self._paths[path] if isinstance(path, int) else path for path in short.paths)
        self._plan = _with_paths(short.answer.plan, self._paths)
        return replace(short.answer, rules=rules, plan=self._plan)
