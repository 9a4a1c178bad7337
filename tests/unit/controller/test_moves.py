"""Hosts that move, come back and steal, with a whole daemon in memory: rules follow those that are believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_fabric import FABRIC, World

from controller.discovery import PortId
from dataplane.testing import assert_delivers
from topologies.fabric import LinkId
from workloads.headers import ARP_REQUEST, Arp, write_arp

THIEF = "02:66:00:00:00:66"


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    """An undeclared fabric that knows h1 and h9."""
    world = World(tmp_path / "state", declared=None).up()
    for name in ("h1", "h9"):
        speak(world, name)
    world.run(6)
    assert world.core.readiness().ready
    yield world
    world.end()


def port_of(world: World, host: str) -> PortId:
    access = FABRIC.access_link(host)
    return PortId(world.dpid(access.target), access.target_port)


def speak(world: World, name: str, at: str | None = None, mac: str | None = None) -> None:
    """A host, or who poses as it, sends ARP at its place or at another host's, and is there from now on."""
    host, port = FABRIC.node_by_id[name], port_of(world, at or name)
    world.alive.add((port, mac or host.mac, host.ip))
    asked = Arp(ARP_REQUEST, mac or host.mac, host.ip, "00:00:00:00:00:00", "10.255.255.1")
    world.arp(port, write_arp(asked, "ff:ff:ff:ff:ff:ff"))


def places(world: World) -> dict[str, tuple[str, LinkId | None]]:
    return {host.ip: (host.mac, host.attached_to) for host in world.core.hosts()}


def place(world: World, name: str, at: str | None = None) -> tuple[str, LinkId]:
    port = port_of(world, at or name)
    return FABRIC.node_by_id[name].mac, LinkId(f"s-{port.dpid:016x}", port.port)


def bounce(world: World, port: PortId) -> None:
    for up in (False, True):
        world.core.port_changed(port.dpid, world.port(port.port, up=up), gone=False)


def test_the_rules_of_a_host_that_moved_are_where_it_is(world: World) -> None:
    world.alive = {known for known in world.alive if known[0] != port_of(world, "h1")}
    speak(world, "h1", at="h2")
    assert places(world)[FABRIC.node_by_id["h1"].ip] == place(world, "h1")
    world.run(4)
    assert places(world)[FABRIC.node_by_id["h1"].ip] == place(world, "h1", at="h2")
    assert "host-moved" in {event.kind for event in world.core.events()}
    by_name = {f"s-{dpid:016x}": rules for dpid, rules in world.tables.items()}
    assert {host.ip for host in world.core.fabric().hosts} == {FABRIC.node_by_id[name].ip for name in ("h1", "h9")}
    assert_delivers(world.core.fabric(), by_name)


@pytest.mark.parametrize("mac", [None, THIEF])
def test_a_host_that_answers_stays_where_it_is_whoever_claims_to_be_it(world: World, mac: str | None) -> None:
    before, rules = places(world), world.installed()
    for _ in range(5):
        speak(world, "h1", at="h16", mac=mac)
        world.run(3)
    assert places(world) == before
    assert world.installed() == rules
    assert "answers there" in next(event.message for event in world.core.events() if event.kind == "host-conflict")


@pytest.mark.parametrize("mac", [None, THIEF])
def test_a_host_whose_port_has_just_come_back_is_asked_once_its_switch_can(world: World, mac: str | None) -> None:
    before = places(world)
    bounce(world, port_of(world, "h1"))
    speak(world, "h1", at="h16", mac=mac)
    world.run(8)
    assert places(world) == before


@pytest.mark.parametrize("mac", [None, THIEF])
def test_hosts_of_a_daemon_that_has_just_started_keep_what_they_have(world: World, mac: str | None) -> None:
    before = places(world)
    world.end()
    world.start()
    late = port_of(world, "h1").dpid
    world.connect(*(dpid for dpid in world.tables if dpid != late))
    world.run(3)
    speak(world, "h1", at="h16", mac=mac)
    world.run(3)
    world.connect(late)
    world.run(3)
    speak(world, "h1", at="h16", mac=mac)
    world.run(20)
    assert places(world) == before


def test_a_host_at_a_port_without_link_is_at_its_new_place_at_once(world: World) -> None:
    port = port_of(world, "h1")
    world.alive = {known for known in world.alive if known[0] != port}
    world.dead.add(port)
    world.core.port_changed(port.dpid, world.port(port.port, up=False), gone=False)
    world.run(0.1)
    speak(world, "h1", at="h2")
    world.run(1)
    assert places(world)[FABRIC.node_by_id["h1"].ip] == place(world, "h1", at="h2")


def test_a_host_that_moved_is_known_there_after_a_restart(world: World) -> None:
    world.alive = {known for known in world.alive if known[0] != port_of(world, "h1")}
    speak(world, "h1", at="h2")
    world.run(4)
    after = places(world)
    world.end()
    world.start()
    assert places(world) == after
