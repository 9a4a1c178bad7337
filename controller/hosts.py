"""The host table: who sits behind which edge port, learned from ARP or from the declaration.

It is bounded, and every operation costs as much as the hosts at one port at most. It believes whoever speaks first;
who claims what another has is believed only once somebody has found that the other is silent (`hostcheck`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from controller.discovery import Change, PortId
from topologies.fabric import Fabric, Node

MAX_HOSTS = 65_536
MAX_HOSTS_PER_PORT = 64
_KEPT_FOR_FIRST = 1 / 8
"""Part of the table that is kept for the first host of a port, so that many full ports do not shut the others out."""
DECLARED, BY_ARP = "declared", "arp"


@dataclass(frozen=True, slots=True)
class Host:
    """A host and its place.

    Attributes
    ----------
    certain : bool
        Whether its port has lived since it spoke: else another card, or another address, may be there by now.
    """

    name: str
    ip: str
    mac: str
    at: PortId | None
    learned_from: str
    certain: bool = True


class Claim(NamedTuple):
    """Somebody at a port says that it has an address."""

    mac: str
    ip: str
    at: PortId


class Standing(StrEnum):
    """What the table makes of a claim."""

    KNOWN = "known"
    NEW = "new"
    CONTESTED = "contested"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a claim.

    Attributes
    ----------
    owners : tuple of Host
        Those who have what is claimed, where it is contested: the address, the MAC, or both.
    """

    standing: Standing
    changes: tuple[Change, ...] = ()
    owners: tuple[Host, ...] = ()


_KNOWN = Heard(Standing.KNOWN)


class HostTable:
    """Hosts by IPv4 address, by MAC and by port; a host has one address here.

    Parameters
    ----------
    declared : Fabric or None
        Declared hosts are known from the start; they are attached where their access link says, once
        discovery finds an edge port there. What is declared of an address and a MAC never changes.

    Attributes
    ----------
    version : int
        Grows whenever a host comes, goes or changes.
    """

    def __init__(self, declared: Fabric | None, max_hosts: int = MAX_HOSTS) -> None:
        self.version = 0
        self._max_hosts = max_hosts
        self._by_ip: dict[str, Host] = {}
        self._by_mac: dict[str, Host] = {}
        self._at: dict[PortId, dict[str, Host]] = {}
        self._ports: dict[int, set[PortId]] = {}
        self._spoke_s: dict[str, float] = {}
        self._changed: set[str] = set()
        self._names: dict[str, str] = {}
        self._declared_mac: dict[str, str] = {}
        self._declared_ip: dict[str, str | None] = {}
        places = _declared_places(declared) if declared is not None else {}
        for node in declared.hosts if declared is not None else ():
            self._declare(node, places.get(node.id))
        self._changed.clear()

    def _declare(self, node: Node, place: PortId | None) -> None:
        if node.mac is not None:
            self._names[node.mac] = node.id
            self._declared_ip[node.mac] = node.ip
        if node.ip is not None:
            self._names[node.ip] = node.id
        if node.ip is not None and node.mac is not None:
            self._declared_mac[node.ip] = node.mac
            self._put(Host(node.id, node.ip, node.mac, place, DECLARED))

    def __iter__(self) -> Iterator[Host]:
        return iter(self._by_ip.values())

    def __len__(self) -> int:
        return len(self._by_ip)

    # ── what comes in ────────────────────────────────────────────────────────────────────────────

    def restore(self, ip: str, mac: str, at: PortId) -> None:
        """Take a host over from an earlier run; the declaration wins."""
        claim = Claim(mac, ip, at)
        if not self._owners(claim) and self._forbidden(claim, ()) is None and self._no_room(at, ()) is None:
            self._put(Host(self._name(claim), ip, mac, at, BY_ARP, certain=False))

    def hear(self, claim: Claim, now_s: float) -> Heard:
        """A host spoke at an edge port; what nobody has is believed at once."""
        known = self._by_ip.get(claim.ip)
        if known is not None and known.mac == claim.mac and known.at == claim.at:
            self._spoke_s[claim.ip] = now_s
            if not known.certain:
                self._replace(replace(known, certain=True))
            return _KNOWN
        owners = self._owners(claim)
        refusal = self._forbidden(claim, owners)
        if refusal is not None:
            return _refused("host-conflict", refusal, claim.at)
        if known is not None and known.mac == claim.mac and known.at is None:
            # Declared without a place, and never seen: nobody is there to be asked.
            owners = ()
        if owners:
            return Heard(Standing.CONTESTED, owners=owners)
        no_room = self._no_room(claim.at, ())
        if no_room is not None:
            return _refused("host-refused", no_room, claim.at)
        host = self._take(claim, now_s)
        return Heard(Standing.NEW, (Change(False, "host-seen", f"host {host.name} is at {claim.at}", claim.at),))

    def believe(self, claim: Claim, silent: Mapping[str, Host], now_s: float) -> list[Change]:
        """Let a claimant have what it claims, if all who have it were found silent, by their addresses.

        What the owners did meanwhile counts: one that is elsewhere by now was not asked there.
        """
        owners = self._owners(claim)
        asked = all(
            (was := silent.get(owner.ip)) is not None and (was.mac, was.at) == (owner.mac, owner.at) for owner in owners
        )
        if not asked or self._forbidden(claim, owners) is not None:
            return []
        no_room = self._no_room(claim.at, owners)
        if no_room is not None:
            return [Change(False, "host-refused", no_room, claim.at)]
        same = bool(owners) and all((owner.ip, owner.mac) == (claim.ip, claim.mac) for owner in owners)
        # Dropped first, so that it comes last: who comes to a port later never displaces who was there.
        for owner in owners:
            self._drop(owner)
        host = self._take(claim, now_s)
        if same:
            return [Change(False, "host-moved", f"host {host.name} is now at {claim.at}", claim.at)]
        gone = " and ".join(f"{owner.name} ({owner.mac}, {owner.ip}), silent at {owner.at}" for owner in owners)
        message = f"host {host.name} ({claim.mac}, {claim.ip}) at {claim.at} takes the place of {gone}"
        return [Change(False, "host-replaced", message, claim.at)]

    def _take(self, claim: Claim, now_s: float) -> Host:
        host = Host(self._name(claim), claim.ip, claim.mac, claim.at, BY_ARP)
        self._put(host)
        self._spoke_s[claim.ip] = now_s
        return host

    def _owners(self, claim: Claim) -> tuple[Host, ...]:
        by_ip, by_mac = self._by_ip.get(claim.ip), self._by_mac.get(claim.mac)
        if by_ip is None:
            return () if by_mac is None else (by_mac,)
        return (by_ip,) if by_mac is None or by_mac is by_ip else (by_ip, by_mac)

    def _forbidden(self, claim: Claim, owners: Iterable[Host]) -> str | None:
        """Why a claim contradicts what is declared; None where it does not."""
        mac = self._declared_mac.get(claim.ip)
        if mac is not None and mac != claim.mac:
            return (
                f"{claim.mac} at {claim.at} claims {claim.ip}, which is declared as {self._names[claim.ip]}'s ({mac})"
            )
        ip = self._declared_ip.get(claim.mac)
        if ip is not None and ip != claim.ip:
            return f"{self._names[claim.mac]} at {claim.at} claims {claim.ip} beside {ip}, which is declared for it"
        for owner in owners:
            if owner.mac != claim.mac and owner.mac in self._declared_ip:
                return f"{claim.mac} at {claim.at} claims {claim.ip}, which {owner.name} has; its MAC is declared"
        return None

    def _no_room(self, at: PortId, leaving: Collection[Host]) -> str | None:
        """Why there is no room for another host at a port; a sentence that does not change from try to try."""
        here = len(self._at.get(at, ())) - sum(host.at == at for host in leaving)
        if here >= MAX_HOSTS_PER_PORT:
            return f"no room for another host at {at}: it has {MAX_HOSTS_PER_PORT}"
        total = len(self._by_ip) - len(leaving)
        if total >= self._max_hosts or (here and total >= self._max_hosts * (1 - _KEPT_FOR_FIRST)):
            return f"no room for another host at {at}: the table is full"
        return None

    # ── what is lost ─────────────────────────────────────────────────────────────────────────────

    def port_lost(self, port: PortId) -> None:
        """A port went down: what comes up there again may be something else."""
        for host in self.at(port):
            if host.certain:
                self._replace(replace(host, certain=False))

    def switch_lost(self, dpid: int) -> None:
        """The channel to a switch is lost: nobody sees what its ports do."""
        for port in self._ports.get(dpid, ()):
            self.port_lost(port)

    def forget_at(self, port: PortId) -> None:
        """Drop the hosts at a port that turned out to lead to a switch."""
        for host in self.at(port):
            self._drop(host)

    def forget(self, host: Host) -> None:
        """Drop a host."""
        if self._by_ip.get(host.ip) is host:
            self._drop(host)

    # ── questions ────────────────────────────────────────────────────────────────────────────────

    def at(self, port: PortId) -> tuple[Host, ...]:
        """Hosts known at a port, in the order in which they came."""
        return tuple(self._at.get(port, {}).values())

    def ports_of(self, dpid: int) -> tuple[PortId, ...]:
        """Ports of a switch at which hosts are known."""
        return tuple(self._ports.get(dpid, ()))

    def is_alone(self, host: Host) -> bool:
        """Whether a host is the only one known at its port."""
        return host.at is not None and len(self._at.get(host.at, ())) == 1

    def find(self, ip: str) -> Host | None:
        """The host that has an address."""
        return self._by_ip.get(ip)

    def find_mac(self, mac: str) -> Host | None:
        """The host that has a MAC."""
        return self._by_mac.get(mac)

    def spoke_s(self, ip: str) -> float:
        """When the host of an address last sent ARP that came up; 0 where it did not."""
        return self._spoke_s.get(ip, 0.0)

    def seen_s(self, port: PortId) -> float | None:
        """When a host at a port last sent ARP that came up; 0 where none did, None where none is known."""
        return max((self.spoke_s(ip) for ip in self._at.get(port, ())), default=None)

    def is_declared(self, host: Host) -> bool:
        """Whether both its address and its MAC are declared."""
        return self._declared_mac.get(host.ip) == host.mac

    def take_changed(self) -> set[str]:
        """Addresses whose hosts came, went or changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    # ── indexes ──────────────────────────────────────────────────────────────────────────────────

    def _put(self, host: Host) -> None:
        self._by_ip[host.ip] = self._by_mac[host.mac] = host
        if host.at is not None:
            self._at.setdefault(host.at, {})[host.ip] = host
            self._ports.setdefault(host.at.dpid, set()).add(host.at)
        self._note(host.ip)

    def _replace(self, host: Host) -> None:
        """Another value for the same address, MAC and place; keeps every order."""
        self._by_ip[host.ip] = self._by_mac[host.mac] = host
        if host.at is not None:
            self._at[host.at][host.ip] = host

    def _drop(self, host: Host) -> None:
        del self._by_ip[host.ip]
        if self._by_mac.get(host.mac) is host:
            del self._by_mac[host.mac]
        self._spoke_s.pop(host.ip, None)
        if host.at is not None:
            here = self._at[host.at]
            del here[host.ip]
            if not here:
                del self._at[host.at]
                of_switch = self._ports[host.at.dpid]
                of_switch.discard(host.at)
                if not of_switch:
                    del self._ports[host.at.dpid]
        self._note(host.ip)

    def _note(self, ip: str) -> None:
        self.version += 1
        self._changed.add(ip)

    def _name(self, claim: Claim) -> str:
        return self._names.get(claim.mac) or self._names.get(claim.ip) or f"h-{claim.ip}"


def _refused(kind: str, message: str, at: PortId) -> Heard:
    return Heard(Standing.REFUSED, (Change(False, kind, message, at),))


def _declared_places(declared: Fabric) -> dict[str, PortId]:
    """Where the access link of each host leads, as far as the switch's dpid is declared."""
    dpids = {node.id: node.dpid for node in declared.switches}
    places: dict[str, PortId] = {}
    for link in declared.links:
        dpid = dpids.get(link.target)
        if link.source not in dpids and link.source not in places and dpid is not None:
            places[link.source] = PortId(dpid, link.target_port)
    return places
