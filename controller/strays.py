"""What a switch holds under our mark although we never sent it: rules that somebody changed, and what puts them right.

A cookie holds a hash of its rule's content, so a flow whose content was changed is known by it. Groups and meters have
no cookie; theirs is a range of ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dataplane.rules import Group, GroupType, Match, Meter, SwitchRules, Table
from dataplane.update import Operation


@dataclass(frozen=True, slots=True)
class StrayFlow:
    """A flow with a cookie of ours and other content.

    Attributes
    ----------
    match : bytes
        As the switch wrote it (OpenFlow 1.3.5, section 7.2.3), with its padding.
    key : (Table, int, Match) or None
        What the switch tells it apart by; None where no rule of ours can have that.
    """

    table: int
    priority: int
    cookie: int
    match: bytes
    key: tuple[Table, int, Match] | None


class TablesRead(NamedTuple):
    """What a switch's tables hold.

    Attributes
    ----------
    rules : SwitchRules
        Ours.
    foreign : int
        How many flows are somebody else's.
    flows : frozenset of StrayFlow
        Flows under our mark with other content.
    groups, meters : frozenset of int
        Ids of ours with content that no group and no meter of ours can have.
    """

    rules: SwitchRules
    foreign: int
    flows: frozenset[StrayFlow] = frozenset()
    groups: frozenset[int] = frozenset()
    meters: frozenset[int] = frozenset()

    @property
    def held(self) -> SwitchRules:
        """Ours, and what holds one of our ids: as a group that chooses nothing, or a meter that lets nothing through.

        No group and no meter of ours is like that, so that whoever installs rules gives a group another id, a meter
        its content, and takes away what nothing uses then.
        """
        rules = self.rules
        if not self.groups and not self.meters:
            return rules
        groups = rules.groups.union(Group(id_, GroupType.SELECT, ()) for id_ in self.groups)
        return SwitchRules(rules.flows, groups, rules.meters.union(Meter(id_, 0, 0) for id_ in self.meters))


@dataclass(frozen=True, slots=True)
class RestoreGroup:
    """Give a group its content back; the flows that use it stay."""

    group: Group


@dataclass(frozen=True, slots=True)
class RemoveStray:
    """Remove exactly this flow."""

    flow: StrayFlow


Mend: TypeAlias = Operation | RestoreGroup | RemoveStray
"""What puts a switch's rules right."""
