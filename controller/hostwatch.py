"""Who sits behind the edge ports: learned from their ARP, remembered across restarts, asked when in doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from controller.arp import BROADCAST_MAC, NO_IP, OUR_MACS, UNKNOWN_MAC, ArpResponder
from controller.discovery import Change, Discovery, PortId
from controller.eventlog import EventLog
from controller.hostageing import AGE_S, Ageing
from controller.hostcheck import HostChecks, Place
from controller.hosts import Claim, Heard, HostTable, Standing
from controller.service import HostStatus, PortRole
from controller.statuses import host_statuses
from controller.store import Store, StoredHost
from topologies.errors import HeddleError
from topologies.fabric import Fabric
from workloads.headers import ARP_REPLY, ARP_REQUEST, Arp, Headers

SAVE_S = 0.25
"""Longest time until a host that was learned is on its way to the disk."""
_MOST_SAVED_AT_ONCE = 512


class HostWatch:
    """The host table with its memory and its voice.

    Parameters
    ----------
    declared : Fabric or None
        Hosts known from the start.
    store : Store
        Hosts of an earlier run come from there; the declaration wins.
    send : callable
        Sends a frame out of a port.
    edge_ports : callable
        All edge ports of the fabric.
    place : callable
        Whether the hosts at a port can be asked.
    in_use : callable
        Names of hosts on which jobs run.

    Attributes
    ----------
    table : HostTable
    """

    def __init__(
        self,
        declared: Fabric | None,
        store: Store,
        events: EventLog,
        send: Callable[[PortId, bytes], None],
        edge_ports: Callable[[], Sequence[PortId]],
        place: Callable[[PortId], Place],
        in_use: Callable[[], AbstractSet[str]],
        now_s: float,
    ) -> None:
        self.table = HostTable(declared)
        self._store = store
        self._events = events
        self._linked: set[PortId] = set()
        self._received: dict[PortId, tuple[int, float]] = {}
        self._arp = ArpResponder(self.table, send, edge_ports, events.counts)
        self._checks = HostChecks(self.table, send, place, self._received_s, now_s)
        self._ageing = Ageing(self.table, send, place, self._received_s, in_use)
        self._unsaved: dict[str, None] = {}
        self._saved_s = now_s
        self._statuses: tuple[int, tuple[HostStatus, ...]] = (-1, ())
        for host in store.hosts():
            self.table.restore(host.ip, host.mac, host.at)
            if self.table.find(host.ip) is None:
                self._unsaved[host.ip] = None
        for ip in self.table.take_changed():
            self._ageing.watch(ip, now_s + AGE_S)

    # ── what comes in ────────────────────────────────────────────────────────────────────────────

    def frame_arrived(self, at: PortId, headers: Headers, discovery: Discovery, now_s: float) -> list[Change]:
        """Take what a host's frame tells, and answer what it asks; other frames are dropped."""
        if headers.source.startswith(OUR_MACS):
            return [_spoofed(at, "comes from an address of the controller's")]
        arp = headers.arp if not headers.vlan_ids else None
        role = discovery.role(at)
        if arp is not None and role is PortRole.FABRIC and self._asks_on(arp, headers.source, now_s):
            return []
        if arp is None or arp.operation not in (ARP_REQUEST, ARP_REPLY) or role is not PortRole.EDGE:
            self._events.counts["packet-unwanted"] += 1
            return []
        if arp.sender_mac != headers.source:
            return [_spoofed(at, "names another sender than its frame")]
        if not _is_unicast_mac(arp.sender_mac):
            return [_spoofed(at, f"names {arp.sender_mac} as its sender, which no host has")]
        if arp.sender_ip == NO_IP:
            # Whoever asks whether an address is free says nothing of itself.
            self._arp.answer(at, arp, now_s)
            return []
        if not _is_unicast_ip(arp.sender_ip):
            return [_spoofed(at, "names a sender whose address no host can have")]
        claim = Claim(arp.sender_mac, arp.sender_ip, at)
        heard = self.table.hear(claim, now_s)
        changes = list(heard.changes)
        if heard.standing is Standing.KNOWN:
            changes = self._checks.owner_spoke(claim.ip, now_s)
        elif heard.standing is Standing.CONTESTED:
            changes = self._contested(claim, heard, arp, now_s)
        known = self.table.find(claim.ip)
        if known is not None and (known.mac, known.at) == (claim.mac, at):
            # Nothing is passed on for others: it would have hosts believe what the table does not.
            self._arp.answer(at, arp, now_s)
        return changes

    def _asks_on(self, arp: Arp, source: str, now_s: float) -> bool:
        """Take a known host's question that went on to another switch: it comes up where the address would be."""
        asker = self.table.find(arp.sender_ip)
        if arp.operation != ARP_REQUEST or asker is None or asker.at is None:
            return False
        if not asker.mac == arp.sender_mac == source:
            return False
        self._arp.answer(asker.at, arp, now_s)
        return True

    def _contested(self, claim: Claim, heard: Heard, arp: Arp, now_s: float) -> list[Change]:
        self._events.counts["host-claims"] += 1
        answered_mac = arp.target_mac if arp.operation == ARP_REPLY else ""
        return self._checks.claimed(claim, heard.owners, answered_mac, now_s)

    def counters_read(self, port: PortId, rx_packets: int, now_s: float) -> None:
        """The receive counter of a port: something speaks there."""
        count, moved_s = self._received.get(port, (rx_packets, 0.0))
        self._received[port] = (rx_packets, now_s if rx_packets > count else moved_s)

    def _received_s(self, port: PortId) -> float:
        return self._received.get(port, (0, 0.0))[1]

    def port_up(self, port: PortId) -> None:
        """A port has link."""
        self._linked.add(port)

    def has_link(self, port: PortId) -> bool:
        """Whether a port is there and was up when its switch last spoke of it."""
        return port in self._linked

    def port_lost(self, port: PortId, now_s: float) -> None:
        """A port has no link, or is gone."""
        self._linked.discard(port)
        self._received.pop(port, None)
        for host in self.table.at(port):
            self._ageing.watch(host.ip, now_s + AGE_S)
        self.table.port_lost(port)

    def gone(self, at: PortId, now_s: float) -> bool:
        """Whether the hosts at a contested port have left; they are asked, and forgotten once none answers."""
        if not self._arp.host_gone(at, now_s):
            return False
        self.table.forget_at(at)
        return True

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now_s: float) -> list[Change]:
        """Go on with searches, checks and ageing, and save what is new."""
        self._arp.go_on(now_s)
        changes = self._checks.tick(now_s) + self._ageing.tick(now_s)
        self._take_changed(now_s)
        if self._unsaved and (now_s - self._saved_s >= SAVE_S or len(self._unsaved) >= _MOST_SAVED_AT_ONCE):
            self._save(_MOST_SAVED_AT_ONCE)
            self._saved_s = now_s
        return changes

    def stop(self) -> None:
        """Save what is not saved yet."""
        self._unsaved |= dict.fromkeys(self.table.take_changed())
        self._save(len(self._unsaved))

    def _take_changed(self, now_s: float) -> None:
        for ip in self.table.take_changed():
            self._unsaved[ip] = None
            host = self.table.find(ip)
            if host is None or host.at is None:
                self._ageing.forget(ip)
                continue
            self._ageing.watch(ip, now_s + AGE_S)
            self._ageing.newcomer(ip, host.at, now_s)

    def _save(self, most: int) -> None:
        saved, forgotten = [], []
        for ip in tuple(self._unsaved)[:most]:
            del self._unsaved[ip]
            host = self.table.find(ip)
            if host is None or host.at is None:
                forgotten.append(ip)
            else:
                saved.append(StoredHost(ip, host.mac, host.at))
        try:
            if saved or forgotten:
                self._store.change_hosts(saved, forgotten)
        except HeddleError as error:
            # The next start then knows a host less, or one too many, and learns; a full disk must not stop packets.
            self._events.note("store-failed", str(error))

    # ── what others read ─────────────────────────────────────────────────────────────────────────

    def statuses(self, name: Callable[[int], str]) -> tuple[HostStatus, ...]:
        """Every known host; ``name`` names a switch by its dpid."""
        if self._statuses[0] != self.table.version:
            self._statuses = (self.table.version, host_statuses(self.table, name))
        return self._statuses[1]


def _spoofed(at: PortId, what: str) -> Change:
    return Change(False, "arp-spoofed", f"ARP at {at} {what}", at)


def _is_unicast_mac(mac: str) -> bool:
    return not int(mac[1], 16) & 1 and mac not in (UNKNOWN_MAC, BROADCAST_MAC)


def _is_unicast_ip(ip: str) -> bool:
    """Whether a host can have an address: not "this network", loopback, multicast or beyond (RFC 6890)."""
    first = int(ip[: ip.index(".")])
    return 0 < first < 224 and first != 127
