"""Proves that switches let in nothing forged."""

from __future__ import annotations

from collections.abc import Mapping

from dataplane.network import VerificationError
from dataplane.reading import SwitchReading
from dataplane.rules import ETH_TYPE_ARP, ETH_TYPE_IPV4, Match
from topologies.fabric import Fabric, LinkId, Node, NodeKind


def check_guards(fabric: Fabric, readings: Mapping[str, SwitchReading]) -> None:
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
    for link in fabric.links:
        node = fabric.node_by_id[link.source]
        if node.kind is NodeKind.SWITCH:
            fabric_ports.add(link.reverse_id)
        else:
            hosts.setdefault(link.reverse_id, []).append(node)
    for switch, reading in readings.items():
        open_to_all = []
        for match, rule in reading.admitting:
            port = LinkId(switch, match.in_port or 0)
            if port not in fabric_ports and not any(_demands(match, host) for host in hosts.get(port, ())):
                open_to_all.append(rule)
        if open_to_all:
            raise VerificationError(f"a forged packet gets past {switch} by {min(open_to_all)}")


def _demands(match: Match, host: Node) -> bool:
    """Whether only packets with a host's own addresses match."""
    if None in (host.ip, host.mac) or match.eth_src != host.mac:
        return False
    if match.eth_type == ETH_TYPE_IPV4:
        return match.ipv4_src == host.ip
    return match.eth_type == ETH_TYPE_ARP and (match.arp_spa, match.arp_sha) == (host.ip, host.mac)
