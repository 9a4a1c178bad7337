"""The host table: who sits behind which edge port, learned from ARP or from the declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from controller.discovery import Change, PortId
from topologies.fabric import Fabric, Node
from workloads.headers import Arp

MAX_HOSTS = 65_536
MAX_HOSTS_PER_PORT = 64
DECLARED, BY_ARP = "declared", "arp"


@dataclass(frozen=True, slots=True)
class Host:
    """A host and its place.

    Attributes
    ----------
    answered_s : float
        When it last sent ARP; 0 where it did not.
    certain : bool
        Whether its port has lived since it spoke: else another card, or another address, may be there by now.
    """

    name: str
    ip: str
    mac: str
    at: PortId | None
    learned_from: str
    answered_s: float = 0.0
    certain: bool = True

    @property
    def may_be_replaced(self) -> bool:
        """Whether whoever claims its address or its MAC in its place is believed; the declaration stays as it is."""
        return not self.certain and self.learned_from != DECLARED


class HostTable:
    """Hosts by IPv4 address; bounded, and changed only by ARP from edge ports.

    Parameters
    ----------
    declared : Fabric or None
        Declared hosts are known from the start; they are attached where their access link says, once
        discovery finds an edge port there.
    """

    def __init__(self, declared: Fabric | None) -> None:
        self._by_ip: dict[str, Host] = {}
        self._names: dict[str, str] = {}
        dpids = {node.id: node.dpid for node in declared.switches} if declared is not None else {}
        for node in declared.hosts if declared is not None else ():
            place = _declared_place(declared, node, dpids)
            if node.mac is not None:
                self._names[node.mac] = node.id
            if node.ip is not None:
                self._names[node.ip] = node.id
            if node.ip is not None and node.mac is not None:
                self._by_ip[node.ip] = Host(node.id, node.ip, node.mac, place, DECLARED)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._by_ip.values())

    def restore(self, ip: str, mac: str, at: PortId) -> None:
        """Take a host over from an earlier run; the declaration wins."""
        if ip not in self._by_ip and self._of_mac(mac) is None and len(self._by_ip) < MAX_HOSTS:
            self._by_ip[ip] = Host(self._name(mac, ip), ip, mac, at, BY_ARP, certain=False)

    def arp_arrived(self, at: PortId, arp: Arp, now_s: float, *, old_place_lost: bool) -> list[Change]:
        """A host spoke at an edge port.

        Parameters
        ----------
        old_place_lost : bool
            Whether the port at which the host was known is no longer an edge port with link.
        """
        if arp.sender_ip == "0.0.0.0" or int(arp.sender_mac[1], 16) & 1:  # noqa: S104 - an address probe, not a bind
            return []
        known = self._by_ip.get(arp.sender_ip)
        if known is None:
            return self._learn(at, arp, now_s)
        if (known.mac, known.at) == (arp.sender_mac, at):
            self._by_ip[known.ip] = replace(known, answered_s=now_s, certain=True)
            return []
        if known.mac != arp.sender_mac and known.may_be_replaced and known.at == at:
            return self._learn(at, arp, now_s)
        if known.mac != arp.sender_mac:
            return [
                Change(
                    False,
                    "host-conflict",
                    f"{arp.sender_mac} at {at} claims {known.ip}, which {known.name} has",
                )
            ]
        if known.at is not None and not old_place_lost:
            where = "declared" if known.learned_from == DECLARED and not known.answered_s else "known"
            return [Change(False, "host-conflict", f"{known.name} speaks at {at} but is {where} at {known.at}")]
        self._by_ip[known.ip] = replace(known, at=at, learned_from=BY_ARP, answered_s=now_s, certain=True)
        return [Change(False, "host-moved", f"host {known.name} is now at {at}")]

    def _learn(self, at: PortId, arp: Arp, now_s: float) -> list[Change]:
        replaced = {
            host.ip
            for host in self.at(at)
            if host.may_be_replaced and (host.ip == arp.sender_ip or host.mac == arp.sender_mac)
        }
        if len(self._by_ip) - len(replaced) >= MAX_HOSTS or len(self.at(at)) - len(replaced) >= MAX_HOSTS_PER_PORT:
            return [Change(False, "host-refused", f"no room for another host at {at}: {arp.sender_ip}")]
        other = self._of_mac(arp.sender_mac)
        if other is not None and other.ip not in replaced:
            return [Change(False, "host-conflict", f"{other.name} at {at} claims {arp.sender_ip} beside {other.ip}")]
        for ip in replaced:
            del self._by_ip[ip]
        name = self._name(arp.sender_mac, arp.sender_ip)
        self._by_ip[arp.sender_ip] = Host(name, arp.sender_ip, arp.sender_mac, at, BY_ARP, now_s)
        return [Change(False, "host-seen", f"host {name} is at {at}")]

    def port_lost(self, port: PortId) -> None:
        """A port went down: what comes up there again may be something else."""
        self._doubt(self.at(port))

    def switch_lost(self, dpid: int) -> None:
        """The channel to a switch is lost: nobody sees what its ports do."""
        self._doubt([host for host in self if host.at is not None and host.at.dpid == dpid])

    def _doubt(self, hosts: Iterable[Host]) -> None:
        self._by_ip |= {host.ip: replace(host, certain=False) for host in hosts}

    def forget_at(self, port: PortId) -> None:
        """Drop the hosts at a port that turned out to lead to a switch."""
        self._by_ip = {ip: host for ip, host in self._by_ip.items() if host.at != port}

    def at(self, port: PortId) -> tuple[Host, ...]:
        """Hosts known at a port."""
        return tuple(host for host in self if host.at == port)

    def find(self, ip: str) -> Host | None:
        """The host that has an address."""
        return self._by_ip.get(ip)

    def _of_mac(self, mac: str) -> Host | None:
        """The host that has a MAC: one host has one address here."""
        return next((host for host in self if host.mac == mac), None)

    def _name(self, mac: str, ip: str) -> str:
        return self._names.get(mac) or self._names.get(ip) or f"h-{ip}"


def _declared_place(declared: Fabric | None, node: Node, dpids: dict[str, int | None]) -> PortId | None:
    if declared is None:
        return None
    for link in declared.links:
        if link.source == node.id:
            dpid = dpids.get(link.target)
            return PortId(dpid, link.target_port) if dpid is not None else None
    return None
