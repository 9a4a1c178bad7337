"""ARP that the switches cannot answer by themselves: for hosts that somebody has still to find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from controller.buckets import Buckets
from controller.discovery import PROBE_ROUNDS, PortId
from controller.hosts import HostTable
from controller.searches import Searches
from workloads.headers import ARP_REPLY, ARP_REQUEST, Arp, write_arp

BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
UNKNOWN_MAC = "00:00:00:00:00:00"
NO_IP = "0.0.0.0"  # noqa: S104 - the sender of an address probe, not a bind
OUR_MACS = "02:48:44:"
"""What all addresses begin with by which the controller asks; nobody else may have one of them."""
CONTROLLER_MAC = OUR_MACS + "00:00:01"
ROUND_S = 1.0
"""Time in which the hosts at a contested port answer."""
ANSWERS_PER_S, ANSWERS_BURST = 100.0, 200
"""What is sent on behalf of one port; its switch lets as much come up."""


def probe(ip: str, mac: str, sender_mac: str = CONTROLLER_MAC) -> bytes:
    """The frame that asks a host whether it has an address.

    It names no sender address (RFC 5227, section 2.1.1), so that no host learns one from it, and the switches know
    nobody to whom they could carry the answer: it comes up.
    """
    return write_arp(Arp(ARP_REQUEST, sender_mac, NO_IP, UNKNOWN_MAC, ip), mac)


class ArpResponder:
    """Answers for known hosts, carries replies to those who asked, and searches for unknown ones.

    Parameters
    ----------
    send : callable
        Sends a frame out of a port.
    edge_ports : callable
        All edge ports of the fabric: where an unknown host may be.
    counts : Counter
        Counts what was not answered or searched for, as it would have been too much.
    """

    def __init__(
        self,
        hosts: HostTable,
        send: Callable[[PortId, bytes], None],
        edge_ports: Callable[[], Sequence[PortId]],
        counts: Counter[str],
    ) -> None:
        self._hosts = hosts
        self._send = send
        self._counts = counts
        self._searches = Searches(send, edge_ports, counts)
        self._allowed: Buckets[PortId] = Buckets(ANSWERS_PER_S, ANSWERS_BURST)
        self._checks: dict[PortId, tuple[int, float]] = {}

    def answer(self, at: PortId, arp: Arp, now_s: float) -> None:
        """Do what an ARP packet from an edge port asks for; its sender is who it says, or names no address."""
        if arp.target_ip == arp.sender_ip:
            return
        target = self._hosts.find(arp.target_ip)
        if arp.operation == ARP_REQUEST and target is None:
            self._searches.ask(at, arp.target_ip, write_arp(arp, BROADCAST_MAC), now_s)
        elif target is None or target.mac == arp.sender_mac:
            return
        elif not self._allowed.take(at, now_s):
            self._counts["arp-answer-shed"] += 1
        elif arp.operation == ARP_REQUEST:
            reply = Arp(ARP_REPLY, target.mac, target.ip, arp.sender_mac, arp.sender_ip)
            self._send(at, write_arp(reply, arp.sender_mac))
        elif target.at is not None and arp.sender_ip != NO_IP:
            self._send(target.at, write_arp(arp, target.mac))

    def go_on(self, now_s: float) -> None:
        """Go on with searches under way."""
        self._searches.go_on(now_s)

    def host_gone(self, port: PortId, now_s: float) -> bool:
        """Ask the hosts at a contested port whether they are there; True once none answered three rounds."""
        asked, last_s = self._checks.get(port, (0, now_s - ROUND_S))
        if now_s - last_s > PROBE_ROUNDS * ROUND_S:
            # Of another contest, which ended by itself.
            asked = 0
        hosts = self._hosts.at(port)
        if asked and any(self._hosts.spoke_s(host.ip) >= last_s for host in hosts):
            self._checks[port] = (0, now_s)
            return False
        if now_s - last_s < ROUND_S:
            return False
        if asked >= PROBE_ROUNDS or not hosts:
            self._checks.pop(port, None)
            return True
        for host in hosts:
            self._send(port, probe(host.ip, host.mac))
        self._checks[port] = (asked + 1, now_s)
        return False
