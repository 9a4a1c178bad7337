"""Proves from the rules alone that packets arrive: every pair, once, in every hash's choice, as planned.

A packet's possible ways form a graph of (switch, port, headers). If no state drops, copies or punts it, if none
leads back to itself, and all end at the destination, then every choice of every hash delivers it exactly once
(header space reasoning; Kazemian, Varghese and McKeown, "Header space analysis", NSDI 2012).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from dataplane.pipeline import Alternative, Emission, Packet, SwitchPipeline, arp_packet, ipv4_packet, is_punt
from dataplane.planned import LabelledPath
from dataplane.rules import ETH_TYPE_ARP, ETH_TYPE_IPV4, Match, RuleSet, SwitchRules
from solver.routing import Path
from topologies.errors import HeddleError
from topologies.fabric import Fabric, Link, LinkId, Node
from topologies.shortest import distances

State: TypeAlias = tuple[str, int, Packet]
"""A packet at a switch's port."""


class VerificationError(HeddleError):
    """The rules do not do what they should; the message names the packet and the place. Nothing was installed."""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What was proved: host pairs that reach each other, and how many of them by a planned path."""

    pairs: int
    planned: int


def verify(
    fabric: Fabric,
    rules: RuleSet,
    paths: Sequence[LabelledPath] = (),
    *,
    pairs: Container[tuple[str, str]] | None = None,
) -> VerificationReport:
    """Check rules against a fabric and the planned paths.

    Every host with an address reaches every other that the fabric connects it to, by IPv4 and by ARP; planned
    pairs take exactly their path; nothing enters with a forged source or a label.

    Parameters
    ----------
    pairs : container of (str, str), optional
        Sources and targets to look at beside the planned ones; without it all are.

    Raises
    ------
    VerificationError
        The first thing found wrong.
    RuleError
        A switch would refuse a rule, or may read two in either way.
    """
    network = Network(fabric, rules)
    planned = {(path.source, path.target): path.links for path in paths}
    hosts = [host for host in fabric.hosts if host.ip and host.mac and host.id in fabric.access_links]
    network.check_guards()
    proved_pairs: set[tuple[str, str]] = set()
    for target in hosts:
        reachable = distances(fabric, target.id)
        proved: set[State] = set()
        for source in hosts:
            pair = (source.id, target.id)
            if source is target or source.id not in reachable:
                continue
            if pairs is None or pair in pairs or pair in planned:
                network.check_pair(source, target, planned.get(pair), proved)
                proved_pairs.add(pair)
    for pair in planned:
        if pair not in proved_pairs:
            raise VerificationError(f"the planned pair {pair[0]} → {pair[1]} is not two attached hosts with addresses")
    return VerificationReport(len(proved_pairs), len(planned))


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
                emission, following = self._only(alternative, link, current, what)
                stack.append((following, emission.packet, (*way, following.id)))
        return frozenset(found)

    def _only(self, alternative: Alternative, arriving: Link, packet: Packet, what: str) -> tuple[Emission, Link]:
        """The one emission of an alternative, and the link that it takes."""
        if len(alternative) == 1 and not is_punt(alternative[0]):
            emission = alternative[0]
            out = LinkId(arriving.target, emission.port)
            link = self._fabric.link_by_id.get(out)
            if link is not None and out not in self._failed:
                return emission, link
            fate = f"lost at {out}, where no link leads on,"
        elif not alternative:
            fate = f"dropped at {arriving.target}"
        elif len(alternative) > 1:
            fate = f"copied at {arriving.target}"
        else:
            fate = f"sent to the controller at {arriving.target}"
        rule = self._pipelines[arriving.target].decided_by(packet, arriving.target_port)
        raise VerificationError(f"{what} is {fate} by {rule}")

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
            emission, following = self._only(alternative, link, packet, what)
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

    def check_guards(self) -> None:
        """Prove that no port but one from another switch lets in a forged source or a label.

        A rule that lets packets past the guard table must itself demand the addresses of a host that is known at
        its port, in IPv4 or ARP: so it holds for every packet, whatever else is in it, labels included.

        Raises
        ------
        VerificationError
            It names the rule that lets in more.
        """
        hosts: dict[LinkId, list[Node]] = {}
        fabric_ports: set[LinkId] = set()
        for link in self._fabric.links:
            if link.source in self._pipelines:
                fabric_ports.add(link.reverse_id)
            else:
                hosts.setdefault(link.reverse_id, []).append(self._fabric.node_by_id[link.source])
        for switch, pipeline in self._pipelines.items():
            open_to_all = []
            for rule in pipeline.admitting():
                port = LinkId(switch, rule.match.in_port or 0)
                if port not in fabric_ports and not any(_demands(rule.match, host) for host in hosts.get(port, ())):
                    open_to_all.append(str(rule))
            if open_to_all:
                raise VerificationError(f"a forged packet gets past {switch} by {min(open_to_all)}")


def _demands(match: Match, host: Node) -> bool:
    """Whether only packets with a host's own addresses match."""
    if None in (host.ip, host.mac) or match.eth_src != host.mac:
        return False
    if match.eth_type == ETH_TYPE_IPV4:
        return match.ipv4_src == host.ip
    return match.eth_type == ETH_TYPE_ARP and (match.arp_spa, match.arp_sha) == (host.ip, host.mac)
