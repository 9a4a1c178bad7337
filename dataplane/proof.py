"""One set of rules on one fabric: every class of packets is proved, and those that are not are sent."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

from dataplane.addresses import AddressSpace, cuts
from dataplane.fates import Unreadable
from dataplane.labelled import Labelled
from dataplane.network import VerificationError
from dataplane.reading import SwitchReading
from dataplane.remembered import Remembered
from dataplane.rules import ETH_TYPE_ARP, ETH_TYPE_IPV4, Table
from dataplane.senders import Sender
from dataplane.survival import LabelGuard
from dataplane.trial import Trial
from dataplane.unlabelled import Unlabelled
from dataplane.wiring import Attached, Cable, Wiring
from solver.routing import Path
from topologies.fabric import Fabric

Pair: TypeAlias = tuple[str, str]


class Proof:
    """One set of rules on one fabric.

    Parameters
    ----------
    planned : mapping of (str, str) to set of Path
        All ways of each planned pair.
    pairs : container of (str, str) or None
        The pairs to look at beside the planned ones; None: all, and all other addresses.

    Raises
    ------
    VerificationError
        A planned pair is not two attached hosts.
    """

    def __init__(
        self,
        fabric: Fabric,
        wiring: Wiring,
        readings: Mapping[str, SwitchReading],
        planned: Mapping[Pair, set[Path]],
        pairs: Container[Pair] | None,
    ) -> None:
        self._fabric = fabric
        self._wiring = wiring
        self._readings = [readings[name] for name in wiring.names]
        self._pipelines = {name: reading.pipeline for name, reading in readings.items()}
        self._planned = planned
        self._pairs = pairs
        self._whole = self._trial(())
        for source, target in planned:
            if source == target or not wiring.connects(source, target):
                raise VerificationError(
                    f"the planned pair {source} → {target} is not two attached hosts with addresses"
                )

    def _trial(self, cable: Cable) -> Trial:
        failed = frozenset(self._wiring.links[link] for link in cable)
        return Trial(self._fabric, self._pipelines, self._planned, failed)

    def _trials(self, failures: bool) -> Iterator[tuple[Cable, Trial]]:
        """The whole fabric, then it without each cable."""
        yield (), self._whole
        for cable in self._wiring.cables if failures else ():
            yield cable, self._trial(cable)

    def one_by_one(self, *, failures: bool) -> tuple[int, dict[Cable, int]]:
        """How many pairs there are, and how many each cable cuts off; every packet is sent in every state.

        Raises
        ------
        VerificationError
            One does not arrive, or goes round.
        """
        hosts = [one.host for one in self._wiring.attached]
        pairs = [(a, b) for a in hosts for b in hosts if a is not b and self._is_asked((a.id, b.id))]
        pairs = [(a, b) for a, b in pairs if self._whole.connects(a.id, b.id)]
        strangers = self._strangers() if self._pairs is None else []
        cut_off: dict[Cable, int] = {}
        for cable, trial in self._trials(failures):
            for source, target in pairs:
                trial.check(source, target)
            for host in hosts:
                for eth_type, address in strangers:
                    trial.check_end(host, eth_type, address)
            lost = sum(not trial.connects(source.id, target.id) for source, target in pairs)
            if lost:
                cut_off[cable] = lost
        return len(pairs), cut_off

    def _strangers(self) -> list[tuple[int, str]]:
        """An address that no host has from each interval that rules tell apart."""
        known = set(self._named)
        prefixes = {
            prefix
            for reading in self._readings
            for rule in reading.rules.flows
            for prefix in (rule.match.ipv4_dst, rule.match.arp_tpa)
            if prefix is not None
        } | known
        space = AddressSpace(frozenset(cut for prefix in prefixes for cut in cuts(prefix)))
        return [(eth_type, address) for eth_type, address in space.samples(space.everything) if address not in known]

    def _is_asked(self, pair: Pair) -> bool:
        return self._pairs is None or pair in self._pairs or pair in self._planned

    def by_classes(self, space: AddressSpace, memory: Remembered, *, failures: bool) -> tuple[int, dict[Cable, int]]:
        """As `one_by_one`, for all packets of a class at once, and no address left out.

        Parameters
        ----------
        memory : Remembered
            What earlier proofs found out.

        Raises
        ------
        Unreadable
            The rules have forms that this knows nothing of.
        """
        default, guard = memory.begin(self._wiring, self._readings, space)
        labelled = Labelled(default, self._readings, guard, memory.trees)
        senders = [self._sender(one, default, labelled, memory) for one in self._wiring.attached]
        memory.senders.found(senders, memory.trees.passing)
        slow = [(sender, sender.doubtful) for sender in senders if sender.doubtful]
        for sender, atoms in slow:
            self._send(self._whole, sender, atoms, default)
        count = sum((sender.asked & default.must[sender.one.switch] & space.ipv4).bit_count() for sender in senders)
        return count, self._fail(senders, slow, default, guard, memory) if failures else {}

    def _sender(self, one: Attached, default: Unlabelled, labelled: Labelled, memory: Remembered) -> Sender:
        """What a host sends to whom, by which table, and what of it is not proved to be right."""
        space, reading, must = default.space, self._readings[one.switch], default.must[one.switch]
        asked = self._asked(one, default)
        seen = asked, reading.sent_by(one.host.ip or ""), self._wanted.get(one.host.id, {})
        if (known := memory.senders.known(one.host.id, seen)) is not None:
            return known
        labelled.begin()
        by_default, doubtful = 0, 0
        for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP):
            atoms = asked & space.all_of(eth_type)
            table = reading.admitted(one.port, eth_type, one.host)
            if table is Table.CLASSIFY and eth_type == ETH_TYPE_IPV4:
                atoms, strayed = self._classify(one, atoms, labelled)
                doubtful |= strayed
            if table is Table.DEFAULT or (table is Table.CLASSIFY and reading.is_passed_on(eth_type)):
                by_default |= atoms
            elif table in (Table.CLASSIFY, None):
                doubtful |= atoms & must
            else:
                raise Unreadable(f"{reading.pipeline.name} looks up what hosts send in table {table.name}")
        doubtful |= self._unmarked(one, reading, default)
        doubtful |= by_default & ~default.from_host(one.switch, one.port)
        labels = frozenset(labelled.labels)
        return Sender(one, asked, by_default & ~doubtful, doubtful, labelled.crossings, labels, seen)

    def _asked(self, one: Attached, default: Unlabelled) -> int:
        """The destinations to look at from a host."""
        if self._pairs is None:
            return default.space.everything & ~default.of_host[one.host.id]
        asked = 0
        for other in self._wiring.attached:
            if other is not one and self._is_asked((one.host.id, other.host.id)):
                asked |= default.of_host[other.host.id]
        return asked

    def _classify(self, one: Attached, atoms: int, labelled: Labelled) -> tuple[int, int]:
        """What of some destinations the classify table leaves to default routing, and what has to be sent to see."""
        strayed = 0
        for address, rules in self._readings[one.switch].planned_from(one.host.ip or "").items():
            atom = labelled.default.space.of(ETH_TYPE_IPV4, address)
            if not atom & atoms:
                continue
            ways, by_default = labelled.ways(one, address, rules)
            wanted = self._wanted.get(one.host.id, {}).get(self._named.get(address, ""))
            if ways is None or (wanted is not None and (by_default or ways != wanted)):
                strayed |= atom
            if not by_default:
                atoms &= ~atom
        return atoms, strayed

    def _unmarked(self, one: Attached, reading: SwitchReading, default: Unlabelled) -> int:
        """Targets of planned pairs for which there is no classify rule."""
        ruled = reading.planned_from(one.host.ip or "")
        missing = 0
        for target in self._wanted.get(one.host.id, {}):
            if (self._fabric.node_by_id[target].ip or "") not in ruled:
                missing |= default.of_host[target] & default.space.ipv4
        return missing

    @cached_property
    def _named(self) -> dict[str, str]:
        """Hosts by address."""
        return {one.host.ip or "": one.host.id for one in self._wiring.attached}

    @cached_property
    def _wanted(self) -> dict[str, dict[str, set[Path]]]:
        """The ways of planned pairs by source and target."""
        found: dict[str, dict[str, set[Path]]] = {}
        for (source, target), ways in self._planned.items():
            found.setdefault(source, {})[target] = ways
        return found

    def _send(self, trial: Trial, sender: Sender, atoms: int, default: Unlabelled) -> None:
        """Send what could not be proved to be right, one packet for each class."""
        for eth_type, address in default.space.samples(atoms & sender.asked):
            target = self._named.get(address)
            if target is None:
                trial.check_end(sender.one.host, eth_type, address)
            else:
                trial.check(sender.one.host, self._fabric.node_by_id[target])

    def _fail(
        self,
        senders: Sequence[Sender],
        slow: Sequence[tuple[Sender, int]],
        default: Unlabelled,
        guard: LabelGuard,
        memory: Remembered,
    ) -> dict[Cable, int]:
        """Let every cable fail in turn, and count the pairs that this cuts off."""
        wiring = self._wiring
        entering = memory.entering(default, [(one.one.switch, one.one.port, one.by_default) for one in senders])
        cut_off: dict[Cable, int] = {}
        for cable in wiring.cables:
            outage = memory.take(cable, default, guard)
            outage.fall_back_unlabelled(entering)
            if outage.doubtful or slow:
                trial = self._trial(cable)
                for sender in senders if outage.doubtful else ():
                    self._send(trial, sender, outage.doubtful, default)
                for sender, atoms in slow:
                    self._send(trial, sender, atoms, default)
            if outage.has_lost or slow:
                lost = sum(
                    (sender.asked & default.must[sender.one.switch] & ~outage.connected[sender.one.switch]
                     & default.space.ipv4).bit_count()
                    for sender in senders
                )  # fmt: skip
                if lost:
                    cut_off[cable] = lost
            memory.keep(cable, outage)
        memory.senders.all_seen()
        return cut_off
