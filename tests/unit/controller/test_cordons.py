"""Cordoned cables carry nothing, and never so many that the fabric would fall apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_fabric import World

from controller.cordons import Cordons
from controller.service import JobState
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId, NodeKind
from topologies.fat_tree import fat_tree
from workloads.job import Job

FABRIC = fat_tree(4, capacity_bps=1e9)
BETWEEN = sorted(
    link.id
    for link in FABRIC.links
    if all(FABRIC.node_by_id[end].kind is NodeKind.SWITCH for end in (link.source, link.target))
)
UP, DOWN = LinkId("a0-0", 3), LinkId("c1", 1)


def cordoned(*links: LinkId, before: Cordons | None = None, uncordon: tuple[LinkId, ...] = ()) -> Cordons:
    return Cordons((before or Cordons()).changed(FABRIC, links, uncordon))


def is_connected(fabric: Fabric) -> bool:
    graph = nx.Graph((link.source, link.target) for link in fabric.links)
    graph.add_nodes_from(node.id for node in fabric.nodes)
    return nx.is_connected(graph)


@pytest.mark.parametrize("named", [UP, DOWN])
def test_either_direction_stands_for_the_cable(named: LinkId) -> None:
    cordons = cordoned(named)
    assert cordons.links == {UP, DOWN}
    assert set(FABRIC.links) - set(cordons.usable(FABRIC).links) == {FABRIC.link_by_id[UP], FABRIC.link_by_id[DOWN]}
    assert cordoned(before=cordons, uncordon=(named,)).links == set()


def test_without_cordons_the_fabric_is_itself() -> None:
    assert Cordons().usable(FABRIC) is FABRIC


def test_the_same_fabric_gives_the_same_answer() -> None:
    cordons = cordoned(UP)
    assert cordons.usable(FABRIC) is cordons.usable(FABRIC)


def test_a_cable_that_is_down_can_be_uncordoned() -> None:
    cordons = cordoned(UP)
    without = FABRIC.without_links((UP, DOWN))
    assert cordons.usable(without) == without
    assert cordons.changed(without, (), (DOWN,)) == set()


@pytest.mark.parametrize("link", [LinkId("h1", 1), LinkId("e0-0", 1)])
def test_a_hosts_link_is_refused(link: LinkId) -> None:
    with pytest.raises(InputError, match="a host's only link"):
        cordoned(link)


def test_an_unknown_link_is_refused() -> None:
    with pytest.raises(InputError, match="no cable begins at c1:9"):
        cordoned(LinkId("c1", 9))


def test_the_last_way_to_a_switch_is_refused() -> None:
    with pytest.raises(InputError, match="without e0-0:4 the fabric would fall apart"):
        cordoned(LinkId("e0-0", 3), LinkId("e0-0", 4))


@given(st.lists(st.sampled_from(BETWEEN), max_size=60), st.sets(st.sampled_from(BETWEEN), max_size=6))
def test_what_is_left_holds_together_as_far_as_it_did(links: list[LinkId], failed: set[LinkId]) -> None:
    cordons = Cordons()
    for link in links:
        try:
            cordons = cordoned(link, before=cordons)
        except InputError:
            continue
    assert is_connected(cordons.usable(FABRIC))
    broken = FABRIC.without_links(failed | {FABRIC.link_by_id[link].reverse_id for link in failed})
    assert is_connected(cordons.usable(broken)) == is_connected(broken)


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state").up()
    yield world
    world.end()


def used(world: World) -> set[LinkId]:
    plan = world.core.plan()
    assert plan is not None
    return {link for path in plan.paths for link in path.links}


def test_traffic_leaves_a_cordoned_link_and_does_not_return_by_itself(world: World) -> None:
    world.core.submit_job(Job("r", ("h1", "h5", "h9", "h13"), 1 << 20))
    world.run(2)
    busy = min(link for link in used(world) if link in BETWEEN)
    ends = {busy, FABRIC.link_by_id[busy].reverse_id}
    assert set(world.core.change_cordons((busy,), ()).result()) == ends
    world.run(2)
    assert not ends & used(world)
    assert {status.source for status in world.core.links() if status.cordoned} == ends
    assert world.core.jobs()[0].state is JobState.ACTIVE
    assert world.lost(world.planned_pairs()) == {}
    paths = used(world)
    assert world.core.change_cordons((), (busy,)).result() == ()
    world.run(2)
    assert used(world) == paths


def test_cordons_outlast_the_daemon(world: World) -> None:
    world.core.change_cordons((UP,), ()).result()
    world.end()
    world.start()
    world.up()
    assert {status.source for status in world.core.links() if status.cordoned} == {UP, DOWN}
    world.core.submit_job(Job("r", ("h1", "h5", "h9", "h13"), 1 << 20))
    world.run(2)
    assert not {UP, DOWN} & used(world)


def test_a_cordon_that_is_refused_changes_nothing(world: World) -> None:
    with pytest.raises(InputError):
        world.core.change_cordons((UP, LinkId("h1", 1)), ()).result()
    assert not any(status.cordoned for status in world.core.links())
