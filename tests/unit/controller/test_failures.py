"""Switches that leave, come back, refuse, answer late or not at all: no packet is lost for it, nothing is stuck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from memory_fabric import FABRIC, World

from controller.discovery import PortId
from controller.rulebounds import RuleBounds
from controller.service import JobState
from dataplane.echo import ECHO_LABEL
from dataplane.rules import PushLabel, Role, SwitchRules, Table
from dataplane.update import AddFlow, AddMeter, RemoveFlow
from topologies.fabric import Fabric, LinkId
from workloads.headers import ARP_REQUEST, Arp, write_arp
from workloads.job import Job

EVERYBODY = tuple(f"h{n}" for n in (1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 4, 8, 12, 16))


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state").up()
    yield world
    world.end()


def ring(name: str, *ranks: str) -> Job:
    return Job(name, ranks, 1 << 20)


def state(world: World, name: str) -> JobState | None:
    return next((status.state for status in world.core.jobs() if status.job.name == name), None)


def speak(world: World, name: str, mac: str | None = None, ip: str | None = None, at: str | None = None) -> None:
    """A host sends ARP where the fabric has it, or in the place of another; from now on it alone is there."""
    host, access = FABRIC.node_by_id[name], FABRIC.access_link(at or name)
    asked = Arp(ARP_REQUEST, mac or host.mac, ip or host.ip, "00:00:00:00:00:00", "10.255.255.1")
    frame = write_arp(asked, "ff:ff:ff:ff:ff:ff")
    at_port = PortId(world.dpid(access.target), access.target_port)
    world.alive = {known for known in world.alive if known[0] != at_port} | {
        (at_port, asked.sender_mac, asked.sender_ip)
    }
    world.arp(at_port, frame)


def test_packets_of_an_ingress_out_of_reach_arrive_whatever_becomes_of_the_plan(world: World) -> None:
    world.core.submit_job(ring("r", "h1", "h5", "h9", "h13"))
    world.run(2)
    world.disconnect(world.dpid("e0-0"))
    world.core.submit_job(ring("other", "h3", "h7"))
    world.run(30)
    assert state(world, "other") is JobState.ACTIVE
    assert state(world, "r") is JobState.FAILED
    assert world.lost([("h1", "h5"), ("h13", "h1"), ("h5", "h1")]) == {}


def test_labels_that_were_spared_go_once_their_ingress_is_back(world: World) -> None:
    world.core.submit_job(ring("r", "h1", "h5"))
    world.run(2)
    world.disconnect(world.dpid("e0-0"))
    world.core.remove_job("r")
    world.run(5)
    assert any(map(labels, world.tables.values()))
    world.reconnect(world.dpid("e0-0"))
    world.run(5)
    assert not any(map(labels, world.tables.values()))
    assert world.core.jobs() == ()


def test_a_switch_lost_before_it_took_its_labels_gets_no_traffic(world: World) -> None:
    world.switches[world.dpid("c1")].commit_s = 5
    world.core.submit_job(ring("r", *EVERYBODY))
    world.run(1)
    assert world.tables[world.dpid("c1")] == replace_labels_free(world.tables[world.dpid("c1")])
    world.disconnect(world.dpid("c1"))
    world.run(60)
    assert state(world, "r") is JobState.ACTIVE
    assert world.lost(world.planned_pairs()) == {}


def labels(rules: SwitchRules) -> set[int]:
    """Labels of paths on which a switch forwards."""
    transit = (flow for flow in rules.flows if flow.role is Role.TRANSIT)
    return {flow.match.mpls_label for flow in transit if flow.match.mpls_label} - {ECHO_LABEL}


def replace_labels_free(rules: SwitchRules) -> SwitchRules:
    return replace(rules, flows=frozenset(flow for flow in rules.flows if flow.match.mpls_label not in labels(rules)))


def test_a_switch_whose_rules_are_still_being_read_gets_no_traffic(world: World) -> None:
    world.disconnect(world.dpid("c1"))
    world.run(2)
    world.core.submit_job(ring("r", *EVERYBODY))
    world.run(5)
    back = world.reconnect(world.dpid("c1"))
    back.read_s = 20
    for _ in range(15):
        world.run(2)
        assert world.lost(world.planned_pairs()) == {}
    assert any(link.node == "c1" for path in world.core.plan().paths for link in path.links)


def test_a_switch_that_a_target_does_not_know_keeps_its_rules(world: World) -> None:
    c1 = world.dpid("c1")
    world.end()
    world.start()
    world.connect(*(dpid for dpid in world.tables if dpid != c1))
    world.run(20)
    for switch in world.switches.values():
        switch.commit_s = 0.5
    world.core.submit_job(ring("r", *EVERYBODY))
    world.run(0.2)
    rules = world.tables[c1].flows
    world.planning_s = 60
    world.reconnect(c1)
    world.run(10)
    assert world.tables[c1].flows >= rules


def test_a_flip_whose_answer_came_too_late_is_taken_back_in_full(world: World) -> None:
    leaf = world.dpid("e0-0")
    world.switches[leaf].late = lambda operations: any(
        isinstance(operation, AddFlow) and operation.flow.table is Table.CLASSIFY for operation in operations
    )
    world.core.submit_job(ring("r", "h1", "h5"))
    world.run(1)
    assert leaf not in world.connected
    world.core.remove_job("r")
    world.run(5)
    assert world.lost([("h1", "h5")]) == {}
    world.reconnect(leaf)
    world.run(10)
    assert state(world, "r") is None
    assert world.lost([("h1", "h5")]) == {}
    assert not any(isinstance(action, PushLabel) for flow in world.tables[leaf].flows for action in flow.actions)


def test_a_label_is_not_used_again_before_its_ingress_was_read(world: World) -> None:
    world.core.submit_job(ring("r", "h1", "h5"))
    world.run(2)
    old = {path.label for path in world.core.plan().paths if path.source == "h1"}
    world.disconnect(world.dpid("e0-0"))
    world.core.remove_job("r")
    world.run(60)
    world.reconnect(world.dpid("e0-0")).read_s = 20
    world.run(0.2)
    world.core.submit_job(ring("s", "h9", "h13"))
    world.run(3)
    assert state(world, "s") is JobState.ACTIVE
    assert not old & {path.label for path in world.core.plan().paths}


def test_one_switch_that_refuses_rules_does_not_hold_up_the_others(world: World) -> None:
    world.switches[world.dpid("e3-1")].refuses = lambda operations: (
        "TABLE_FULL" if any(isinstance(operation, AddFlow) for operation in operations) else None
    )
    world.core.submit_job(ring("full", "h16", "h1"))
    world.core.submit_job(ring("free", "h5", "h9"))
    world.run(10)
    assert state(world, "free") is JobState.ACTIVE
    link = LinkId("c1", 1)
    world.cut(link)
    world.run(15)
    broken = FABRIC.without_links((link, FABRIC.link_by_id[link].reverse_id))
    assert world.lost([(a, b) for a in ("h5", "h9") for b in ("h1", "h2")], broken) == {}
    events = [event.message for event in world.core.events() if event.kind == "switch-left"]
    assert events
    assert "e3-1" in events[0]


def test_a_refusing_switch_is_tried_again_and_then_serves(world: World) -> None:
    world.switches[world.dpid("e3-1")].refuse = ["TABLE_FULL"] * 2
    world.core.submit_job(ring("r", "h16", "h1"))
    world.run(5)
    assert state(world, "r") is not JobState.ACTIVE
    world.run(60)
    assert state(world, "r") is JobState.ACTIVE


def test_first_rules_and_an_installation_never_meet_on_a_switch(world: World) -> None:
    c1 = world.dpid("c1")
    world.core.submit_job(ring("r", "h1", "h5"))
    world.run(1)
    world.disconnect(c1)
    world.run(3)
    world.tables[c1] = SwitchRules()
    world.core.submit_job(ring("q", "h3", "h7"))
    back = world.reconnect(c1)
    back.commit_s = 0.3
    back.refuses = lambda operations: (
        "METER_EXISTS"
        if {operation.meter.id for operation in operations if isinstance(operation, AddMeter)}
        & {meter.id for meter in world.tables[c1].meters}
        else None
    )
    world.run(10)
    assert "install-failed" not in {event.kind for event in world.core.events()}
    assert world.tables[c1].flows


def test_a_restart_that_reads_slowly_takes_nothing_away(tmp_path: Path) -> None:
    world = World(tmp_path / "undeclared", declared=None).up()
    for host in FABRIC.hosts:
        speak(world, host.id)
    world.run(3)
    hosts = [host.id for host in world.core.fabric().hosts]
    world.core.submit_job(ring("r", hosts[0], hosts[5], hosts[10], hosts[15]))
    world.run(5)
    world.end()
    world.log.clear()
    world.start()
    for dpid, switch in world.switches.items():
        switch.read_s = 8.0 if world.names[dpid].startswith("e") else 0.1
    world.connect()
    world.run(25)
    assert world.core.readiness().ready
    assert not any(isinstance(operation, RemoveFlow) for _, operation in world.log)
    assert world.core.jobs()[0].state is JobState.ACTIVE
    world.end()


def test_a_port_that_flaps_for_ever_does_not_keep_the_daemon_from_starting(tmp_path: Path) -> None:
    world = World(tmp_path / "flapping")
    world.connect(*(dpid for dpid in world.tables if dpid != world.dpid("c4")))
    at = world.dpid("e0-0")
    for turn in range(40):
        world.core.port_changed(at, world.port(1, up=bool(turn % 2)), gone=False)
        world.run(2)
    assert world.core.readiness().ready
    world.end()


def test_plans_are_installed_on_a_fabric_that_changes_faster_than_they_are_made(world: World) -> None:
    world.planning_s = 3
    installed = world.core.counters()["installations"]
    for turn in range(20):
        world.core.port_changed(world.dpid("e0-0"), world.port(1, up=bool(turn % 2)), gone=False)
        world.run(1)
    assert world.core.counters()["installations"] > installed + 3


def test_swapped_cables_are_planned_anew(world: World, tmp_path: Path) -> None:
    world.core.submit_job(ring("r", "h1", "h5", "h9", "h13"))
    world.run(3)
    path = next(path for path in world.core.plan().paths if path.source == "h1" and path.rate_bps)
    (one, other) = (PortId(world.dpid("a0-0"), 3), PortId(world.dpid("a0-1"), 3))
    world.end()
    far, near = world.peer[one], world.peer[other]
    world.peer |= {one: near, near: one, other: far, far: other}
    world.start()
    world.connect()
    world.run(40)
    assert world.core.readiness().ready
    assert state(world, "r") is JobState.ACTIVE
    assert world.lost(world.planned_pairs(), world.core.fabric()) == {}
    assert path.job == "r"


def test_a_port_that_slows_down_is_planned_for(tmp_path: Path) -> None:
    world = World(tmp_path / "speeds", declared=None).up()
    port = replace(world.port(3), speed_bps=1e8)
    world.core.port_changed(world.dpid("a0-0"), port, gone=False)
    world.run(1)
    link = next(link for link in world.core.links() if link.source == LinkId(f"s-{world.dpid('a0-0'):016x}", 3))
    assert link.capacity_bps == 1e8
    world.end()


def test_a_new_network_card_takes_over_the_address_after_its_port_was_down(tmp_path: Path) -> None:
    world = World(tmp_path / "cards", declared=None).up()
    speak(world, "h1")
    world.run(1)
    dpid = world.dpid("e0-0")
    speak(world, "h1", mac="02:aa:00:00:00:01")
    assert [host.mac for host in world.core.hosts()] == [FABRIC.node_by_id["h1"].mac]
    world.core.port_changed(dpid, world.port(1, up=False), gone=False)
    world.core.port_changed(dpid, world.port(1, up=True), gone=False)
    world.run(3)
    speak(world, "h1", mac="02:aa:00:00:00:01")
    world.run(3)
    assert [host.mac for host in world.core.hosts()] == ["02:aa:00:00:00:01"]
    speak(world, "h1", mac="02:aa:00:00:00:01", ip="10.0.0.77")
    assert [host.ip for host in world.core.hosts()] == [FABRIC.node_by_id["h1"].ip]
    world.core.port_changed(dpid, world.port(1, up=False), gone=False)
    world.core.port_changed(dpid, world.port(1, up=True), gone=False)
    world.run(3)
    speak(world, "h1", mac="02:aa:00:00:00:01", ip="10.0.0.77")
    world.run(3)
    assert [(host.ip, host.mac) for host in world.core.hosts()] == [("10.0.0.77", "02:aa:00:00:00:01")]
    assert [host.ip for host in world.store.hosts()] == ["10.0.0.77"]
    world.end()


def core_link(world: World) -> LinkId:
    """A link between aggregation and core that the plan uses."""
    links = (link for path in world.core.plan().paths for link in path.links)
    return next(link for link in links if link.node.startswith("a") and link.port > 2)


def without(link: LinkId) -> Fabric:
    return FABRIC.without_links((link, FABRIC.link_by_id[link].reverse_id))


@pytest.mark.parametrize("refuses", [False, True])
def test_a_switch_that_came_back_empty_gets_no_traffic_before_it_has_its_labels(world: World, refuses: bool) -> None:
    c1 = world.dpid("c1")
    world.core.submit_job(ring("r", *EVERYBODY))
    world.run(3)
    world.disconnect(c1)
    world.run(2)
    world.tables[c1] = SwitchRules()
    back = world.reconnect(c1)
    if refuses:
        back.refuses = lambda operations: (
            "TABLE_FULL"
            if any(getattr(each, "flow", None) and each.flow.match.mpls_label for each in operations)
            else None
        )
        world.run(10)
    else:
        back.commit_s = 0.5
        world.run(0.8)
        world.disconnect(c1)
        world.run(10)
    assert world.lost(world.planned_pairs()) == {}
    assert state(world, "r") is JobState.ACTIVE


def test_a_switch_that_goes_between_a_plan_and_its_installation_stops_it(world: World) -> None:
    c1 = world.dpid("c1")
    world.planning_s = 1.0
    world.core.submit_job(ring("r", *EVERYBODY))
    world.run(0.98)
    world.time.due()
    world.disconnect(c1)
    world.time.now += 0.03
    world.planning_s = 20
    for _ in range(30):
        world.time.due()
        world.time.now += 0.0005
    for _ in range(12):
        world.run(2.5)
        assert state(world, "r") is not JobState.ACTIVE or world.lost(world.planned_pairs()) == {}
    world.planning_s = 0.01
    world.run(60)
    assert state(world, "r") is JobState.ACTIVE
    assert world.lost(world.planned_pairs()) == {}


def test_a_late_plan_never_moves_traffic_onto_a_link_that_has_died_since(world: World) -> None:
    world.core.submit_job(ring("r", *EVERYBODY))
    world.run(3)
    link = core_link(world)
    world.cut(link)
    world.run(5)
    assert world.lost(world.planned_pairs(), without(link)) == {}
    world.planning_s = 5
    world.heal(link)
    world.run(3)
    world.cut(link)
    for _ in range(20):
        world.run(0.5)
        assert world.lost([*world.planned_pairs(), ("h1", "h9"), ("h2", "h13")], without(link)) == {}


def test_a_removed_job_is_gone_soon_on_a_fabric_that_never_rests(world: World) -> None:
    world.core.submit_job(ring("r", "h1", "h5"))
    world.run(3)
    world.core.remove_job("r")
    for turn in range(6):
        world.core.port_changed(world.dpid("e3-1"), world.port(1, up=bool(turn % 2)), gone=False)
        world.run(1)
    assert state(world, "r") is None


def test_a_job_that_is_cut_off_moves_no_other(world: World) -> None:
    world.core.submit_job(ring("s", "h9", "h13", "h10", "h14"))
    world.run(3)
    world.disconnect(world.dpid("e0-0"))
    world.core.submit_job(ring("t", "h1", "h12"))
    world.run(3)
    assert state(world, "t") is JobState.FAILED
    link = core_link(world)
    world.cut(link)
    world.run(3)
    moved = world.core.plan().paths
    world.heal(link)
    world.run(5)
    assert world.core.plan().paths == moved
    assert state(world, "t") is JobState.FAILED


def test_jobs_that_share_a_path_are_installing_together(world: World) -> None:
    world.core.submit_job(ring("a", "h1", "h5"))
    world.core.submit_job(ring("b", "h1", "h5"))
    world.run(4)
    assert (state(world, "a"), state(world, "b")) == (JobState.ACTIVE, JobState.ACTIVE)
    for switch in world.switches.values():
        switch.commit_s = 3
    world.cut(core_link(world))
    world.run(2)
    assert (state(world, "a"), state(world, "b")) == (JobState.INSTALLING, JobState.INSTALLING)
    world.run(30)
    assert (state(world, "a"), state(world, "b")) == (JobState.ACTIVE, JobState.ACTIVE)


def test_a_new_network_card_is_learned_behind_a_switch_that_was_away(tmp_path: Path) -> None:
    world = World(tmp_path / "rack", declared=None).up()
    speak(world, "h1")
    world.run(2)
    world.disconnect(world.dpid("e0-0"))
    world.run(10)
    world.reconnect(world.dpid("e0-0"))
    world.run(5)
    speak(world, "h1", mac="02:aa:00:00:00:01")
    world.run(3)
    assert [host.mac for host in world.core.hosts()] == ["02:aa:00:00:00:01"]
    world.end()


def test_nobody_elsewhere_takes_an_address_over_whose_owner_is_not_back_yet(tmp_path: Path) -> None:
    world = World(tmp_path / "takeover", declared=None).up()
    speak(world, "h1")
    speak(world, "h9")
    world.run(2)
    world.end()
    world.start()
    world.connect(*(dpid for dpid in world.tables if dpid != world.dpid("e0-0")))
    world.run(3)
    speak(world, "h1", mac="02:bb:00:00:00:01", at="h16")
    speak(world, "h1", mac=FABRIC.node_by_id["h9"].mac, at="h9")
    world.run(1)
    assert {(host.ip, host.mac) for host in world.core.hosts()} == {
        (FABRIC.node_by_id[name].ip, FABRIC.node_by_id[name].mac) for name in ("h1", "h9")
    }
    world.end()


def test_an_installation_that_fails_unexpectedly_is_tried_again(world: World) -> None:
    broken = [True]

    def stumble(_operations: object) -> str | None:
        if broken.pop() if broken else False:
            raise RuntimeError("a bug")
        return None

    world.switches[world.dpid("c1")].refuses = stumble
    world.core.submit_job(ring("r", *EVERYBODY))
    world.run(0.5)
    assert state(world, "r") is JobState.INSTALLING
    world.run(10)
    assert state(world, "r") is JobState.ACTIVE


def test_a_plan_that_switches_cannot_hold_is_told_once_and_tried_again_ever_more_seldom(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(5)
    before = world.installed()
    asked = len(world.core._keeper._planner.requests)
    with monkeypatch.context() as patched:
        patched.setattr("controller.installer.RULE_BOUNDS", RuleBounds(flows=1))
        world.core.submit_job(ring("r", "h1", "h5"))
        world.run(120)
    assert world.installed() == before
    failed = [event.message for event in world.core.events() if event.kind == "install-failed"]
    assert len(failed) == len({message.split(":")[0] for message in failed}) > 0
    assert len(world.core._keeper._planner.requests) - asked < 6
    assert "more than 1" in world.core.jobs()[0].reason
    world.run(60)
    assert state(world, "r") is JobState.ACTIVE
