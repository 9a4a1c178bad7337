"""Proves from the rules alone that packets arrive: every pair, once, in every hash's choice, as planned.

A packet's possible ways form a graph of (switch, port, headers). If no state drops, copies or punts it, if none
leads back to itself, and all end at the destination, then every choice of every hash delivers it exactly once
(header space reasoning; Kazemian, Varghese and McKeown, "Header space analysis", NSDI 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from dataplane.pipeline import Alternative, Emission, Packet, SwitchPipeline, arp_packet, ipv4_packet, is_punt
from dataplane.planned import LabelledPath
from dataplane.rules import ETH_TYPE_MPLS, RuleSet, SwitchRules
from solver.routing import Path
from topologies.errors import HeddleError
from topologies.fabric import Fabric, Link, LinkId, Node
from topologies.shortest import distances

State: TypeAlias = tuple[str, int, Packet]
"""A packet at a switch's port."""

FORGED_MAC, FORGED_IP = "02:ff:ff:ff:ff:fe", "255.255.255.254"


class VerificationError(HeddleError):
    """The rules do not do what they should; the message names the packet and the place. Nothing was installed."""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What was proved: host pairs that reach each other, and how many of them by a planned path."""

    pairs: int
    planned: int


def verify(fabric: Fabric, rules: RuleSet, paths: Sequence[LabelledPath] = ()) -> VerificationReport:
    """Check rules against a fabric and the planned paths.

    Every host with an address reaches every other that the fabric connects it to, by IPv4 and by ARP; planned
    pairs take exactly their path; nothing enters with a forged source or a label.

    Raises
    ------
    VerificationError
        The first thing found wrong.
    """
    network = Network(fabric, rules)
    planned = {(path.source, path.target): path.links for path in paths}
    hosts = [host for host in fabric.hosts if host.ip and host.mac and host.id in fabric.access_links]
    pairs = 0
    for target in hosts:
        reachable = distances(fabric, target.id)
        proved: set[State] = set()
        for source in hosts:
            if source is target or source.id not in reachable:
                continue
            pairs += 1
            network.check_pair(source, target, planned.get((source.id, target.id)), proved)
    for index, host in enumerate(hosts):
        network.check_forgery(host, hosts[index - 1], {path.label for path in paths})
    return VerificationReport(pairs, len(planned))


class Network:
    """The pipelines of all switches, joined by the fabric's links.

    Parameters
    ----------
    failed : set of LinkId
        Links that carry nothing; a switch knows it of its own ports.
    """

    def __init__(self, fabric: Fabric, rules: RuleSet, failed: AbstractSet[LinkId] = frozenset()) -> None:
        self._fabric = fabric
        self._failed = failed
        self._pipelines = {
            node.id: SwitchPipeline(node.id, rules.get(node.id, SwitchRules())) for node in fabric.switches
        }
        self._dead: dict[str, set[int]] = {node.id: set() for node in fabric.switches}
        for link in failed:
            self._dead.get(link.node, set()).add(link.port)

    def step(self, switch: str, in_port: int, packet: Packet) -> frozenset[Alternative]:
        """What a switch may do with a packet."""
        return self._pipelines[switch].process(packet, in_port, self._dead[switch])

    def ways(self, source: str, packet: Packet, target: str) -> frozenset[Path]:
        """Every way by which a packet may reach a host.

        Raises
        ------
        VerificationError
            Some choice drops, copies or punts it, brings it elsewhere, or sends it round.
        """
        what = f"a packet {source} → {target}"
        access = self._fabric.access_link(source)
        found: set[Path] = set()
        stack: list[tuple[Link, Packet, Path]] = [(access, packet, (access.id,))]
        while stack:
            link, current, way = stack.pop()
            if link.target == target:
                found.add(way)
                continue
            if link.target not in self._pipelines:
                raise VerificationError(f"{what} is delivered to {link.target}, at {link.id}")
            if len(way) > len(self._fabric.switches) + 1:
                raise VerificationError(f"{what} loops: {' '.join(map(str, way[:12]))} …")
            for alternative in self.step(link.target, link.target_port, current):
                emission, following = self._only(alternative, link.target, what)
                stack.append((following, emission.packet, (*way, following.id)))
        return frozenset(found)

    def _only(self, alternative: Alternative, switch: str, what: str) -> tuple[Emission, Link]:
        """The one emission of an alternative, and the link that it takes."""
        if not alternative:
            raise VerificationError(f"{what} is dropped at {switch}")
        if len(alternative) > 1:
            raise VerificationError(f"{what} is copied at {switch}")
        emission = alternative[0]
        if is_punt(emission):
            raise VerificationError(f"{what} goes to the controller at {switch}")
        out = LinkId(switch, emission.port)
        link = self._fabric.link_by_id.get(out)
        if link is None or out in self._failed:
            raise VerificationError(f"{what} is lost at {out}, where no link leads on")
        return emission, link

    def check_delivery(self, source: str, packet: Packet, target: str, proved: set[State]) -> None:
        """Prove delivery without listing the ways: each state is looked at once.

        Parameters
        ----------
        proved : set of State
            States from which delivery to this target is proved; grows. Behind the ingress they are the same for
            all sources, where no rule there looks at the source.

        Raises
        ------
        VerificationError
            As for `ways`.
        """
        self._prove(self._fabric.access_link(source), packet, f"a packet {source} → {target}", target, proved, set())

    def _prove(
        self, link: Link, packet: Packet, what: str, target: str, proved: set[State], on_way: set[State]
    ) -> None:
        if link.target == target:
            if packet.labels:
                raise VerificationError(f"{what} arrives with a label on it, at {link.id}")
            return
        if link.target not in self._pipelines:
            raise VerificationError(f"{what} is delivered to {link.target}, at {link.id}")
        if link.source in self._pipelines:
            packet = replace(packet, **self._hidden)
        state = (link.target, link.target_port, packet)
        if state in proved:
            return
        if state in on_way:
            raise VerificationError(f"{what} loops through {link.target}")
        on_way.add(state)
        for alternative in self.step(link.target, link.target_port, packet):
            emission, following = self._only(alternative, link.target, what)
            self._prove(following, emission.packet, what, target, proved, on_way)
        on_way.discard(state)
        proved.add(state)

    @cached_property
    def _hidden(self) -> dict[str, Any]:
        """Source fields that no switch looks at in packets from another switch, blanked."""
        seen: set[str] = set()
        for link in self._fabric.links:
            if link.source in self._pipelines and link.target in self._pipelines:
                seen |= self._pipelines[link.target].fields_seen(link.target_port)
        blank = {"eth_src": "", "ipv4_src": None, "arp_spa": None, "arp_sha": None}
        return {name: value for name, value in blank.items() if name not in seen}

    def check_pair(self, source: Node, target: Node, planned: Path | None, proved: set[State]) -> None:
        """Prove that a host reaches another, by its planned path where it has one."""
        sender, receiver = (source.mac or "", source.ip or ""), (target.mac or "", target.ip or "")
        packet = ipv4_packet(sender, receiver)
        if planned is None:
            self.check_delivery(source.id, packet, target.id, proved)
        else:
            ways = self.ways(source.id, packet, target.id)
            if ways != {planned}:
                taken = "; ".join(" ".join(map(str, way)) for way in sorted(ways))
                raise VerificationError(
                    f"packets {source.id} → {target.id} take {taken} and not {' '.join(map(str, planned))}, as planned"
                )
        self.check_delivery(source.id, arp_packet(sender, receiver[1], target.mac or ""), target.id, proved)

    def check_forgery(self, host: Node, victim: Node, labels: AbstractSet[int]) -> None:
        """Prove that a host's port lets in neither a forged source nor a label, sent to a victim."""
        access = self._fabric.access_link(host.id)
        real, other = (host.mac or "", host.ip or ""), (victim.mac or "", victim.ip or "")
        forged = [
            ipv4_packet((FORGED_MAC, real[1]), other),
            ipv4_packet((real[0], FORGED_IP), other),
            *(Packet(real[0], other[0], ETH_TYPE_MPLS, real[1], other[1], labels=(label,)) for label in labels),
        ]
        for packet in forged:
            if self.step(access.target, access.target_port, packet) != {()}:
                raise VerificationError(
                    f"a forged packet of {host.id} gets past {access.target}:{access.target_port}: {packet}"
                )
