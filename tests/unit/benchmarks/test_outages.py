"""What failures cost is counted for those who sent across the cable, and held against the control."""

from __future__ import annotations

import networkx as nx
import pytest

from benchmarks.dataplane import bare_group
from benchmarks.dataplane.outages import Losses, Outage, judged, losses
from benchmarks.dataplane.probes import Loss
from topologies.fabric import LinkId
from topologies.fat_tree import fat_tree

END = LinkId("s1", 2)


class Packets:
    """Packets of which some were lost, or came twice, by their numbers."""

    def __init__(self, lost: set[int], twice: set[int] = frozenset()) -> None:
        self._lost, self._twice = lost, twice

    def loss(self, first: int, end: int) -> Loss:
        span = set(range(first, end))
        return Loss(end - first, len(self._lost & span), len(self._twice & span), 0, ())


def test_losses_are_told_apart_by_failure_and_repair_and_by_who_crossed_the_cable() -> None:
    crossing, other = Packets({3, 4, 15}), Packets({5, 17}, {6})
    spans = {crossing: (0, 10), other: (0, 10)}, {crossing: (10, 20), other: (10, 20)}
    found = losses([Outage(END, (crossing,), *spans)])
    assert found == Losses(failures=(2,), repairs=(1,), bystanders=2, twice=1)


@pytest.mark.parametrize(
    ("failures", "repairs", "bystanders", "holds"),
    [
        ((5, 8, 8), (0, 0, 0), 0, [True, True, True, True, True]),
        ((5, 9, 9), (0, 0, 0), 0, [False, True, True, True, True]),
        ((0, 0, 21), (0, 0, 0), 0, [True, False, True, True, True]),
        ((0, 0, 0), (0, 0, 21), 0, [True, True, False, True, True]),
        ((0, 0, 0), (0, 0, 0), 1, [True, True, True, False, True]),
    ],
)
def test_three_packets_more_than_the_control_in_the_middle_and_twenty_at_worst(
    failures: tuple[int, ...], repairs: tuple[int, ...], bystanders: int, holds: list[bool]
) -> None:
    control = Losses((4, 5, 30), (0, 0, 0), 0, 0)
    cases = judged("failover", "a case", Losses(failures, repairs, bystanders, 0), control)
    assert [case.holds for case in cases] == holds


def test_the_control_stands_beside_the_fabric_and_touches_it_nowhere() -> None:
    fabric = fat_tree(4, capacity_bps=1e7, delay_s=1e-5)
    both = bare_group.beside(fabric)
    assert set(fabric.links) <= set(both.links)
    parts = list(nx.weakly_connected_components(both.graph))
    assert sorted(len(part) for part in parts) == [4, len(fabric.nodes)]
    assert {len({node.dpid for node in both.switches})} == {len(both.switches)}
    near, far = bare_group.USED
    assert both.link_by_id[near].reverse_id == far
