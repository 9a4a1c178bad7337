"""Where labels lead, remembered from one proof to the next while neither their rules nor their links change."""

from __future__ import annotations

from collections.abc import Sequence
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
        self._names: tuple[str, ...] = ()
        self._readings: tuple[SwitchReading, ...] = ()

    def of(self, label: int) -> _Tree:
        """What is known of a label."""
        return self._trees.setdefault(label, {})

    def note(self, label: int, link: LinkId) -> None:
        """A label crosses a link, to a host or to a switch."""
        self._over.setdefault(link, set()).add(label)

    def renew(self, wiring: Wiring, guard: LabelGuard, readings: Sequence[SwitchReading]) -> None:
        """Forget what something had a part in that has changed since this was last called."""
        leads = {
            link: (wiring.names[wiring.target[number]], wiring.in_port[number], guard.admits(number))
            for number, link in enumerate(wiring.links)
        }
        for switch, hosts in enumerate(wiring.host_at):
            leads.update({LinkId(wiring.names[switch], port): (host, 0, False) for port, host in hosts.items()})
        outdated = self._outdated(wiring.names, readings)
        if outdated is None:
            self._trees, self._over = {}, {}
        else:
            outdated.update(*(self._over.get(link, ()) for link, _ in leads.items() ^ self._leads.items()))
            for label in outdated:
                self._trees.pop(label, None)
            for labels in self._over.values() if outdated else ():
                labels -= outdated
        self.passing = set()
        self._leads, self._names, self._readings = leads, wiring.names, tuple(readings)

    def _outdated(self, names: tuple[str, ...], readings: Sequence[SwitchReading]) -> set[int] | None:
        """The labels whose rules have changed; None: all."""
        if names != self._names:
            return None
        outdated = set(self.passing)
        for reading, before in zip(readings, self._readings, strict=True):
            labels = reading.labels_changed_since(before)
            if labels is None:
                return None
            outdated |= labels
        return outdated
