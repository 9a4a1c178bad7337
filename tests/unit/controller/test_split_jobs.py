"""Split and capped jobs in a whole controller: installed, kept over restarts, planned anew, taken away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_fabric import World

from benchmarks.dataplane.splits import two_ways
from controller.config import BudgetConfig, Config, RoutingConfig
from controller.service import JobState, shares
from dataplane.network import Network
from dataplane.pipeline import ipv4_packet
from dataplane.rules import IP_PROTO_UDP, RateCap
from dataplane.testing import identity
from topologies.fabric import LinkId
from workloads.job import Job

FABRIC = two_ways((2.5e6, 7.5e6))
SPLIT = Job("split", ("h1", "h2"), 1 << 20, flows_per_pair=4, rate_cap_bps=9e6)


def worlds(directory: Path, **routing: object) -> Iterator[World]:
    config = Config(state_dir=directory, routing=RoutingConfig(**routing))  # type: ignore[arg-type]
    world = World(directory, FABRIC, FABRIC, config=config)
    yield world
    world.end()


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    yield from worlds(tmp_path / "state")


def spines(world: World) -> Counter[str]:
    """Which spine each of four UDP flows takes, by the rules that the switches have."""
    fabric = world.core.fabric()
    network, ends, taken = Network(fabric, world.installed()), [identity(FABRIC, host) for host in SPLIT.ranks], []
    for port in range(50_000, 50_004):
        packet = ipv4_packet(*ends, ip_proto=IP_PROTO_UDP, src_port=port, dst_port=4791)
        (way,) = network.ways("h1", packet, "h2")
        taken.append(way[2].node)
    return Counter(taken)


def caps(world: World) -> int:
    return sum(isinstance(meter, RateCap) for rules in world.installed().values() for meter in rules.meters)


def state(world: World) -> JobState:
    (status,) = world.core.jobs()
    return status.state


def active(world: World) -> World:
    world.up()
    world.core.submit_job(SPLIT).result()
    world.run(1)
    assert state(world) is JobState.ACTIVE
    return world


def test_a_split_job_becomes_active_and_its_flows_take_both_ways_in_their_shares(world: World) -> None:
    active(world)
    assert spines(world) == {"s1": 1, "s2": 3}
    assert caps(world) == 2
    paths = world.core.plan().paths
    assert sorted(shares(paths)) == pytest.approx([0.25, 0.25, 0.75, 0.75])


def test_after_a_restart_the_split_is_kept_and_none_of_its_rules_is_sent_again(world: World) -> None:
    before = active(world).installed()
    world.end()
    world.log.clear()
    world.start()
    world.up()
    assert world.installed() == before
    assert not any("CLASSIFY" in str(operation) or "RateCap" in str(operation) for _, operation in world.log)
    assert state(world) is JobState.ACTIVE


def test_when_one_of_the_ways_fails_all_flows_take_the_other_until_it_is_back(world: World) -> None:
    active(world)
    dead = LinkId("l1", 3)
    world.cut(dead)
    world.run(3)
    assert spines(world) == {"s1": 4}
    world.heal(dead)
    world.run(30)
    assert state(world) is JobState.ACTIVE
    assert spines(world) == {"s1": 1, "s2": 3}


def test_a_job_that_ends_leaves_no_masks_and_no_meters(world: World) -> None:
    world.up()
    before = world.installed()
    active(world)
    world.core.remove_job("split").result()
    world.run(30)
    assert world.core.jobs() == ()
    assert world.installed() == before


def test_a_job_that_does_not_fit_into_a_switch_is_refused_with_the_numbers(tmp_path: Path) -> None:
    for world in worlds(tmp_path / "state", budgets={"l1": BudgetConfig(classify=3)}):
        world.up()
        before = world.installed()
        world.core.submit_job(SPLIT).result()
        world.run(1)
        (status,) = world.core.jobs()
        assert status.state is JobState.FAILED
        assert status.reason == "switch l1 needs 4 entries in its classify table, its budget is 3"
        assert world.installed() == before
