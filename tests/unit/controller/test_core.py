"""The loop observe → plan → compile → install, with switches and time in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_fabric import FABRIC, FakeSwitch, World

from controller import strangers
from controller.arp import BROADCAST_MAC
from controller.discovery import PortId
from controller.service import DuplicateJob, JobState, UnknownJob
from controller.wire import PacketIn, Port, PortCounters
from dataplane.rules import FlowRule, SwitchRules, Table
from dataplane.testing import assert_delivers
from dataplane.update import RemoveFlow, RemoveGroup
from dataplane.verifier import verify
from solver.routing import Objective
from topologies.errors import InputError
from topologies.fabric import LinkId
from workloads.headers import ARP_REQUEST, Arp, write_arp
from workloads.job import Job


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path):
    world = World(tmp_path / "state")
    yield world
    world.end()


def ring(name: str, *ranks: str) -> Job:
    return Job(name, ranks, 1 << 20)


def kinds(world: World) -> list[str]:
    return [event.kind for event in world.core.events()]


def test_the_fabric_is_found_as_declared_and_its_rules_connect_every_host(world: World) -> None:
    assert not world.core.readiness().ready
    world.up()
    assert world.core.readiness().ready
    found = world.core.fabric()
    assert found.nodes == FABRIC.nodes
    assert set(found.links) == set(FABRIC.links)
    assert verify(FABRIC, world.installed()).pairs == 240
    assert world.core.rules() == world.installed()
    assert all(status.connected and status.flows for status in world.core.switches())


def test_a_job_becomes_active_with_rules_that_take_its_paths_and_leaves_none_behind(world: World) -> None:
    world.up()
    before = world.installed()
    assert world.core.submit_job(ring("r", "h1", "h5", "h9", "h13")).result().state is JobState.PLANNING
    world.run(1)
    (status,) = world.core.jobs()
    assert status.state is JobState.ACTIVE
    assert status.share == pytest.approx(0.95)
    plan = world.core.plan()
    assert plan is not None
    assert plan.gap < 1e-6
    assert verify(FABRIC, world.installed(), plan.paths).planned == 8
    assert world.core.remove_job("r").result().state is JobState.REMOVING
    world.run(4)
    assert world.core.jobs() == ()
    assert world.core.plan() is None
    assert world.installed() == before


def test_a_failed_link_carries_nothing_after_replanning(world: World) -> None:
    world.up()
    world.core.submit_job(ring("r", "h1", "h5", "h9", "h13"))
    world.run(1)
    path = next(path for path in world.core.plan().paths if path.source == "h1" and path.rate_bps)
    dead = path.links[2]
    world.cut(dead)
    assert dead not in world.core.fabric().link_by_id
    world.run(4)
    assert all(dead not in path.links for path in world.core.plan().paths)
    assert world.core.jobs()[0].state is JobState.ACTIVE
    verify(world.core.fabric(), world.installed(), world.core.plan().paths)


def test_a_plan_that_stays_good_is_not_touched_when_another_link_fails(world: World) -> None:
    world.up()
    world.core.submit_job(ring("r", "h1", "h5"))
    world.run(1)
    plan = world.core.plan()
    used = {link for path in plan.paths for link in path.links}
    spare = next(
        link.id
        for link in FABRIC.links
        if {link.id, link.reverse_id}.isdisjoint(used) and link.source.startswith("a") and link.target.startswith("c")
    )
    world.cut(spare)
    world.run(2)
    assert world.core.plan().paths == plan.paths
    assert world.core.plan().epoch == plan.epoch


def test_a_restarted_daemon_keeps_plan_labels_and_rules(world: World) -> None:
    world.up()
    world.core.submit_job(ring("r", "h1", "h5", "h9", "h13"))
    world.run(1)
    rules, paths = world.installed(), world.core.plan().paths
    world.end()
    world.log.clear()
    world.start()
    world.connect()
    world.run(5)
    assert world.core.jobs()[0].state is JobState.ACTIVE
    assert world.core.plan().paths == paths
    assert world.installed() == rules
    assert world.log == []


def test_nothing_is_removed_before_the_fabric_is_known(world: World) -> None:
    world.up()
    world.end()
    world.log.clear()
    world.start()
    first, *rest = world.tables
    world.connect(first)
    world.run(1)
    world.connect(*rest)
    world.run(1)
    assert not any(isinstance(operation, RemoveFlow | RemoveGroup) for _, operation in world.log)


def test_a_refused_rule_is_told_and_tried_again(world: World) -> None:
    world.up()
    world.switches[0x30001].refuse = ["OFPET_FLOW_MOD_FAILED OFPFMFC_TABLE_FULL"] * 2
    job = ring("r", *(f"h{n}" for n in (1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)))
    world.core.submit_job(job)
    world.run(0.5)
    assert world.core.jobs()[0].state is JobState.INSTALLING
    assert "TABLE_FULL" in world.core.jobs()[0].reason
    ingress = [flow for rules in world.tables.values() for flow in rules.flows if flow.table is Table.CLASSIFY]
    assert not any(flow.match.ipv4_src for flow in ingress), "an ingress flipped before its labels were everywhere"
    world.run(5)
    assert world.core.jobs()[0].state is JobState.ACTIVE
    assert "install-failed" in kinds(world)


def test_a_switch_whose_channel_is_lost_stays_in_the_view_and_gets_no_new_path(world: World) -> None:
    world.up()
    world.disconnect(0x30001)
    world.run(2)
    assert "c1" in world.core.fabric().node_by_id
    assert not next(status for status in world.core.switches() if status.id == "c1").connected
    world.core.submit_job(ring("r", *(f"h{n}" for n in (1, 5, 9, 13))))
    world.run(1)
    assert world.core.jobs()[0].state is JobState.ACTIVE
    assert all(link.node != "c1" for path in world.core.plan().paths for link in path.links)


def test_a_job_whose_host_is_cut_off_fails_with_the_reason_and_others_go_on(world: World) -> None:
    world.up()
    world.core.submit_job(ring("first", "h1", "h5"))
    world.core.submit_job(ring("second", "h3", "h7"))
    world.run(1)
    world.core.port_changed(FABRIC.node_by_id["e0-0"].dpid, world.port(1, up=False), gone=False)
    world.run(2)
    states = {status.job.name: status for status in world.core.jobs()}
    assert states["first"].state is JobState.FAILED
    assert "h1" in states["first"].reason
    assert states["second"].state is JobState.ACTIVE


def test_a_name_is_taken_once_and_an_unknown_one_is_said(world: World) -> None:
    world.up()
    world.core.submit_job(ring("r", "h1", "h5"))
    with pytest.raises(DuplicateJob, match="exists already"):
        world.core.submit_job(ring("r", "h2", "h6")).result()
    with pytest.raises(UnknownJob, match="no job is named 'x'"):
        world.core.remove_job("x").result()
    with pytest.raises(InputError, match="rank 1 on 'h99'"):
        world.core.submit_job(ring("s", "h1", "h99")).result()
    with pytest.raises(InputError, match="is a switch"):
        world.core.submit_job(ring("s", "h1", "c1")).result()


def test_without_a_declaration_hosts_are_learned_from_arp_and_connected(tmp_path: Path) -> None:
    world = World(tmp_path, declared=None)
    try:
        world.up()
        assert world.core.fabric().hosts == ()
        for host in FABRIC.hosts:
            access = FABRIC.access_link(host.id)
            asked = Arp(ARP_REQUEST, host.mac, host.ip, "00:00:00:00:00:00", "10.255.255.1")
            frame = write_arp(asked, "ff:ff:ff:ff:ff:ff")
            dpid = FABRIC.node_by_id[access.target].dpid
            world.core.packet_in(dpid, PacketIn(access.target_port, frame))
        world.run(4)
        fabric = world.core.fabric()
        assert {host.ip for host in fabric.hosts} == {host.ip for host in FABRIC.hosts}
        by_name = {f"s-{dpid:016x}": rules for dpid, rules in world.tables.items()}
        assert_delivers(fabric, by_name)
        assert all(status.capacity_assumed for status in world.core.links())
    finally:
        world.end()


def test_foreign_rules_are_reported_and_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.foreign = 3
    world.up()
    assert "foreign-rules" in kinds(world)
    world.end()


def test_arp_that_names_another_sender_than_its_frame_is_refused(world: World) -> None:
    world.up()
    asked = Arp(ARP_REQUEST, "02:00:00:00:00:66", "10.0.0.66", "00:00:00:00:00:00", "10.0.0.2")
    frame = bytearray(write_arp(asked, "ff:ff:ff:ff:ff:ff"))
    frame[6:12] = bytes.fromhex("020000000067")
    world.core.packet_in(FABRIC.node_by_id["e0-0"].dpid, PacketIn(1, bytes(frame)))
    assert world.core.counters()["arp-spoofed"] == 1
    assert all(host.ip != "10.0.0.66" for host in world.core.hosts())


def test_a_rule_that_stays_is_never_sent_again(world: World) -> None:
    world.up()
    world.log.clear()
    world.core.submit_job(ring("r", "h1", "h5"))
    world.run(1)
    touched = [operation.flow for _, operation in world.log if hasattr(operation, "flow")]
    assert touched
    assert all(isinstance(flow, FlowRule) and flow.table in (Table.CLASSIFY, Table.TRANSIT) for flow in touched)


def test_a_job_without_rules_is_gone_at_once(world: World) -> None:
    world.core.submit_job(ring("r", "h1", "h5"))
    assert world.core.jobs()[0].state is JobState.PLANNING
    world.core.remove_job("r")
    assert world.core.jobs() == ()


def test_a_job_behind_a_switch_that_takes_no_rules_fails_alone(world: World) -> None:
    world.up()
    world.disconnect(world.dpid("e0-0"))
    world.core.submit_job(ring("behind", "h1", "h5"))
    world.core.submit_job(ring("free", "h9", "h13"))
    world.run(1)
    states = {status.job.name: status for status in world.core.jobs()}
    assert states["behind"].state is JobState.FAILED
    assert "h1" in states["behind"].reason
    assert states["free"].state is JobState.ACTIVE


def test_a_restarted_daemon_waits_for_switches_that_it_knew(world: World) -> None:
    world.up()
    world.core.submit_job(ring("r", "h1", "h5", "h9", "h13"))
    world.run(1)
    rules, paths = world.installed(), world.core.plan().paths
    world.end()
    world.log.clear()
    world.start()
    late, *rest = world.tables
    world.connect(*rest)
    world.run(8)
    assert world.names[late] in world.core.readiness().reason
    world.connect(late)
    world.run(3)
    assert world.core.readiness().ready
    assert world.core.plan().paths == paths
    assert world.installed() == rules
    assert world.log == []


def test_a_declared_switch_that_never_comes_holds_nothing_up_for_long(world: World) -> None:
    world.connect(*(dpid for dpid, name in world.names.items() if name != "c1"))
    world.run(20)
    assert world.core.readiness().ready
    assert "c1" not in world.core.fabric().node_by_id


def test_a_port_that_goes_down_while_the_rules_are_read_stays_down(world: World) -> None:
    dead = LinkId("a0-0", 3)
    world.while_reading = lambda: world.cut(dead) if PortId(0x30001, 1) not in world.dead else None
    world.up()
    assert not {dead, LinkId("c1", 1)} & world.core.fabric().link_by_id.keys()
    assert LinkId("c1", 2) in world.core.fabric().link_by_id


def test_no_new_path_gets_a_label_that_a_switch_out_of_reach_may_still_push(world: World) -> None:
    world.up()
    world.core.submit_job(ring("r", "h1", "h5"))
    world.run(1)
    edge = FABRIC.node_by_id["e0-0"].dpid
    old = {path.label for path in world.core.plan().paths if path.source == "h1"}
    world.disconnect(edge)
    world.core.remove_job("r")
    world.run(60)
    world.core.submit_job(ring("s", "h9", "h13"))
    world.run(1)
    assert world.core.plan().paths
    assert not old & {path.label for path in world.core.plan().paths}


def test_a_declared_switch_that_is_not_there_is_told_once_the_rest_is_known(world: World) -> None:
    world.connect(*(dpid for dpid, name in world.names.items() if name != "c1"))
    world.run(20)
    told = [event.message for event in world.core.events() if event.kind == "declared-missing"]
    assert told == ["switch c1 is declared but has not connected"]


def test_a_restarted_daemon_still_tells_what_happened_before(world: World) -> None:
    world.up()
    before = world.core.events()
    world.end()
    world.start()
    world.connect()
    assert world.core.events()[: len(before)] == before


def test_counters_show_as_loads_and_a_load_above_the_declaration_is_told(world: World) -> None:
    world.up()
    link = LinkId("a0-0", 3)
    for second in range(6):
        counters = PortCounters(3, 0, second * 2_500_000, 0)
        world.core.counters_read(world.dpid("a0-0"), [counters])
        world.run(1)
    load = next(status.load_bps for status in world.core.links() if status.source == link)
    assert load == pytest.approx(2e7, rel=0.05)
    told = [event.message for event in world.core.events() if event.kind == "link-overloaded"]
    assert len(told) == 1
    assert told[0].startswith("a0-0:3 carries")


@pytest.mark.parametrize("objective", list(Objective))
def test_the_objective_of_the_configuration_is_the_plans(tmp_path: Path, objective: Objective) -> None:
    world = World(tmp_path, objective=objective).up()
    world.core.submit_job(ring("r", "h1", "h5", "h9", "h13"))
    world.run(1)
    assert world.core.plan().objective == objective
    assert world.core.jobs()[0].state is JobState.ACTIVE
    world.end()


def ends(world: World, link: LinkId) -> set[PortId]:
    here = PortId(world.dpid(link.node), link.port)
    return {here, world.peer[here]}


def test_a_silent_link_leaves_the_view_within_a_second_and_a_half_and_returns_when_it_speaks(world: World) -> None:
    world.up()
    link = LinkId("a0-0", 3)
    world.silent = ends(world, link)
    world.run(1.5)
    assert link not in world.core.fabric().link_by_id
    assert kinds(world).count("link-silent") == 1
    assert "port-down" not in kinds(world)
    world.run(30)
    world.silent = set()
    world.run(3)
    assert set(world.core.fabric().links) == set(FABRIC.links)


def test_a_saturated_link_and_one_whose_switch_does_not_answer_stay(world: World) -> None:
    world.up()
    links = LinkId("a0-0", 3), LinkId("a0-1", 3)
    world.saturated, world.silent = ends(world, links[0]), ends(world, links[1])
    for port in world.silent:
        world.switches[port.dpid].read_s = 1e6
    world.run(20)
    assert set(links) <= world.core.fabric().link_by_id.keys()
    assert "link-silent" not in kinds(world)


@pytest.mark.parametrize("declared", [True, False])
def test_hosts_that_pass_probes_on_make_no_link_and_are_told(tmp_path: Path, declared: bool) -> None:
    world = World(tmp_path, declared=FABRIC if declared else None).up()
    world.run(15)
    links = set(world.core.fabric().links)
    one, other = (FABRIC.access_link(host) for host in ("h1", "h16"))
    here, there = (PortId(world.dpid(link.target), link.target_port) for link in (one, other))
    world.relays = {here: there, there: here}
    world.run(10)
    assert set(world.core.fabric().links) == links
    kind = "port-conflict" if declared else "lldp-relayed"
    told = [event.message for event in world.core.events() if event.kind == kind]
    assert told
    assert all(str(here) in message and str(there) in message for message in told)
    assert world.core.counters()[kind] > 10


def test_how_soon_silence_is_noticed_can_be_asked(world: World) -> None:
    world.up()
    probing = world.core.probing()
    assert probing.ports == 64
    assert probing.noticed_s <= 1.5


def test_undeclared_switches_that_come_and_go_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strangers, "FORGET_S", 1.0)
    world = World(tmp_path).up()
    known = {status.id for status in world.core.switches()}
    for dpid in range(0xBAD0, 0xBAD0 + 20):
        world.tables[dpid] = SwitchRules()
        world.names[dpid] = f"s-{dpid:016x}"
        world.reconnect(dpid)
    world.run(1)
    assert len(world.core.switches()) == len(known) + 20
    cut = next(link for link in FABRIC.links if link.source == "c1")
    lost = world.dpid("c1")

    for dpid in (*range(0xBAD0, 0xBAD0 + 20), lost):
        world.disconnect(dpid)
    world.run(12)

    # A declared switch stays, whatever happens to its channel, and so do its cables.
    assert {status.id for status in world.core.switches()} == known
    assert cut.id in world.core.fabric().link_by_id


def test_an_undeclared_switch_with_cables_stays_while_its_channel_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(strangers, "FORGET_S", 1.0)
    world = World(tmp_path, declared=None).up()
    known = set(world.core.fabric().link_by_id)
    assert known

    world.disconnect(world.dpid("c1"))
    world.run(3)

    assert set(world.core.fabric().link_by_id) == known


def test_a_frame_that_cannot_be_read_is_counted_by_its_reason(tmp_path: Path):
    world = World(tmp_path).up()
    dpid = world.dpid("e0-0")

    for frame in (b"", bytes(13), bytes(12) + bytes.fromhex("08064444") + bytes(60), bytes(12) + b"\0\x10" + bytes(60)):
        world.core.packet_in(dpid, PacketIn(1, frame))

    counts = world.core.counters()
    assert (counts["packet-short"], counts["packet-bad-arp"], counts["packet-no-eth-type"]) == (2, 1, 1)


def speak(world: World, host_id: str, at: PortId | None = None) -> None:
    """A host sends ARP at its port of the fabric, or at another one."""
    host, access = FABRIC.node_by_id[host_id], FABRIC.access_link(host_id)
    at = at or PortId(world.dpid(access.target), access.target_port)
    world.arp(at, write_arp(Arp(ARP_REQUEST, host.mac, host.ip, "00:00:00:00:00:00", "10.255.255.1"), BROADCAST_MAC))


def stranger(world: World, dpid: int) -> None:
    """A switch that nobody knows connects."""
    world.tables[dpid] = SwitchRules()
    world.names[dpid] = f"s-{dpid:016x}"
    world.reconnect(dpid)


def test_an_undeclared_fabric_keeps_its_view_while_the_network_to_the_controller_is_down(tmp_path: Path):
    world = World(tmp_path, declared=None).up()
    for host in FABRIC.hosts:
        speak(world, host.id)
    world.run(60)
    nodes, links = set(world.core.fabric().nodes), set(world.core.fabric().links)
    assert len(nodes) == len(FABRIC.nodes)

    for dpid in tuple(world.connected):
        world.disconnect(dpid)
    world.run(300)

    assert (set(world.core.fabric().nodes), set(world.core.fabric().links)) == (nodes, links)
    world.end()


def test_strangers_that_leave_a_cable_and_hosts_behind_are_forgotten_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(strangers, "FORGET_S", 5.0)
    world = World(tmp_path, declared=None).up()
    nodes, links = set(world.core.fabric().nodes), set(world.core.fabric().links)
    one, other = PortId(0xBAD0, 1), PortId(0xBAD1, 1)
    world.peer |= {one: other, other: one}
    for dpid in (one.dpid, other.dpid):
        stranger(world, dpid)
    world.run(3)
    speak(world, "h1", at=PortId(one.dpid, 2))
    world.run(1)
    assert len(world.core.fabric().links) == len(links) + 4
    assert [host.at for host in world.store.hosts()] == [PortId(one.dpid, 2)]

    for dpid in (one.dpid, other.dpid):
        world.disconnect(dpid)
    world.run(60)

    assert (set(world.core.fabric().nodes), set(world.core.fabric().links)) == (nodes, links)
    assert world.core.hosts() == ()
    assert world.store.hosts() == ()
    assert kinds(world).count("switch-forgotten") == 2
    world.end()


def test_an_undeclared_switch_that_plans_or_jobs_use_is_kept_however_long_it_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(strangers, "KEEP_S", 5.0)
    monkeypatch.setattr(strangers, "FORGET_S", 5.0)
    world = World(tmp_path, declared=None).up()
    for host in FABRIC.hosts:
        speak(world, host.id)
    world.run(2)
    ranks = [host.id for host in world.core.hosts()][:2]
    world.core.submit_job(ring("r", *ranks))
    world.run(2)
    used = {link.node for path in world.core.plan().paths for link in path.links} & {
        status.id for status in world.core.switches()
    }
    for dpid in tuple(world.connected):
        world.disconnect(dpid)
    world.run(30)

    assert {status.id for status in world.core.switches()} == used
    assert {host.id for host in world.core.hosts()} >= set(ranks)
    world.end()


def test_hosts_of_an_earlier_run_are_forgotten_where_their_switch_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(strangers, "KEEP_S", 30.0)
    world = World(tmp_path, declared=None).up()
    speak(world, "h1")
    speak(world, "h16")
    world.run(1)
    world.end()
    world.start()
    world.connect(*(dpid for dpid in world.tables if dpid != world.dpid(FABRIC.access_link("h1").target)))
    world.run(20)
    assert len(world.core.hosts()) == 2
    world.run(15)

    assert [host.ip for host in world.core.hosts()] == [FABRIC.node_by_id["h16"].ip]
    world.end()


class ManyPorts(FakeSwitch):
    """A switch with as many ports as it likes."""

    count = 4096

    def ports(self) -> list[Port]:
        return [self._world.port(number) for number in range(1, self.count + 1)]

    def send_frame(self, port: int, frame: bytes) -> None:
        """Nobody is there."""


def test_a_switch_that_returns_with_fewer_ports_is_taken_in_by_turns_and_published_a_few_times(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.up()
    published = 0
    publish = world.core._publish_view

    def count() -> None:
        nonlocal published
        published += 1
        publish()

    monkeypatch.setattr(world.core, "_publish_view", count)
    world.tables[0xBAD0], world.names[0xBAD0] = SwitchRules(), "s-000000000000bad0"
    for ports in (4096, 1):
        switch = world.switches[0xBAD0] = ManyPorts(world, 0xBAD0)
        switch.count = ports
        world.connect(0xBAD0)
        world.run(3)
        published, before = 0, world.time.now
        world.disconnect(0xBAD0)
        world.run(3)
        assert published <= (world.time.now - before) / 0.04
    assert world.core.counters()["port-down"] == 4095


def test_what_a_switch_says_while_its_ports_are_taken_in_is_newer_than_their_list(world: World) -> None:
    world.up()
    world.tables[0xBAD0], world.names[0xBAD0] = SwitchRules(), "s-000000000000bad0"
    switch = world.switches[0xBAD0] = ManyPorts(world, 0xBAD0)
    ports = switch.ports
    gone = world.port(4000)

    def listing() -> list[Port]:
        world.time.later(0, lambda: world.core.port_changed(0xBAD0, gone, gone=True))
        return ports()

    switch.ports = listing
    world.connect(0xBAD0)
    world.run(1)

    assert world.core._discovery.ports_of(0xBAD0) == set(range(1, 4097)) - {4000}


def test_a_lost_link_is_published_at_once_and_those_lost_with_it_within_a_tick(world: World) -> None:
    world.up()
    world.run(1)
    links = [link for link in FABRIC.links if link.source == "c1"]
    at = [PortId(world.dpid("c1"), link.source_port) for link in links]

    world.core.port_changed(at[0].dpid, world.port(at[0].port, up=False), gone=False)
    assert links[0].id not in world.core.fabric().link_by_id
    for port in at[1:]:
        world.core.port_changed(port.dpid, world.port(port.port, up=False), gone=False)
    world.run(0.1)
    assert not {link.id for link in links} & world.core.fabric().link_by_id.keys()
