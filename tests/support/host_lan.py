"""Hosts at ports, in memory, round one host watch: who is alive answers; time moves when a test says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from controller.discovery import Change, PortId
from controller.eventlog import EventLog
from controller.hostcheck import Place
from controller.hosts import Claim, Host
from controller.hostwatch import HostWatch
from controller.service import PortRole
from controller.store import StoredHost
from topologies.errors import HeddleError
from topologies.fabric import Fabric
from workloads.headers import ARP_REQUEST, Arp, Headers, read_headers, write_arp

NOBODY = "00:00:00:00:00:00"
BROADCAST = "ff:ff:ff:ff:ff:ff"
TICK_S = 0.05


class Sent(NamedTuple):
    at_s: float
    port: PortId
    frame: bytes

    @property
    def ethernet(self) -> Headers:
        headers = read_headers(self.frame)
        assert isinstance(headers, Headers)
        return headers

    @property
    def arp(self) -> Arp:
        arp = self.ethernet.arp
        assert arp is not None
        return arp


class FakeStore:
    """Remembers hosts; may be told to fail."""

    def __init__(self, hosts: Iterable[StoredHost] = ()) -> None:
        self.rows = {host.ip: host for host in hosts}
        self.transactions = 0
        self.broken = False

    def hosts(self) -> tuple[StoredHost, ...]:
        return tuple(self.rows.values())

    def change_hosts(self, saved: Iterable[StoredHost], forgotten: Iterable[str]) -> None:
        if self.broken:
            raise HeddleError("the disk is full")
        self.transactions += 1
        for ip in forgotten:
            self.rows.pop(ip, None)
        self.rows |= {host.ip: host for host in saved}


class Lan:
    """Ports with hosts behind them.

    Attributes
    ----------
    alive : set of Claim
        Hosts that answer ARP at their ports.
    deaf : set of PortId
        Ports whose hosts receive nothing, though they may send.
    places : dict of PortId to Place
        Ports whose hosts can not be asked, with the reason.
    jobs : set of str
        Names of hosts on which jobs run.
    fabric_ports : set of PortId
        Ports that lead to switches.
    """

    def __init__(
        self, ports: Iterable[PortId], declared: Fabric | None = None, stored: Iterable[StoredHost] = ()
    ) -> None:
        self.now = 1000.0
        self.ports = list(ports)
        self.alive: set[Claim] = set()
        self.deaf: set[PortId] = set()
        self.places: dict[PortId, Place] = {}
        self.jobs: set[str] = set()
        self.fabric_ports: set[PortId] = set()
        self.sent: list[Sent] = []
        self.changes: list[Change] = []
        self.events = EventLog((), lambda _: None)
        self.store = FakeStore(stored)
        self._answers: list[tuple[PortId, bytes]] = []
        self.watch = HostWatch(
            declared,
            self.store,
            self.events,
            self._send,
            lambda: [port for port in self.ports if self.role(port) is PortRole.EDGE],
            lambda port: self.places.get(port, Place.ASKABLE),
            lambda: self.jobs,
            self.now,
        )

    @property
    def kinds(self) -> list[str]:
        return [change.kind for change in self.changes]

    def role(self, port: PortId) -> PortRole:
        if port in self.fabric_ports:
            return PortRole.FABRIC
        return PortRole.UNKNOWN if self.places.get(port) in (Place.LOST, Place.NOT_YET) else PortRole.EDGE

    def find(self, ip: str) -> Host | None:
        return self.watch.table.find(ip)

    def owner(self, ip: str) -> tuple[str, PortId | None] | None:
        host = self.find(ip)
        return (host.mac, host.at) if host is not None else None

    def speak(self, claim: Claim, target: str = "10.255.255.1", *, alive: bool = True) -> None:
        """Somebody asks for an address, and lives on to answer."""
        if alive:
            self.alive.add(claim)
        self.send(claim.at, Arp(ARP_REQUEST, claim.mac, claim.ip, NOBODY, target))

    def send(self, at: PortId, arp: Arp, source: str | None = None) -> None:
        """A frame comes in at a port."""
        self.arrive(at, write_arp(arp, BROADCAST), source)

    def arrive(self, at: PortId, frame: bytes, source: str | None = None) -> None:
        headers = read_headers(frame)
        assert isinstance(headers, Headers)
        if source is not None:
            headers = replace(headers, source=source)
        self.changes += self.watch.frame_arrived(at, headers, self, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass, and answers arrive."""
        end_s = self.now + seconds
        while self.now < end_s:
            self.now += TICK_S
            answers, self._answers = self._answers, []
            for at, frame in answers:
                if self.role(at) is PortRole.EDGE:
                    self.arrive(at, frame)
            self.changes += self.watch.tick(self.now)

    def _send(self, port: PortId, frame: bytes) -> None:
        sent = Sent(self.now, port, frame)
        self.sent.append(sent)
        if sent.arp.operation != ARP_REQUEST or port in self.deaf:
            return
        for host in sorted(self.alive):
            if (host.at, host.ip) == (port, sent.arp.target_ip) and sent.ethernet.destination in (host.mac, BROADCAST):
                reply = Arp(2, host.mac, host.ip, sent.arp.sender_mac, sent.arp.sender_ip)
                self._answers.append((port, write_arp(reply, sent.arp.sender_mac)))
