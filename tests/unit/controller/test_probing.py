"""Probes keep to their budget, are spread over time, and what they are good for is said."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.ports import PortId
from controller.probing import BUDGET_PER_S, EDGE_S, FABRIC_S, SUSPECT_S, Pace, ProbeSchedule

TICK_S = 0.05


class Ticks:
    """A schedule with a clock, and what it let go."""

    def __init__(self) -> None:
        self.schedule = ProbeSchedule()
        self.now_s = 100.0
        self.taken: list[list[PortId]] = []

    def put(self, pace: Pace, ports: range) -> None:
        for number in ports:
            self.schedule.put(PortId(1, number), pace, self.now_s)

    def run(self, seconds: float) -> Counter[int]:
        """How often each port was probed."""
        first = len(self.taken)
        for _ in range(round(seconds / TICK_S)):
            self.taken.append(self.schedule.take(self.now_s))
            self.now_s += TICK_S
        return Counter(port.port for taken in self.taken[first:] for port in taken)


def test_each_kind_of_port_is_probed_at_its_pace() -> None:
    ticks = Ticks()
    for pace, number in ((Pace.FABRIC, 1), (Pace.EDGE, 2), (Pace.SUSPECT, 3)):
        ticks.put(pace, range(number, number + 1))
    ticks.run(1.0)
    counted = ticks.run(30.0)
    for number, interval_s in ((1, FABRIC_S), (2, EDGE_S), (3, SUSPECT_S)):
        assert abs(counted[number] - 30.0 / interval_s) <= 1


@settings(deadline=None, max_examples=25)
@given(fabric=st.integers(0, 5000), edge=st.integers(0, 5000))
def test_no_second_has_more_probes_than_the_budget_and_no_tick_hundreds(fabric: int, edge: int) -> None:
    ticks = Ticks()
    ticks.put(Pace.FABRIC, range(1, fabric + 1))
    ticks.put(Pace.EDGE, range(10_000, 10_000 + edge))
    # First all of them once, which may be more.
    assert len(ticks.run(3.0)) == fabric + edge
    first = len(ticks.taken)
    ticks.run(5.0)
    sizes = [len(taken) for taken in ticks.taken[first:]]
    assert max(sizes) <= BUDGET_PER_S / 10
    burst = BUDGET_PER_S / 10
    for second in range(0, len(sizes), round(1 / TICK_S)):
        assert sum(sizes[second : second + round(1 / TICK_S)]) <= BUDGET_PER_S + burst


def test_the_ports_of_a_large_fabric_are_all_probed_once_within_a_second() -> None:
    ticks = Ticks()
    ticks.put(Pace.FABRIC, range(1, 3431))
    assert ticks.run(1.0).keys() == set(range(1, 3431))
    assert max(map(len, ticks.taken)) <= 3 * BUDGET_PER_S / 10


def test_ports_that_come_anew_for_ever_are_probed_within_the_budget_in_the_long_run() -> None:
    ticks = Ticks()
    probes = []
    for _ in range(60):
        for number in range(1, 2001):
            ticks.schedule.drop(PortId(1, number))
        ticks.put(Pace.FABRIC, range(1, 2001))
        probes.append(sum(ticks.run(0.5).values()))
    assert sum(probes[-20:]) <= 10 * 1.2 * BUDGET_PER_S


def test_every_port_of_a_large_fabric_has_its_turn_in_the_interval_that_is_said() -> None:
    ticks = Ticks()
    ticks.put(Pace.FABRIC, range(1, 3001))
    ticks.put(Pace.EDGE, range(10_000, 12_000))
    interval_s = ticks.schedule.probing().interval_s
    assert 1.9 < interval_s < 2.5
    ticks.run(40.0)
    counted = ticks.run(3 * interval_s + 1.0)
    assert all(counted[number] >= 3 for number in range(1, 3001))
    edges = ticks.run(20.0)
    assert all(edges[number] for number in range(10_000, 12_000))


def test_what_probing_is_good_for_is_said_once_it_has_changed_and_stays() -> None:
    ticks = Ticks()
    said: list[str] = []

    def run(seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            said.extend(filter(None, [ticks.schedule.news(ticks.now_s)]))
            ticks.now_s += TICK_S

    ticks.put(Pace.FABRIC, range(1, 401))
    run(20.0)
    assert said == [], "what is promised is kept"
    ticks.put(Pace.FABRIC, range(1, 3001))
    run(3.0)
    assert said == [], "it may be a start"
    run(20.0)
    assert said == ["probing 3,000 fabric ports, each every 2.2 s: a silent link is noticed within 5.3 s"]
    for number in range(401, 3001):
        ticks.schedule.drop(PortId(1, number))
    run(20.0)
    assert said[1:] == ["probing 400 fabric ports, each every 0.3 s: a silent link is noticed within 1.5 s"]


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([*Pace, None, "set"])), max_size=100))
def test_ports_that_come_and_go_leave_nothing_behind(steps: list[tuple[int, Pace | str | None]]) -> None:
    ticks = Ticks()
    kept: set[int] = set()
    for number, pace in steps:
        port = PortId(1, number)
        if pace is None:
            ticks.schedule.drop(port)
            kept.discard(number)
        elif isinstance(pace, Pace):
            ticks.schedule.put(port, pace, ticks.now_s)
            kept.add(number)
        else:
            ticks.schedule.set_pace(port, Pace.EDGE)
    assert ticks.run(5.0).keys() == kept
    for number in kept:
        ticks.schedule.drop(PortId(1, number))
    assert not ticks.run(5.0)
    assert ticks.schedule.probing().ports == 0
