"""Packets sent one by one through the rules: what decides where reading them in classes does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property

from dataplane.flowspace import Flow, apart, share_out
from dataplane.matching import prefix_range
from dataplane.network import Network, VerificationError
from dataplane.pipeline import Packet, SwitchPipeline, arp_packet, ipv4_packet
from dataplane.rules import ETH_TYPE_IPV4, FlowRule, Table
from solver.routing import Path
from topologies.fabric import Fabric, LinkId, Node
from topologies.shortest import distances

_NOBODY = "02:00:00:00:00:00"


class Trial:
    """One state of a fabric, whole or with failed links.

    Parameters
    ----------
    planned : mapping of (str, str) to set of Path
        The ways that each planned pair's packets may take; other pairs' are free.
    """

    def __init__(
        self,
        fabric: Fabric,
        pipelines: Mapping[str, SwitchPipeline],
        planned: Mapping[tuple[str, str], AbstractSet[Path]],
        failed: AbstractSet[LinkId] = frozenset(),
    ) -> None:
        self._fabric = fabric
        self._pipelines = pipelines
        self._planned = planned
        self._failed = failed
        self._network = Network(fabric, {}, failed, pipelines=pipelines)
        self._living = fabric.without_links(failed) if failed else fabric
        self._reaching: dict[str, Mapping[str, int]] = {}

    def connects(self, source: str, target: str) -> bool:
        """Whether the fabric still has a way."""
        if target not in self._reaching:
            self._reaching[target] = distances(self._living, target)
        return source in self._reaching[target]

    def check(self, source: Node, target: Node) -> None:
        """Send all kinds of packets from a host to another, where the fabric still connects them.

        Raises
        ------
        VerificationError
            Some do not arrive, or a planned pair's take another path while nothing has failed.
        """
        if not self.connects(source.id, target.id):
            return
        wanted = self._planned.get((source.id, target.id))
        taken: set[Path] = set()
        for packet in self._flows(source, target):
            if wanted is None or self._failed:
                self._network.deliver(source.id, packet, target.id)
            else:
                taken |= self._network.ways(source.id, packet, target.id)
        if wanted is not None and not self._failed and taken != wanted:
            raise VerificationError(
                f"packets {source.id} → {target.id} take {_told(taken)} and not {_told(wanted)}, as planned"
            )
        asked = arp_packet(_identity(source), target.ip or "", target.mac or "")
        self._network.deliver(source.id, asked, target.id)

    def check_end(self, source: Node, eth_type: int, address: str) -> None:
        """Send a packet from a host to any address.

        Raises
        ------
        VerificationError
            It may loop.
        """
        if eth_type == ETH_TYPE_IPV4:
            self._network.end(source.id, ipv4_packet(_identity(source), (_NOBODY, address)))
        else:
            self._network.end(source.id, arp_packet(_identity(source), address))

    def _flows(self, source: Node, target: Node) -> Iterator[Packet]:
        """An IPv4 packet for each rule at the ingress that some flow of a pair meets, or elsewhere where more looks."""
        sender, receiver = _identity(source), _identity(target)
        rules = self._classifying(source, target)
        if not rules:
            yield ipv4_packet(sender, receiver)
        for flow in self._everywhere or [flow for _, flow in share_out(rules)]:
            yield ipv4_packet(sender, receiver, ip_proto=flow.ip_proto, src_port=flow.src_port, dst_port=flow.dst_port)

    @cached_property
    def _everywhere(self) -> list[Flow]:
        """Flows that rules of any table tell apart, where not only the classify tables do."""
        looking = [
            (table, rule.match)
            for pipeline in self._pipelines.values()
            for table, shapes in pipeline.tables.items()
            for shape in shapes
            if "ip_proto" in shape.names
            for rule in shape.rules.values()
        ]
        if all(table is Table.CLASSIFY for table, _ in looking):
            return []
        return apart(match for _, match in looking)

    def _classifying(self, source: Node, target: Node) -> list[FlowRule]:
        pipeline = self._pipelines[self._fabric.access_link(source.id).target]
        found: list[FlowRule] = []
        for shape in pipeline.tables[Table.CLASSIFY]:
            if "ip_proto" in shape.names:
                found += (rule for rule in shape.rules.values() if _concerns(rule, source, target))
        return found


def _concerns(rule: FlowRule, source: Node, target: Node) -> bool:
    return _is_in(source.ip, rule.match.ipv4_src) and _is_in(target.ip, rule.match.ipv4_dst)


def _is_in(address: str | None, prefix: str | None) -> bool:
    if prefix is None or address is None:
        return prefix is None
    start, size = prefix_range(prefix)
    return start <= prefix_range(address)[0] < start + size


def _identity(host: Node) -> tuple[str, str]:
    return host.mac or "", host.ip or ""


def _told(ways: AbstractSet[Path]) -> str:
    return "; ".join(" ".join(map(str, way)) for way in sorted(ways)) or "no way"
