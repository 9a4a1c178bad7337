"""Answers of the planner's process on their way to the daemon: only rules that changed since the last are sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.planning import PlanAnswer
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
    """

    answer: PlanAnswer
    switches: tuple[str, ...]
    changes: Mapping[str, RulesChange]


class Shortener:
    """What sends answers."""

    def __init__(self) -> None:
        self._sent: RuleSet = {}

    def shorten(self, answer: PlanAnswer) -> ShortAnswer:
        """Leave out the rules that were in the last answer."""
        changes = {
            name: change
            for name, rules in answer.rules.items()
            if (change := _change(self._sent.get(name, _NONE), rules)) is not None
        }
        self._sent = answer.rules
        return ShortAnswer(replace(answer, rules={}), tuple(answer.rules), changes)


def _change(old: SwitchRules, new: SwitchRules) -> RulesChange | None:
    if old is new or old == new:
        return None
    return RulesChange(_less(old, new), _less(new, old))


def _less(rules: SwitchRules, others: SwitchRules) -> SwitchRules:
    return SwitchRules(rules.flows - others.flows, rules.groups - others.groups, rules.meters - others.meters)


class Lengthener:
    """What gets them. The rules of a switch that keeps all are the same object as before."""

    def __init__(self) -> None:
        self._known: RuleSet = {}

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
        return replace(short.answer, rules=rules)
