"""Who sits behind the edge ports: learned from their ARP, remembered across restarts, asked when in doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controller.arp import ArpResponder
from controller.discovery import Change, Discovery, PortId
from controller.eventlog import EventLog
from controller.hosts import HostTable
from controller.service import PortRole
from controller.store import Store
from topologies.errors import HeddleError
from topologies.fabric import Fabric
from workloads.headers import Ethernet, read_arp

_NEWS = frozenset({"host-seen", "host-moved"})


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
    ) -> None:
        self.table = HostTable(declared)
        self._store = store
        self._events = events
        self._arp = ArpResponder(self.table, send, edge_ports)
        for host in store.hosts():
            self.table.restore(host.ip, host.mac, host.at)

    def frame_arrived(self, at: PortId, frame: Ethernet, discovery: Discovery, now_s: float) -> list[Change]:
        """Take what a host's frame tells, and answer what it asks; what is no ARP from an edge port is dropped."""
        arp = read_arp(frame.payload) if frame.eth_type == 0x0806 else None
        if arp is None or discovery.role(at) is not PortRole.EDGE:
            self._events.counts["packet-unwanted"] += 1
            return []
        if arp.sender_mac != frame.source:
            return [Change(False, "arp-spoofed", f"ARP at {at} names another sender than its frame")]
        known = self.table.find(arp.sender_ip)
        lost = known is not None and known.at is not None and discovery.role(known.at) is not PortRole.EDGE
        changes = self.table.arp_arrived(at, arp, now_s, old_place_lost=lost)
        if any(change.kind in _NEWS for change in changes):
            self._remember(lambda: self._store.save_host(arp.sender_ip, arp.sender_mac, at))
        self._arp.answer(at, arp, now_s)
        return changes

    def gone(self, at: PortId, now_s: float) -> bool:
        """Whether the hosts at a contested port have left; they are asked, and forgotten once none answers."""
        if not self._arp.host_gone(at, now_s):
            return False
        self.table.forget_at(at)
        self._remember(lambda: self._store.delete_hosts(at))
        return True

    def _remember(self, change: Callable[[], None]) -> None:
        try:
            change()
        except HeddleError as error:
            # The next start then knows a host less, or one too many, and learns; a full disk must not stop packets.
            self._events.note("store-failed", str(error))
