"""Undeclared switches that leave are forgotten a few ports at a time, and not where they come back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from controller.departures import Departures
from controller.discovery import PortId
from controller.strangers import KEEP_S

PORTS = 5


class World:
    """Switches that came and went, with ports and without hosts, plans or jobs."""

    def __init__(self) -> None:
        self.connected: set[int] = set()
        self.ports: dict[int, list[PortId]] = {}
        self.forgotten_ports: list[PortId] = []
        self.forgotten: list[int] = []
        discovery: Any = SimpleNamespace(
            forget_switch=self._forget_ports,
            port_count=lambda dpid: len(self.ports[dpid]),
            is_linked_to_connected=lambda _: False,
        )
        hosts: Any = SimpleNamespace(ports_of=lambda _: (), at=lambda _: ())
        keeper: Any = SimpleNamespace(plan=None, jobs=SimpleNamespace(wanted=tuple))
        self.departures = Departures(
            self.connected, discovery, hosts, keeper, str, self.forgotten_ports.append, self.forgotten.append
        )

    def _forget_ports(self, dpid: int, most: int = PORTS) -> list[PortId]:
        went, self.ports[dpid] = self.ports[dpid][:most], self.ports[dpid][most:]
        return went

    def visit(self, dpid: int) -> None:
        self.ports[dpid] = [PortId(dpid, number) for number in range(1, PORTS + 1)]
        self.departures.strangers.came(dpid, 0.0)
        self.departures.strangers.went(dpid, PORTS, 1.0)


@pytest.fixture(name="world")
def world_fixture() -> World:
    world = World()
    world.visit(1)
    return world


def test_a_switch_leaves_a_few_ports_at_a_time_and_is_told_of_once_nothing_is_left(world: World) -> None:
    assert world.departures.begin(1.0 + KEEP_S) == (1,)
    assert world.departures.go_on(3)
    assert (len(world.forgotten_ports), world.forgotten) == (3, [])
    assert world.departures.go_on(3)
    assert (len(world.forgotten_ports), world.forgotten) == (PORTS, [1])
    assert not world.departures.go_on(3)


def test_a_switch_that_comes_back_while_it_leaves_keeps_the_rest(world: World) -> None:
    world.departures.begin(1.0 + KEEP_S)
    world.departures.go_on(3)
    world.connected.add(1)
    assert not world.departures.go_on(3)
    assert (len(world.forgotten_ports), world.forgotten) == (3, [])
    assert len(world.ports[1]) == PORTS - 3
