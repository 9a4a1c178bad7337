from __future__ import annotations

from typing import Any

from controller.installer import Installer, Outcome, Target, add_missing, turns
from dataplane.flips import along
from dataplane.rules import RATE_CAP_ID_BASE, FlowRule, Match, PushLabel, RateCap, SetLabel, SwitchRules, Table
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind


class Clock:
    """A runtime in which each look at the clock takes a millisecond, and a task runs at once."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, 0

    def now_s(self) -> float:
        self.now += 0.001
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.now += seconds

    def spawn(self, function: Any) -> Any:
        function()
        return self

    def wait(self) -> None:
        """It is over already."""

    def call_soon(self, function: Any) -> Any:
        raise NotImplementedError


class Obedient:
    """A switch that does what it is told."""

    dpid, address, is_connected = 1, "127.0.0.1", True

    def __init__(self) -> None:
        self.operations: list[Any] = []

    def commit(self, operations: Any) -> tuple[str, ...]:
        self.operations += operations
        return ()


def many(count: int, table: Table = Table.GUARD) -> frozenset[FlowRule]:
    return frozenset(FlowRule(table, number % 60_000, Match(in_port=number // 60_000 + 1)) for number in range(count))


def test_adding_to_many_rules_lets_others_work_and_takes_nothing_away():
    clock, switch, first = Clock(), Obedient(), FlowRule(Table.CLASSIFY, 1, Match())

    rules, refused = add_missing(switch, SwitchRules(many(5000)), SwitchRules(frozenset({first})), turns(clock))  # type: ignore[arg-type]

    assert clock.slept > 50
    assert (rules.flows, refused) == (many(5000) | {first}, ())
    assert [operation.flow for operation in switch.operations] == [first]


def test_removing_many_rules_lets_others_work():
    clock, switch = Clock(), Obedient()
    outcomes: list[Outcome] = []
    installer = Installer(clock, outcomes.append)  # type: ignore[arg-type]
    installer.connected("s1", switch, SwitchRules(many(5000)))  # type: ignore[arg-type]

    installer.aim(Target({"s1": SwitchRules()}))

    assert clock.slept > 50
    assert outcomes[-1].cleared
    assert installer.installed["s1"] == SwitchRules()
    assert len(switch.operations) == 5000


def test_no_plan_puts_more_on_a_switch_than_it_could_come_back_with():
    clock, switch = Clock(), Obedient()
    outcomes: list[Outcome] = []
    installer = Installer(clock, outcomes.append)  # type: ignore[arg-type]
    installer.connected("s1", switch, SwitchRules(many(10, Table.DEFAULT)))  # type: ignore[arg-type]

    installer.aim(Target({"s1": SwitchRules(many(32_760))}))

    assert "32770 flows, more than 32768" in outcomes[-1].errors["s1"]
    assert not switch.operations


def test_meters_old_and_new_count_together_against_what_a_switch_may_hold():
    clock, switch = Clock(), Obedient()
    outcomes: list[Outcome] = []
    installer = Installer(clock, outcomes.append)  # type: ignore[arg-type]
    old, new = (
        frozenset(RateCap(RATE_CAP_ID_BASE + number, 1000, 300) for number in range(first, first + 5000))
        for first in (0, 5000)
    )
    installer.connected("s1", switch, SwitchRules(meters=old))  # type: ignore[arg-type]

    installer.aim(Target({"s1": SwitchRules(meters=new)}))

    assert "10000 meters, more than 8192" in outcomes[-1].errors["s1"]
    assert outcomes[-1].crowded
    assert not switch.operations


def test_labels_follow_the_rules_of_a_switch_and_go_with_it():
    installer = Installer(Clock(), lambda _: None)  # type: ignore[arg-type]
    pushing = FlowRule(Table.CLASSIFY, 1, Match(), (PushLabel(17),))
    matching = FlowRule(Table.TRANSIT, 1, Match(mpls_label=18))

    installer.connected("s1", Obedient(), SwitchRules(frozenset({pushing})))  # type: ignore[arg-type]
    assert installer.labels() == {17}
    installer.connected("s1", Obedient(), SwitchRules(frozenset({matching})))  # type: ignore[arg-type]
    assert installer.labels() == {18}
    installer.disconnected("s1")
    assert installer.labels() == frozenset()


def test_labels_that_a_switch_puts_on_packets_are_told_with_it():
    installer = Installer(Clock(), lambda _: None)  # type: ignore[arg-type]
    rules = frozenset({
        FlowRule(Table.CLASSIFY, 1, Match(), (PushLabel(17),)),
        FlowRule(Table.TRANSIT, 1, Match(mpls_label=18), (SetLabel(19),)),
    })  # fmt: skip

    installer.connected("s1", Obedient(), SwitchRules(rules))  # type: ignore[arg-type]

    assert installer.pushed() == {(17, "s1")}


def test_what_a_switch_that_takes_no_part_pushes_is_still_forwarded_on_by_the_others():
    clock, transit = Clock(), Obedient()
    installer = Installer(clock, lambda _: None)  # type: ignore[arg-type]
    forwarding = [FlowRule(Table.TRANSIT, 1, Match(mpls_label=label), (SetLabel(19),)) for label in (17, 18)]
    turned_into = FlowRule(Table.TRANSIT, 1, Match(mpls_label=19))
    pushing = FlowRule(Table.CLASSIFY, 1, Match(), (PushLabel(17),))
    installer.connected("left", Obedient(), SwitchRules(frozenset({pushing})))  # type: ignore[arg-type]
    installer.connected("transit", transit, SwitchRules(frozenset({*forwarding, turned_into})))  # type: ignore[arg-type]

    installer.aim(Target({"left": SwitchRules(), "transit": SwitchRules()}, leave=frozenset({"left"})))

    assert [operation.flow for operation in transit.operations] == [forwarding[1]]


def test_links_that_no_order_spares_are_announced_before_anything_changes():
    # Two pairs change places on two links that each carry one of them: whoever comes first meets the other.
    fabric = Fabric(
        (Node("s1", NodeKind.SWITCH, dpid=1), Node("s2", NodeKind.SWITCH, dpid=2)),
        tuple(
            Link(one, port, other, port, capacity_bps=1e9)
            for port in (1, 2)
            for one, other in (("s1", "s2"), ("s2", "s1"))
        ),
    )
    links = [LinkId("s1", 1), LinkId("s1", 2)]
    moves = tuple(along(f"10.0.0.{n}", "10.0.1.1", 1e9, [links[n]], [links[1 - n]]) for n in (0, 1))
    switch, announced = Obedient(), []
    installer = Installer(  # type: ignore[arg-type]
        Clock(), lambda _: None, lambda sentence: announced.append((sentence, len(switch.operations)))
    )
    flip = {n: FlowRule(Table.CLASSIFY, 1, Match(ipv4_src=f"10.0.0.{n}"), (PushLabel(16 + n),)) for n in (0, 1)}
    installer.connected("s1", switch, SwitchRules())  # type: ignore[arg-type]

    installer.aim(Target({"s1": SwitchRules(frozenset(flip.values()))}, fabric=fabric, moves=moves))

    [(sentence, before)] = announced
    assert sentence == (
        "link s1:1 may get 2000 Mbit/s while paths change, 1000 Mbit/s more than it carries, and 1 more links; "
        "no order of changes avoids it"
    )
    assert before == 0
    assert len(switch.operations) == 2
