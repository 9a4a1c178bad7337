"""What becomes of a packet by the actions of a switch, told by where it leaves and with which label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeAlias

from dataplane.rules import (
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    Group,
    GroupType,
    Output,
    PopLabel,
    PushLabel,
    SetLabel,
    ToGroup,
)

IN_PORT, SAME_LABEL = 0, -1
"""In a `Fate`: the port by which the packet came, and the label with which it did."""

NOTHING = 0
"""The number of doing nothing, which drops."""


class Unreadable(Exception):
    """A rule has a form that this reading knows nothing of; packets have to be sent one by one to see what it does."""


class Fate(NamedTuple):
    """What becomes of a packet.

    Attributes
    ----------
    outs : tuple of (int, int or None)
        Each port by which some choice sends it, and its label then.
    is_one : bool
        Whether every choice sends it out exactly once, other than to the controller.
    makes_sense : bool
        Whether no label is set or taken off that is not there, or hides something else: nobody knows what a switch
        would do.
    """

    outs: tuple[tuple[int, int | None], ...]
    is_one: bool
    makes_sense: bool = True


_NONSENSE = Fate((), False, makes_sense=False)

_Labels: TypeAlias = tuple[int, ...]
_Sent: TypeAlias = tuple[tuple[int, _Labels], ...]
"""What one choice of all hashes sends out: ports, each with the labels then."""


_REMEMBERED = 20_000
"""So many actions are known before all are forgotten: labels come and go for ever."""


class _Nonsense(Exception):
    """A label is set or taken off that is not there, or hides something else."""


class Fates:
    """What the actions of one switch do with packets, each worked out once.

    Parameters
    ----------
    name : str
        Of the switch.
    """

    def __init__(self, name: str, groups: AbstractSet[Group]) -> None:
        self._name = name
        self._groups = {group.id: group for group in groups}
        self._choices: dict[int, list[tuple[int | None, tuple[Action, ...]]]] = {}
        self._actions: list[tuple[Action, ...]] = [()]
        self._doing: dict[tuple[Action, ...], int] = {(): NOTHING}
        self._pops = [False]
        self._known: dict[tuple[int, int, bool, int], Fate] = {}

    def after(self, groups: AbstractSet[Group]) -> Fates:
        """Those of the same switch with other groups; the same object where no group changed its meaning."""
        changed: Mapping[int, Group] = {group.id: group for group in groups}
        is_other = any(changed.get(number, group) != group for number, group in self._groups.items())
        if is_other or len(self._actions) > _REMEMBERED:
            return Fates(self._name, groups)
        # What is known of groups that are gone no longer has a rule that asks for it.
        self._groups.update(changed)
        return self

    def number(self, actions: tuple[Action, ...]) -> int:
        """A number for some actions, the same whenever they are the same."""
        number = self._doing.get(actions)
        if number is None:
            number = self._doing[actions] = len(self._actions)
            self._actions.append(actions)
            self._pops.append(any(type(action) is PopLabel for action in self._flat(actions)))
        return number

    def _flat(self, actions: Iterable[Action]) -> Iterator[Action]:
        for action in actions:
            yield action
            if isinstance(action, ToGroup):
                for _, chosen in self._choices_of(action.group_id):
                    yield from chosen

    def of(self, doing: int, eth_type: int, *, labelled: bool, dead: int = 0) -> Fate:
        """What some actions do with packets that come in by no port that they name.

        Parameters
        ----------
        doing : int
            The actions' number.
        eth_type : int
            Of the packet, below a label.
        dead : int
            A port without link; 0: all live.

        Raises
        ------
        Unreadable
            They put two labels on a packet.
        """
        key = (doing, eth_type if self._pops[doing] else 0, labelled, dead)
        fate = self._known.get(key)
        if fate is None:
            fate = self._known[key] = self._find(doing, eth_type, labelled, dead)
        return fate

    def _find(self, doing: int, eth_type: int, labelled: bool, dead: int) -> Fate:
        try:
            outcomes = self._apply(self._actions[doing], (SAME_LABEL,) if labelled else (), eth_type, dead)
        except _Nonsense:
            return _NONSENSE
        outs: dict[tuple[int, int | None], None] = {}
        is_one = True
        for sent in outcomes:
            is_one &= len(sent) == 1 and sent[0][0] != PORT_CONTROLLER
            for port, labels in sent:
                if len(labels) > 1:
                    raise Unreadable(f"{self._name} puts two labels on a packet")
                outs[port, labels[0] if labels else None] = None
        return Fate(tuple(outs), is_one)

    def _apply(self, actions: Iterable[Action], labels: _Labels, eth_type: int, dead: int) -> list[_Sent]:
        """What each choice sends; the meaning of actions is that of `SwitchPipeline`."""
        outcomes: list[_Sent] = [()]
        for action in actions:
            if isinstance(action, Output):
                if action.port != IN_PORT:
                    emission = (IN_PORT if action.port == PORT_IN_PORT else action.port, labels)
                    outcomes = [(*sent, emission) for sent in outcomes]
            elif isinstance(action, ToGroup):
                chosen = self._choose(action.group_id, labels, eth_type, dead)
                outcomes = [sent + more for sent in outcomes for more in chosen]
            else:
                labels = _relabelled(action, labels, eth_type)
        return outcomes

    def _choose(self, group_id: int, labels: _Labels, eth_type: int, dead: int) -> list[_Sent]:
        live = [actions for watched, actions in self._choices_of(group_id) if watched != dead]
        if self._groups[group_id].type is GroupType.FAST_FAILOVER:
            live = live[:1]
        return [sent for actions in live for sent in self._apply(actions, labels, eth_type, dead)] or [()]

    def _choices_of(self, group_id: int) -> list[tuple[int | None, tuple[Action, ...]]]:
        """The buckets of a group that differ, in order: port watched, and actions."""
        choices = self._choices.get(group_id)
        if choices is None:
            buckets = self._groups[group_id].buckets
            choices = list(dict.fromkeys((bucket.watch_port, bucket.actions) for bucket in buckets))
            self._choices[group_id] = choices
        return choices


def _relabelled(action: PushLabel | SetLabel | PopLabel, labels: _Labels, eth_type: int) -> _Labels:
    match action:
        case PushLabel(label):
            return (label, *labels)
        case SetLabel(label) if labels:
            return (label, *labels[1:])
        case PopLabel(hidden) if len(labels) == 1 and hidden == eth_type:
            return ()
    raise _Nonsense
