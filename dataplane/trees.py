"""Where labels lead, remembered from one proof to the next while neither their rules nor their links change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeAlias

from dataplane.reading import SwitchReading
from dataplane.survival import Crossing, LabelGuard
from dataplane.wiring import Wiring
from solver.routing import Path
from topologies.fabric import LinkId


class Ways(NamedTuple):
    """Where packets with a label go from a switch on, whichever way hashes choose.

    Attributes
    ----------
    end : str
        The host to which all ways lead.
    crossings : tuple of (LinkId, Crossing)
        How they are sent into the links between switches.
    """

    paths: tuple[Path, ...]
    end: str
    crossings: tuple[tuple[LinkId, Crossing], ...]


_Tree: TypeAlias = dict[tuple[int, int], Ways | None]
"""By switch and port where the label comes in; None while that is not known, or where packets stray."""


class LabelTrees:
    """All labels that were followed.

    Attributes
    ----------
    passing : set of int
        Labels that are to be followed anew next time: packets strayed, or got another label under way.
    """

    def __init__(self) -> None:
        self.passing: set[int] = set()
        self._trees: dict[int, _Tree] = {}
        self._over: dict[LinkId, set[int]] = {}
        self._leads: dict[LinkId, tuple[str, int, bool]] = {}
        self._guard: LabelGuard | None = None
        self._names: tuple[str, ...] = ()
        self._readings: tuple[SwitchReading, ...] = ()

    def of(self, label: int) -> _Tree:
        """What is known of a label."""
        return self._trees.setdefault(label, {})

    def note(self, label: int, link: LinkId) -> None:
        """A label crosses a link, to a host or to a switch."""
        self._over.setdefault(link, set()).add(label)

    def renew(self, wiring: Wiring, guard: LabelGuard, readings: Sequence[SwitchReading]) -> AbstractSet[int] | None:
        """Forget what something had a part in that has changed since this was last called.

        Returns
        -------
        set of int or None
            The labels with which some switch may do otherwise than it did; None: all.
        """
        leads = self._leads if guard is self._guard else _leads(wiring, guard)
        switches = self._changed(wiring.names, readings)
        if switches is None:
            self._trees, self._over = {}, {}
        else:
            links = set() if leads is self._leads else {link for link, _ in leads.items() ^ self._leads.items()}
            outdated = self.passing.union(switches, *(self._over.get(link, ()) for link in links))
            self._forget(outdated, switches, links)
        self.passing = set()
        self._leads, self._guard, self._names, self._readings = leads, guard, wiring.names, tuple(readings)
        return None if switches is None else switches.keys()

    def _changed(self, names: tuple[str, ...], readings: Sequence[SwitchReading]) -> dict[int, set[str]] | None:
        """By label, the switches that may do otherwise with it; None: all with all."""
        if names != self._names:
            return None
        changed: dict[int, set[str]] = {}
        for name, reading, before in zip(names, readings, self._readings, strict=True):
            labels = reading.labels_changed_since(before)
            if labels is None:
                return None
            for label in labels:
                changed.setdefault(label, set()).add(name)
        return changed

    def _forget(
        self, labels: AbstractSet[int], switches: Mapping[int, AbstractSet[str]], links: AbstractSet[LinkId]
    ) -> None:
        """Forget of some labels the ways that cross switches that changed, or links."""
        gone = set()
        for label in labels:
            tree = self._trees.pop(label, {})
            crossed = switches.get(label, frozenset())
            kept = {
                place: ways for place, ways in tree.items() if ways is not None and not _meets(ways, crossed, links)
            }
            if kept and label not in self.passing:
                self._trees[label] = {**kept}
            else:
                gone.add(label)
        for over in self._over.values() if gone else ():
            over -= gone


def _meets(ways: Ways, switches: AbstractSet[str], links: AbstractSet[LinkId]) -> bool:
    return any(link in links or link.node in switches for path in ways.paths for link in path)


def _leads(wiring: Wiring, guard: LabelGuard) -> dict[LinkId, tuple[str, int, bool]]:
    """Where each link leads: node, port there, and whether labelled packets are let in."""
    leads = {
        link: (wiring.names[wiring.target[number]], wiring.in_port[number], guard.admits(number))
        for number, link in enumerate(wiring.links)
    }
    for switch, hosts in enumerate(wiring.host_at):
        leads.update({LinkId(wiring.names[switch], port): (host, 0, False) for port, host in hosts.items()})
    return leads
