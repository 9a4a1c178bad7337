"""Requests to the planner's process, and its answers: only what changed since the last ones travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from controller.planning import PlanAnswer, PlanRequest
from controller.service import PlannedPath, PlanStatus
from dataplane.detours import Tunnel
from dataplane.rules import RuleSet, SwitchRules
from topologies.fabric import Fabric, LinkId

_NONE = SwitchRules()
_NOWHERE = Fabric((), ())


@dataclass(frozen=True, slots=True)
class RulesChange:
    """What becomes of the rules of one switch."""

    gone: SwitchRules
    come: SwitchRules


@dataclass(frozen=True, slots=True)
class Stayed:
    """A path that is what it was, at its place in the plan before, but for its rate."""

    place: int
    rate_bps: float


ShortPath: TypeAlias = PlannedPath | Stayed | int
"""A path, or its place in the plan before where it was there."""


@dataclass(frozen=True, slots=True)
class ShortAnswer:
    """An answer with changes instead of rules.

    Attributes
    ----------
    answer : PlanAnswer
        Without rules, paths and detours.
    switches : tuple of str
        All that have rules.
    changes : dict of str to RulesChange
        Since the answer before; switches that are missing have what they had.
    paths : tuple of ShortPath
        Of the plan.
    detours : dict of Tunnel to int, optional
        None: those of the answer before.
    """

    answer: PlanAnswer
    switches: tuple[str, ...]
    changes: Mapping[str, RulesChange]
    paths: tuple[ShortPath, ...]
    detours: dict[Tunnel, int] | None


@dataclass(frozen=True, slots=True)
class Lost:
    """A fabric that is the one of the request before without some links."""

    links: tuple[LinkId, ...]
    version: int


@dataclass(frozen=True, slots=True)
class ShortRequest:
    """A request without its fabrics; where it builds on the last answer, without the plan and the detours of that.

    Attributes
    ----------
    fabric, solved_on : Fabric or Lost or None
        As in the request, or in what they differ from the fabric of the request before.
    """

    request: PlanRequest
    builds_on_last: bool
    fabric: Fabric | Lost
    solved_on: Fabric | Lost | None


class Shortener:
    """What gets requests and sends answers."""

    def __init__(self) -> None:
        self._sent: RuleSet = {}
        self._plan: PlanStatus | None = None
        self._detours: dict[Tunnel, int] = {}
        self._fabric = _NOWHERE

    def whole_request(self, short: ShortRequest) -> PlanRequest:
        """Put back what was left out."""
        fabric, solved_on = (self._whole_fabric(each) for each in (short.fabric, short.solved_on))
        self._fabric = fabric or _NOWHERE
        request = replace(short.request, fabric=self._fabric, solved_on=solved_on)
        return replace(request, active=self._plan, detours=self._detours) if short.builds_on_last else request

    def _whole_fabric(self, short: Fabric | Lost | None) -> Fabric | None:
        if not isinstance(short, Lost):
            return short
        return self._fabric.without_links(short.links, version=short.version)

    def shorten(self, answer: PlanAnswer) -> ShortAnswer:
        """Leave out what was in the last answer."""
        changes = {
            name: change
            for name, rules in answer.rules.items()
            if (change := _change(self._sent.get(name, _NONE), rules)) is not None
        }
        short = ShortAnswer(
            replace(answer, rules={}, plan=_with_paths(answer.plan, ()), detours={}),
            tuple(answer.rules),
            changes,
            _short_paths(self._plan, answer.plan),
            answer.detours if answer.detours != self._detours else None,
        )
        self._plan, self._detours, self._sent = answer.plan, answer.detours, answer.rules
        return short


def _short_paths(before: PlanStatus | None, plan: PlanStatus | None) -> tuple[ShortPath, ...]:
    """Most paths stay where they were in the plan; the others are looked for."""
    former = before.paths if before is not None else ()
    paths = plan.paths if plan is not None else ()
    found: list[ShortPath] = [*paths]
    others = []
    for place, path in enumerate(paths):
        known = former[place] if place < len(former) else None
        if path is known or path == known:
            found[place] = place
        elif known is not None and replace(known, rate_bps=path.rate_bps) == path:
            found[place] = Stayed(place, path.rate_bps)
        else:
            others.append(place)
    if others:
        places = {path: place for place, path in enumerate(former)}
        for place in others:
            found[place] = places.get(paths[place], paths[place])
    return tuple(found)


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
        self._detours: dict[Tunnel, int] = {}
        self._fabric = _NOWHERE

    def short_request(self, request: PlanRequest) -> ShortRequest:
        """Leave out what the other side knows."""
        fabric, solved_on = (self._short_fabric(each) for each in (request.fabric, request.solved_on))
        self._fabric = request.fabric
        builds = request.active is not None and request.active is self._plan and request.detours == self._detours
        less = replace(request, fabric=_NOWHERE, solved_on=None)
        if builds:
            less = replace(less, active=None, detours={})
        return ShortRequest(less, builds, fabric or request.fabric, solved_on)

    def _short_fabric(self, fabric: Fabric | None) -> Fabric | Lost | None:
        known = self._fabric
        if fabric is None or fabric.nodes != known.nodes:
            return fabric
        there = fabric.link_by_id
        lost = tuple(link for link in known.link_ids if link not in there)
        if known.without_links(lost).links != fabric.links:
            return fabric
        return Lost(lost, fabric.version)

    def lengthen(self, short: ShortAnswer) -> PlanAnswer:
        """Put back what was left out."""
        rules = {}
        for name in short.switches:
            rules[name] = self._known.get(name, _NONE)
            if (change := short.changes.get(name)) is not None:
                kept, come = _less(rules[name], change.gone), change.come
                rules[name] = SwitchRules(
                    kept.flows | come.flows, kept.groups | come.groups, kept.meters | come.meters
                )  # fmt: skip
        self._known = rules
        self._paths = tuple(self._whole_path(path) for path in short.paths)
        self._plan = _with_paths(short.answer.plan, self._paths)
        if short.detours is not None:
            self._detours = short.detours
        return replace(short.answer, rules=rules, plan=self._plan, detours=self._detours)

    def _whole_path(self, path: ShortPath) -> PlannedPath:
        if isinstance(path, int):
            return self._paths[path]
        return replace(self._paths[path.place], rate_bps=path.rate_bps) if isinstance(path, Stayed) else path
