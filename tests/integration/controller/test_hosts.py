"""Hosts that move, change and steal, on real switches: the old place is asked, by rules that are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mininet_scenarios.wiring import interface
from topologies.fabric import LinkId

SHOUT = """
import socket, struct, sys
name, mac, ip, times = sys.argv[1:]
mac, ip = bytes.fromhex(mac.replace(":", "")), socket.inet_aton(ip)
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
    s.bind((name, 0))
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, ip, bytes(6), ip)
    for _ in range(int(times)):
        s.send((b"\\xff" * 6 + mac + b"\\x08\\x06" + arp).ljust(60, b"\\0"))
"""


class Hosts:
    """What the daemon knows, and what the hosts do."""

    def __init__(self, rig: Any, wait_until: Callable[..., None]) -> None:
        self.rig, self.wait_until = rig, wait_until

    def ip(self, host: str) -> str:
        return str(self.rig.fabric.node_by_id[host].ip)

    def mac(self, host: str) -> str:
        return str(self.rig.fabric.node_by_id[host].mac)

    def place(self, host: str) -> str:
        link = self.rig.fabric.access_link(host)
        return f"s-{self.rig.fabric.node_by_id[link.target].dpid:016x}:{link.target_port}"

    def known(self, ip: str) -> tuple[str, str] | None:
        """MAC and place of an address."""
        return next(
            ((host.mac, str(host.attached_to)) for host in self.rig.client.hosts() if host.ip == ip), None
        )  # fmt: skip

    def happened(self, kind: str, *words: str) -> bool:
        events = (event for event in self.rig.client.events() if event.kind == kind)
        return any(all(word in event.message for word in words) for event in events)

    def run(self, host: str, *command: str) -> None:
        code, output = self.rig.run_in(host, *command)
        assert code == 0, output

    def become(self, host: str, mac: str, ip: str) -> None:
        """Give a host another MAC and another address."""
        name = interface(LinkId(host, 1))
        self.run(host, "ip", "link", "set", name, "address", mac)
        self.run(host, "ip", "addr", "flush", "dev", name)
        self.run(host, "ip", "addr", "add", f"{ip}/8", "dev", name)

    def shout(self, host: str, mac: str, ip: str, times: int = 3) -> None:
        """Announce an address without asking for one (gratuitous ARP)."""
        self.run(host, "python3", "-c", SHOUT, interface(LinkId(host, 1)), mac, ip, str(times))

    def reaches(self, source: str, ip: str) -> bool:
        return self.rig.run_in(source, "ping", "-n", "-c", "1", "-W", "1", ip)[0] == 0

    def meet(self, host: str) -> None:
        """Have a host and h16 (or h16 and h1) reach each other: afterwards the daemon knows them."""
        target = self.ip("h1" if host == "h16" else "h16")
        self.wait_until(lambda: self.reaches(host, target), f"{host} reaches {target}")


@pytest.fixture(scope="module")
def hosts(
    make_rig: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, wait_until: Callable[..., None]
) -> Iterator[Hosts]:
    """A k=4 fat-tree that nobody declared, all of whose hosts are known and reach h16."""
    with make_rig(tmp_path_factory.mktemp("hosts"), "os-ken", declared=False) as rig:
        hosts = Hosts(rig, wait_until)
        # At once: the first question of each is lost while it is looked for.
        with ThreadPoolExecutor(len(rig.fabric.hosts)) as together:
            list(together.map(hosts.meet, [host.id for host in rig.fabric.hosts]))
        yield hosts


def test_a_thief_gets_nothing_while_the_owner_answers(hosts: Hosts) -> None:
    owner, thief = "h1", "h5"
    before = {host.ip: (host.mac, host.attached_to) for host in hosts.rig.client.hosts()}
    # It would answer for the address, and shouts as often as its port's meter lets through.
    hosts.run(thief, "ip", "addr", "add", f"{hosts.ip(owner)}/32", "dev", interface(LinkId(thief, 1)))
    hosts.shout(thief, hosts.mac(thief), hosts.ip(owner), 300)
    hosts.wait_until(lambda: hosts.happened("host-conflict", hosts.mac(thief), hosts.ip(owner), "answers"), "conflict")
    hosts.shout(thief, "02:66:00:00:00:01", hosts.ip(owner), 300)
    hosts.shout(thief, hosts.mac(owner), hosts.ip(owner), 300)
    hosts.wait_until(lambda: hosts.happened("host-conflict", hosts.mac(owner), hosts.ip(owner)), "another conflict")
    assert {host.ip: (host.mac, host.attached_to) for host in hosts.rig.client.hosts()} == before
    hosts.run(thief, "ip", "addr", "del", f"{hosts.ip(owner)}/32", "dev", interface(LinkId(thief, 1)))
    assert hosts.reaches("h16", hosts.ip(owner))


def test_a_host_that_moved_is_reached_at_its_new_place(hosts: Hosts) -> None:
    old, new = "h2", "h6"
    ip, mac = hosts.ip(old), hosts.mac(old)
    hosts.become(old, "02:99:00:00:00:02", "10.99.0.2")
    hosts.become(new, mac, ip)
    hosts.wait_until(lambda: hosts.reaches(new, hosts.ip("h16")), "the moved host reaches another")
    assert hosts.known(ip) == (mac, hosts.place(new))
    assert hosts.happened("host-moved", f"h-{ip}")
    hosts.wait_until(lambda: hosts.reaches("h16", ip), "another reaches the moved host")


def test_a_new_card_takes_over_its_predecessors_address(hosts: Hosts) -> None:
    host, mac = "h9", "02:99:00:00:00:09"
    hosts.become(host, mac, hosts.ip(host))
    hosts.wait_until(lambda: hosts.reaches(host, hosts.ip("h16")), "the new card reaches another host")
    assert hosts.known(hosts.ip(host)) == (mac, hosts.place(host))
    assert hosts.happened("host-replaced", mac, hosts.mac(host))


def test_a_host_with_another_address_is_found_by_that(hosts: Hosts) -> None:
    host, ip = "h10", "10.99.0.10"
    hosts.become(host, hosts.mac(host), ip)
    hosts.wait_until(lambda: hosts.reaches(host, hosts.ip("h16")), "it reaches another host")
    assert hosts.known(ip) == (hosts.mac(host), hosts.place(host))
    assert hosts.known(hosts.ip(host)) is None


def test_who_cannot_receive_where_it_shouts_gets_no_address_of_a_host_that_is_gone(hosts: Hosts) -> None:
    gone, blind = "h13", "h15"
    ip, mac = hosts.ip(gone), hosts.mac(gone)
    hosts.become(gone, "02:99:00:00:00:13", "10.99.0.13")
    hosts.shout(blind, "02:66:00:00:00:02", ip, 100)
    hosts.wait_until(lambda: hosts.happened("host-conflict", "02:66:00:00:00:02", ip, "so is the claimant"), "conflict")
    assert hosts.known(ip) == (mac, hosts.place(gone))
