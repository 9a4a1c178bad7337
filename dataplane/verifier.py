"""Proves from the rules alone that packets arrive: every pair, once, in every hash's choice, whichever cable is down.

Packets are looked at in classes (header space reasoning; Kazemian, Varghese and McKeown, "Header space analysis", NSDI
2012): those without a label by where they go, those of planned pairs by their labels. Where a class is not surely
right, its packets are sent through the rules one by one: so what is refused is wrong, and what is accepted is proved.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from dataplane.addresses import AddressSpace, cuts
from dataplane.admission import check_guards
from dataplane.fates import Unreadable
from dataplane.matching import RuleError
from dataplane.network import Network, VerificationError
from dataplane.parts import check_shares
from dataplane.planned import LabelledPath
from dataplane.proof import Pair, Proof
from dataplane.reading import SwitchReading
from dataplane.remembered import Remembered
from dataplane.rules import Match, RuleSet, SwitchRules
from dataplane.wiring import Wiring
from solver.routing import Path
from topologies.fabric import Fabric, LinkId

__all__ = ["Network", "RuleError", "VerificationError", "VerificationReport", "Verifier", "verify"]


_SAME = 1e-6
"""Relative difference that arithmetic explains."""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What was proved.

    Attributes
    ----------
    pairs : int
        Host pairs that reach each other.
    planned : int
        How many of them by exactly their planned paths.
    failures : int
        Cables that may fail one at a time, between switches, so that all pairs still reach each other.
    cut_off : int
        Pairs and cables where the fabric itself has no other way; they are excused.
    unprotected : tuple of LinkId
        Links whose failure cuts pairs off; every cable once.
    worst_link_utilisation : float
        Of planned traffic alone; 0 where no rates are given.
    """

    pairs: int
    planned: int
    failures: int = 0
    cut_off: int = 0
    unprotected: tuple[LinkId, ...] = ()
    worst_link_utilisation: float = 0.0


def verify(
    fabric: Fabric,
    rules: RuleSet,
    paths: Sequence[LabelledPath] = (),
    *,
    pairs: Container[Pair] | None = None,
    failures: bool = False,
    rates_bps: Sequence[float] = (),
) -> VerificationReport:
    """Check rules against a fabric and the planned paths, from nothing; see `Verifier.verify`."""
    return Verifier().verify(fabric, rules, paths, pairs=pairs, failures=failures, rates_bps=rates_bps)


class Verifier:
    """Checks rules, and remembers how it read them.

    What a switch keeps need not be read again, nor labels be followed for which it all stays.
    """

    def __init__(self) -> None:
        self._readings: dict[str, SwitchReading] = {}
        self._space: AddressSpace | None = None
        self._memory = Remembered()
        self._guarded: tuple[Wiring | None, dict[str, tuple[tuple[Match, str], ...]]] = (None, {})

    def verify(
        self,
        fabric: Fabric,
        rules: RuleSet,
        paths: Sequence[LabelledPath] = (),
        *,
        pairs: Container[Pair] | None = None,
        failures: bool = False,
        rates_bps: Sequence[float] = (),
    ) -> VerificationReport:
        """Check rules against a fabric and the planned paths.

        Every host with an address reaches every other that the fabric connects it to, by IPv4 and by ARP; planned
        pairs take exactly their paths, in their shares, which carry no more than their links can; no packet to any
        address goes round; nothing enters with a forged source or a label.

        Parameters
        ----------
        paths : sequence of LabelledPath
            One for a pair, or all those that it is split over.
        pairs : container of (str, str), optional
            Sources and targets to look at beside the planned ones; without it all are, and all addresses.
        failures : bool
            Whether all this (but for exactly which path) has to hold while any one cable between switches is down,
            for the pairs that are still connected then.
        rates_bps : sequence of float
            What each of ``paths`` carries, bits per second; without it no load is looked at.

        Raises
        ------
        VerificationError
            The first thing found wrong.
        RuleError
            A switch would refuse a rule, or may read two in either way.
        ValueError
            The numbers of paths and of rates differ.
        """
        self._readings = {node.id: self._read(node.id, rules.get(node.id, SwitchRules())) for node in fabric.switches}
        wiring = self._memory.wiring(fabric)
        self._check_guards(fabric, wiring)
        planned: dict[Pair, set[Path]] = {}
        for path in paths:
            planned.setdefault((path.source, path.target), set()).add(path.links)
        proof = Proof(fabric, wiring, self._readings, planned, pairs)
        try:
            count, cut_off = proof.by_classes(self._address_space(fabric), self._memory, failures=failures)
        except Unreadable:
            count, cut_off = proof.one_by_one(failures=failures)
        check_shares(fabric, self._readings, paths)
        return VerificationReport(
            count,
            len(planned),
            len(wiring.cables) if failures else 0,
            sum(cut_off.values()),
            tuple(wiring.links[cable[0]] for cable in cut_off),
            _worst_utilisation(fabric, paths, rates_bps),
        )

    def _read(self, switch: str, rules: SwitchRules) -> SwitchReading:
        known = self._readings.get(switch)
        if known is not None and (known.rules is rules or known.rules == rules):
            return known
        return SwitchReading(switch, rules, known)

    def _check_guards(self, fabric: Fabric, wiring: Wiring) -> None:
        """Of switches whose guard was not proved yet, or was where they were wired otherwise."""
        if self._guarded[0] is not wiring:
            self._guarded = wiring, {}
        proved = self._guarded[1]
        fresh = {name: one for name, one in self._readings.items() if proved.get(name) is not one.admitting}
        if fresh:
            check_guards(fabric, fresh)
            proved.update((name, reading.admitting) for name, reading in fresh.items())

    def _address_space(self, fabric: Fabric) -> AddressSpace:
        """The last one, where nothing new has to be told apart."""
        named = {host.ip for host in fabric.hosts if host.ip}
        named.update(*(reading.targets for reading in self._readings.values()))
        needed = frozenset(cut for address in named for cut in cuts(address))
        needed = needed.union(*(reading.default_cuts for reading in self._readings.values()))
        if self._space is None or self._space.cuts != needed:
            self._space = AddressSpace(needed)
        return self._space


def _worst_utilisation(fabric: Fabric, paths: Sequence[LabelledPath], rates_bps: Sequence[float]) -> float:
    """Of the links that planned paths fill; refuses one that is asked for more than it has."""
    if rates_bps and len(rates_bps) != len(paths):
        raise ValueError(f"there are {len(paths)} paths and {len(rates_bps)} rates")
    loads_bps: dict[LinkId, float] = {}
    for path, rate_bps in zip(paths, rates_bps, strict=True) if rates_bps else ():
        for link in path.links:
            loads_bps[link] = loads_bps.get(link, 0.0) + rate_bps
    worst = 0.0
    for link, load_bps in loads_bps.items():
        capacity_bps = fabric.link_by_id[link].capacity_bps
        if capacity_bps is None:
            continue
        if load_bps > capacity_bps * (1 + _SAME):
            raise VerificationError(
                f"planned paths ask {link} for {load_bps:.6g} bit/s, and it carries {capacity_bps:.6g}"
            )
        worst = max(worst, load_bps / capacity_bps)
    return worst
