"""What one proof may take from the one before: whatever nothing that it was proved from has changed since.

Default routing stays while switches, links, addresses and the tables for unlabelled packets do. So does what was proved
of a cable that is down, as long as no label that was looked up for it changed its meaning. Nothing is kept of which
there was doubt, nor of a cable at which a proof ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.addresses import AddressSpace
from dataplane.reading import SwitchReading
from dataplane.rules import Table
from dataplane.senders import Senders
from dataplane.survival import LabelGuard, Outage
from dataplane.trees import LabelTrees
from dataplane.unlabelled import Unlabelled
from dataplane.wiring import Cable, Wiring
from topologies.fabric import Fabric


class Remembered:
    """Whatever proofs hand on.

    Attributes
    ----------
    readings : list of SwitchReading
        Those of the proof that goes on, by switch; what is kept looks labels up in them.
    senders : Senders
    """

    def __init__(self) -> None:
        self.trees = LabelTrees()
        self.senders = Senders()
        self.readings: list[SwitchReading] = []
        self._wired: tuple[Fabric, Wiring] | None = None
        self._default: tuple[Unlabelled, LabelGuard] | None = None
        self._outages: dict[Cable, Outage] = {}
        self._entered: tuple[tuple[tuple[int, int, int], ...], list[dict[int, int]]] | None = None

    def wiring(self, fabric: Fabric) -> Wiring:
        """The last one, where it is of the same nodes and links."""
        if self._wired is not None:
            known, wiring = self._wired
            if known is fabric or (known.nodes == fabric.nodes and known.links == fabric.links):
                return wiring
        self._wired = fabric, Wiring(fabric)
        return self._wired[1]

    def begin(
        self, wiring: Wiring, readings: Sequence[SwitchReading], space: AddressSpace
    ) -> tuple[Unlabelled, LabelGuard]:
        """Default routing and the guard of labels by some readings; forgets what these have changed.

        Raises
        ------
        Unreadable
            The rules have forms that this knows nothing of.
        """
        known = self._default
        if known is not None and known[0].wiring is wiring and known[0].space is space and self._routes_stay(readings):
            self.readings[:] = readings
            changed = self.trees.renew(wiring, known[1], readings)
            self.senders.forget(changed)
            self._outages = {
                cable: outage
                for cable, outage in self._outages.items()
                if changed is not None and outage.labels.isdisjoint(changed)
            }
            return known
        self._default, self._outages, self._entered = None, {}, None
        self.senders.forget(None)
        self.readings = list(readings)
        default = Unlabelled(wiring, self.readings, space)
        guard = LabelGuard(default, self.readings)
        self.trees.renew(wiring, guard, readings)
        self._default = default, guard
        return self._default

    def _routes_stay(self, readings: Sequence[SwitchReading]) -> bool:
        """Whether actions mean what they did, and packets without a label meet the rules that they met."""
        return all(
            reading is before
            or (
                reading.fates is before.fates
                and all(
                    reading.pipeline.tables[table] is before.pipeline.tables[table]
                    for table in (Table.GUARD, Table.DEFAULT)
                )
            )
            for reading, before in zip(readings, self.readings, strict=True)
        )

    def entering(self, default: Unlabelled, sent: Sequence[tuple[int, int, int]]) -> list[dict[int, int]]:
        """By switch and port, what comes in for default routing when hosts send: switch, port and destinations."""
        key = tuple(sent)
        if self._entered is None or self._entered[0] != key:
            self._entered = key, default.entering(sent)
        return self._entered[1]

    def take(self, cable: Cable, default: Unlabelled, guard: LabelGuard) -> Outage:
        """What is known of a cable that is down, shown all that is sent into it; unknown until it is kept again."""
        outage = self._outages.pop(cable, None)
        is_new = outage is None
        outage = outage or Outage(default, self.readings, guard, cable)
        for link in cable:
            outage.fall_back_labelled(self.senders.into(link, all_of_them=is_new))
        return outage

    def keep(self, cable: Cable, outage: Outage) -> None:
        """Remember what was proved while a cable is down, where nothing was doubtful."""
        if not outage.doubtful:
            self._outages[cable] = outage
