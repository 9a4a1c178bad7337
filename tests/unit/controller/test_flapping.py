"""A cable that keeps failing carries nothing until it has stayed up, unless there is no other way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_fabric import FABRIC, World

from controller.config import Config, RoutingConfig
from controller.service import JobState
from topologies.fabric import LinkId
from workloads.job import Job

CABLE = LinkId("a0-0", 3)
BACK = FABRIC.link_by_id[CABLE].reverse_id
EVERYBODY = tuple(f"h{n}" for n in (1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 4, 8, 12, 16))


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state").up()
    world.core.submit_job(Job("r", EVERYBODY, 1 << 20))
    world.run(3)
    yield world
    world.end()


def flap(world: World, cable: LinkId = CABLE, times: int = 1, down_s: float = 0.2, up_s: float = 1.0) -> None:
    for _ in range(times):
        world.cut(cable)
        world.run(down_s)
        world.heal(cable)
        world.run(up_s)


def told(world: World, kind: str) -> int:
    return sum(event.kind == kind for event in world.core.events())


def damped(world: World) -> set[LinkId]:
    return {status.source for status in world.core.links() if status.damped}


def is_used(world: World, cable: LinkId = CABLE) -> bool:
    return cable in world.core.fabric().link_by_id


@pytest.mark.parametrize("times", [1, 2])
def test_a_cable_that_comes_back_for_the_first_times_is_used_within_a_second(world: World, times: int) -> None:
    flap(world, times=times)
    assert is_used(world)
    assert damped(world) == set()


def test_a_cable_that_keeps_failing_is_shown_as_damped_and_used_once_it_has_stayed_up(world: World) -> None:
    flap(world, times=3)
    assert not is_used(world)
    assert damped(world) == {CABLE, BACK}
    assert told(world, "link-damped") == 1
    world.run(60)
    assert is_used(world)
    assert damped(world) == set()
    assert told(world, "link-steady") == 1


def test_while_a_cable_flaps_nothing_is_planned_on_it_nor_moved_for_it(world: World) -> None:
    flap(world, times=4)
    world.run(5)
    paths, rules = world.core.plan().paths, world.core.counters()["rule-changes"]
    assert not any(CABLE in path.links or BACK in path.links for path in paths)
    # Faster and slower than it is held.
    for _ in range(10):
        flap(world, up_s=1.0)
        flap(world, up_s=8.0)
        assert not is_used(world)
    assert world.core.plan().paths == paths
    assert world.core.counters()["rule-changes"] == rules
    assert world.core.jobs()[0].state is JobState.ACTIVE
    assert told(world, "link-damped") == 1


def test_default_routes_leave_a_damped_cable_alone(world: World) -> None:
    flap(world, times=4)
    world.run(5)
    used = {
        action.port
        for group in world.installed()["a0-0"].groups
        for bucket in group.buckets
        for action in bucket.actions
        if hasattr(action, "port")
    }
    assert CABLE.port not in used


def test_a_cable_without_which_the_fabric_falls_apart_is_used_however_often_it_fails(world: World) -> None:
    other = LinkId("e0-0", 4)
    world.cut(other)
    flap(world, LinkId("e0-0", 3), times=6)
    assert is_used(world, LinkId("e0-0", 3))
    assert LinkId("e0-0", 3) in damped(world)
    assert told(world, "link-needed") >= 1
    fabric = FABRIC.without_links((other, FABRIC.link_by_id[other].reverse_id))
    world.run(3)
    assert world.lost([("h1", "h9"), ("h9", "h1")], fabric) == {}
    world.heal(other)
    world.run(3)
    assert not is_used(world, LinkId("e0-0", 3))
    assert world.lost([("h1", "h9"), ("h9", "h1")]) == {}


def test_hosts_ports_are_never_damped(world: World) -> None:
    dpid = world.dpid("e0-0")
    for turn in range(20):
        world.core.port_changed(dpid, world.port(1, up=bool(turn % 2)), gone=False)
        world.run(0.5)
    world.run(2)
    assert "h1" in {host.id for host in world.core.fabric().hosts}
    assert damped(world) == set()


def test_a_switch_that_dies_again_and_again_is_damped_with_its_cables(world: World) -> None:
    dpid = world.dpid("c1")
    for _ in range(4):
        world.kill(dpid)
        world.run(3)
        world.revive(dpid)
        world.run(2)
    assert {link for link in damped(world) if link.node == "c1"} == {LinkId("c1", port) for port in (1, 2, 3, 4)}
    world.run(60)
    assert is_used(world, LinkId("c1", 1))


def test_without_a_time_to_hold_every_cable_is_used_at_once(tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path, routing=RoutingConfig(hold_down_s=0))
    world = World(tmp_path, config=config).up()
    flap(world, times=10)
    assert is_used(world)
    world.end()
