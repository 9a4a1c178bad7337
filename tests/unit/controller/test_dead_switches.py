"""A switch that is dead is routed round and comes back whole; one whose channel alone is lost changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_fabric import FABRIC, World

from controller.discovery import PortId
from controller.service import JobState
from dataplane.rules import SwitchRules
from topologies.fabric import Fabric, LinkId
from workloads.job import Job

EVERYBODY = tuple(f"h{n}" for n in (1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 4, 8, 12, 16))


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state").up()
    world.core.submit_job(Job("r", EVERYBODY, 1 << 20))
    world.run(3)
    yield world
    world.end()


def kinds(world: World) -> list[str]:
    return [event.kind for event in world.core.events()]


def without(*names: str) -> Fabric:
    """The fabric without the links of some switches."""
    return FABRIC.without_links(link.id for link in FABRIC.links if {link.source, link.target} & set(names))


def links_of(world: World, name: str) -> set[LinkId]:
    return {link.id for link in world.core.fabric().links if name in (link.source, link.target)}


def until(world: World, happened, within_s: float) -> float:
    """How long it takes until something happens."""
    began_s = world.time.now
    while not happened():
        assert world.time.now - began_s < within_s, "it does not happen"
        world.run(0.02)
    return world.time.now - began_s


def all_pairs_lost(world: World, fabric: Fabric) -> dict[tuple[str, str], str]:
    hosts = ("h1", "h5", "h9", "h13")
    return world.lost([*world.planned_pairs(), *((a, b) for a in hosts for b in hosts if a != b)], fabric)


@pytest.mark.parametrize("name", ["c1", "a0-0"])
def test_a_dead_switch_is_routed_round_within_two_seconds(world: World, name: str) -> None:
    world.kill(world.dpid(name))
    took_s = until(world, lambda: not all_pairs_lost(world, without(name)), 10)
    assert took_s < 2.0
    assert kinds(world).count("switch-dead") == 1
    assert links_of(world, name) == set()
    world.run(60)
    assert kinds(world).count("switch-dead") == 1
    assert world.core.jobs()[0].state is JobState.ACTIVE


@pytest.mark.parametrize("name", ["c1", "a0-0", "e0-0"])
def test_a_dead_switch_that_returns_empty_carries_its_part_within_a_second(world: World, name: str) -> None:
    before, rules = world.core.fabric().links, world.tables[world.dpid(name)]
    world.kill(world.dpid(name))
    world.run(20)
    world.revive(world.dpid(name))

    def whole() -> bool:
        return set(world.core.fabric().links) == set(before) and len(world.tables[world.dpid(name)].flows) >= len(
            {flow for flow in rules.flows if flow.match.mpls_label is None}
        )

    # A tick of this world is longer than a turn of the daemon's, and its planner takes 10 ms.
    assert until(world, whole, 10) < 1.0
    assert kinds(world)[-20:].count("switch-alive") == 1
    world.run(5)
    assert all_pairs_lost(world, FABRIC) == {}


def test_at_no_time_does_a_switch_that_returns_empty_get_traffic_that_it_cannot_carry(world: World) -> None:
    world.kill(world.dpid("c1"))
    world.run(5)
    world.revive(world.dpid("c1")).commit_s = 0.2
    for _ in range(200):
        world.run(0.02)
        assert all_pairs_lost(world, FABRIC) == {}


@pytest.mark.parametrize("name", ["c1", "a0-0", "e0-0"])
def test_a_channel_that_alone_is_lost_changes_no_rule_however_long(world: World, name: str) -> None:
    paths, links = world.core.plan().paths, world.core.fabric().links
    world.log.clear()
    world.disconnect(world.dpid(name))
    world.run(120)
    assert world.log == []
    assert world.core.plan().paths == paths
    assert world.core.fabric().links == links
    assert "switch-dead" not in kinds(world)
    world.reconnect(world.dpid(name))
    world.run(5)
    assert world.log == []
    assert world.core.plan().paths == paths


def test_a_channel_that_flaps_changes_no_plan_and_no_rule(world: World) -> None:
    paths = world.core.plan().paths
    world.log.clear()
    for turn in range(40):
        world.disconnect(world.dpid("c1"))
        world.run(0.1 + 0.05 * (turn % 5))
        world.reconnect(world.dpid("c1"))
        # Long enough or not for its rules to be read, its ports to be taken in, a plan to be made.
        world.run(0.02 * (turn % 8))
    world.run(5)
    assert world.log == []
    assert world.core.plan().paths == paths


def test_every_channel_at_once_is_no_death(world: World) -> None:
    world.log.clear()
    for dpid in tuple(world.connected):
        world.disconnect(dpid)
    world.run(60)
    for dpid in world.tables:
        world.reconnect(dpid)
    world.run(10)
    assert "switch-dead" not in kinds(world)
    assert world.log == []


def test_saturated_links_of_a_switch_whose_channel_is_lost_are_no_death(world: World) -> None:
    dpid = world.dpid("c1")
    ports = {port for port in world.peer if port.dpid == dpid}
    world.saturated = ports | {world.peer[port] for port in ports}
    world.run(2)
    world.disconnect(dpid)
    world.run(600)
    assert "switch-dead" not in kinds(world)
    assert "link-silent" not in kinds(world)


def test_one_link_that_loses_what_is_sent_is_no_death(world: World) -> None:
    dpid = world.dpid("c1")
    world.disconnect(dpid)
    world.run(1)
    at = PortId(dpid, 1)
    world.silent = {at, world.peer[at]}
    world.run(60)
    assert "switch-dead" not in kinds(world)


def test_a_switch_that_dies_long_after_its_channel_was_lost_is_noticed_as_soon(world: World) -> None:
    dpid = world.dpid("c1")
    world.disconnect(dpid)
    world.run(60)
    world.dead_switches.add(dpid)
    assert until(world, lambda: "switch-dead" in kinds(world), 10) < 2.0


def test_a_switch_without_the_rule_that_returns_probes_is_never_called_dead(world: World) -> None:
    dpid = world.dpid("c1")
    world.disconnect(dpid)
    world.run(1)
    world.tables[dpid] = SwitchRules()
    back = world.reconnect(dpid)
    back.refuses = lambda _: "TABLE_FULL"
    world.run(2)
    world.kill(dpid)
    world.run(30)
    assert "switch-dead" not in kinds(world)


def test_a_leaf_that_dies_leaves_the_others_jobs_running(world: World) -> None:
    world.core.submit_job(Job("s", ("h5", "h9", "h13"), 1 << 20))
    world.run(3)
    world.kill(world.dpid("e0-0"))
    world.run(5)
    states = {status.job.name: status.state for status in world.core.jobs()}
    assert states["s"] is JobState.ACTIVE
    assert world.lost([("h5", "h9"), ("h9", "h13"), ("h13", "h5"), ("h3", "h9")], without("e0-0")) == {}


def test_cables_that_were_changed_while_a_switch_was_dead_are_found_where_they_are_now(world: World) -> None:
    dpid = world.dpid("c1")
    one, other = PortId(dpid, 1), PortId(dpid, 2)
    world.kill(dpid)
    world.run(3)
    near, far = world.peer[one], world.peer[other]
    world.peer |= {one: far, far: one, other: near, near: other}
    world.revive(dpid)
    world.run(5)
    names = {node.dpid: node.id for node in FABRIC.switches}
    links = world.core.fabric().link_by_id
    assert links[LinkId("c1", 1)].target == names[far.dpid]
    assert links[LinkId("c1", 2)].target == names[near.dpid]
