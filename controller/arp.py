"""ARP that the switches cannot answer by themselves: for hosts that somebody has still to find."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from controller.discovery import PROBE_ROUNDS, PortId
from controller.hosts import HostTable
from workloads.headers import ARP_REPLY, ARP_REQUEST, Arp, write_arp

BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
UNKNOWN_MAC = "00:00:00:00:00:00"
CONTROLLER_MAC = "02:48:44:00:00:01"
PER_TARGET_S = 1.0
"""One search for an address in this time, however many hosts ask for it."""
SEARCHES_PER_S = 100
_MAX_TARGETS = 4096


class ArpResponder:
    """Answers for known hosts, carries replies to those who asked, and searches for unknown ones.

    Parameters
    ----------
    send : callable
        Sends a frame out of a port.
    edge_ports : callable
        All edge ports of the fabric: where an unknown host may be.
    """

    def __init__(
        self, hosts: HostTable, send: Callable[[PortId, bytes], None], edge_ports: Callable[[], Sequence[PortId]]
    ) -> None:
        self._hosts = hosts
        self._send = send
        self._edge_ports = edge_ports
        self._searched: OrderedDict[str, float] = OrderedDict()
        self._searches_s: deque[float] = deque()
        self._checks: dict[PortId, tuple[int, float]] = {}

    def answer(self, at: PortId, arp: Arp, now_s: float) -> None:
        """Do what an ARP packet from an edge port asks for."""
        if arp.target_ip == arp.sender_ip:
            return
        target = self._hosts.find(arp.target_ip)
        if arp.operation == ARP_REPLY:
            if target is not None and target.at is not None:
                self._send(target.at, write_arp(arp, target.mac))
        elif arp.operation == ARP_REQUEST and target is not None:
            reply = Arp(ARP_REPLY, target.mac, target.ip, arp.sender_mac, arp.sender_ip)
            self._send(at, write_arp(reply, arp.sender_mac))
        elif arp.operation == ARP_REQUEST and self._may_search(arp.target_ip, now_s):
            frame = write_arp(arp, BROADCAST_MAC)
            for port in self._edge_ports():
                if port != at:
                    self._send(port, frame)

    def _may_search(self, target_ip: str, now_s: float) -> bool:
        while self._searches_s and now_s - self._searches_s[0] >= 1.0:
            self._searches_s.popleft()
        asked_s = self._searched.get(target_ip)
        if len(self._searches_s) >= SEARCHES_PER_S or (asked_s is not None and now_s - asked_s < PER_TARGET_S):
            return False
        self._searches_s.append(now_s)
        self._searched[target_ip] = now_s
        self._searched.move_to_end(target_ip)
        if len(self._searched) > _MAX_TARGETS:
            self._searched.popitem(last=False)
        return True

    def host_gone(self, port: PortId, now_s: float) -> bool:
        """Ask the hosts at a contested port whether they are there; True once none answered three rounds."""
        asked, last_s = self._checks.get(port, (0, now_s - PER_TARGET_S))
        hosts = self._hosts.at(port)
        if asked and any(host.answered_s >= last_s for host in hosts):
            self._checks[port] = (0, now_s)
            return False
        if now_s - last_s < PER_TARGET_S:
            return False
        if asked >= PROBE_ROUNDS or not hosts:
            self._checks.pop(port, None)
            return True
        for host in hosts:
            # An address probe (RFC 5227) names no sender address, so no host learns one from it.
            probe = Arp(ARP_REQUEST, CONTROLLER_MAC, "0.0.0.0", UNKNOWN_MAC, host.ip)  # noqa: S104
            self._send(port, write_arp(probe, host.mac))
        self._checks[port] = (asked + 1, now_s)
        return False
