"""A daemon that is killed in the middle of an update goes on from what it finds, and no packet is lost for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from memory_fabric import World

from controller.strays import Mend
from dataplane.clearing import labels_pushed
from dataplane.drain import DRAIN_S
from dataplane.rules import Table
from dataplane.update import RemoveFlow
from workloads.job import Job

RANKS = tuple(f"h{n}" for n in (1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 4, 8, 12, 16))


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state").up()
    world.core.submit_job(Job("r", RANKS[:8], 1 << 20))
    world.run(6)
    yield world
    world.end()


def clearings(world: World) -> list[float]:
    """How long after a switch last put a label on packets each label's rules go; filled while time passes."""
    apply, found = world.apply, []
    left_s: dict[int, float] = {}

    def watched(dpid: int, operations: Sequence[Mend]) -> None:
        for each in operations:
            if (
                isinstance(each, RemoveFlow)
                and each.flow.table is Table.TRANSIT
                and each.flow.match.mpls_label in left_s
            ):
                found.append(world.time.now - left_s[each.flow.match.mpls_label])
        before = labels_pushed(world.tables[dpid])
        apply(dpid, operations)
        left_s.update(dict.fromkeys(before - labels_pushed(world.tables[dpid]), world.time.now))

    world.apply = watched  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_labels_that_a_killed_daemon_left_wait_for_full_queues_all_the_same(world: World, seed: int) -> None:
    random = Random(seed)
    for switch in world.switches.values():
        switch.commit_s = 0.05
    waited_s = clearings(world)
    world.core.remove_job("r")
    world.core.submit_job(Job("s", RANKS[4:], 1 << 20))
    world.run(random.uniform(0.1, 1.0))
    world.end()
    world.start()
    world.connect()
    world.run(15)
    assert waited_s
    assert min(waited_s) >= DRAIN_S - 1e-6
    assert world.lost(world.planned_pairs()) == {}
