"""Fake switches on sockets: probes cross cables, ports fail, bundles are all or nothing, and faults come on demand."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from benchmarks.channel import messages as of
from benchmarks.fleet import bundles
from benchmarks.fleet.fleet import Fleet
from benchmarks.fleet.openflow import EXPERIMENTER_ERROR, FLOW_MOD_FAILED, GROUP_MOD
from controller.wire import encode, packet_out
from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.rules import FlowRule, Match, Output, Table
from dataplane.testing import assert_delivers
from dataplane.update import AddFlow
from mininet_scenarios.daemon import Daemon, free_address
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree

PATIENCE_S = 60.0
PAIR = Fabric(
    (
        Node("s1", NodeKind.SWITCH, dpid=1),
        Node("s2", NodeKind.SWITCH, dpid=2),
        Node("h1", NodeKind.HOST, ip="10.0.0.1", mac="02:00:00:00:00:01"),
    ),
    tuple(
        link
        for a, a_port, b, b_port in (("s1", 1, "s2", 1), ("h1", 1, "s1", 2))
        for link in (Link(a, a_port, b, b_port, 1e9), Link(b, b_port, a, a_port, 1e9))
    ),
)
CABLE = LinkId("s1", 1)
PROBE = bytes(12) + of.LLDP_TYPE.to_bytes(2) + b"probe".ljust(60, b"\0")
FLOWS = tuple(FlowRule(Table.DEFAULT, priority, Match(in_port=1), (Output(2),)) for priority in (1, 2, 3))
MODIFIED, LINK_DOWN = 2, 1


class Peer:
    """The controller's end of one connection, in the hand of a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.dpid = 0

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(messages))

    async def next(self) -> bytes:
        """The next message of the switch."""
        head = await self._reader.readexactly(8)
        return head + await self._reader.readexactly(int.from_bytes(head[2:4]) - 8)

    async def ask(self, message: bytes, kind: int) -> bytes:
        """The first message of a kind after this one was sent."""
        self.send(message)
        while (answer := await self.next())[1] != kind:
            pass
        return answer

    async def settled(self) -> list[bytes]:
        """All that the switch says before it answers a barrier."""
        self.send(of.message(of.BARRIER_REQUEST, b"", 9999))
        said = []
        while (message := await self.next())[1] != of.BARRIER_REPLY:
            said.append(message)
        return said


class Controller:
    """Accepts switches and knows them by their dpids."""

    def __init__(self) -> None:
        self.peers: dict[int, Peer] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self._came = asyncio.Condition()

    async def __aenter__(self) -> Controller:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        peer = Peer(reader, writer)
        features = await peer.ask(of.message(of.FEATURES_REQUEST), of.FEATURES_REPLY)
        peer.dpid = int.from_bytes(features[8:16])
        await peer.ask(of.message(of.MULTIPART_REQUEST, struct.pack("!HH4x", of.PORT_DESC, 0)), of.MULTIPART_REPLY)
        async with self._came:
            self.peers[peer.dpid] = peer
            self._came.notify_all()

    async def connected(self, *dpids: int) -> list[Peer]:
        async with self._came:
            await self._came.wait_for(lambda: self.peers.keys() >= set(dpids))
        return [self.peers[dpid] for dpid in dpids]


def play(scene: Callable[[Controller, Fleet, Peer, Peer], Awaitable[None]], fabric: Fabric = PAIR) -> None:
    """Both switches of the pair are connected when a scene begins."""

    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S), Controller() as controller, Fleet(fabric, controller.address) as fleet:
            await fleet.connect()
            await scene(controller, fleet, *await controller.connected(1, 2))

    asyncio.run(run())


def flow_message(flow: FlowRule, xid: int = 0) -> bytes:
    kind, body = encode(AddFlow(flow))
    return of.message(kind, body, xid)


def held(fleet: Fleet, name: str) -> frozenset[FlowRule]:
    return fleet.rules()[name].flows


# ── cables and hosts ─────────────────────────────────────────────────────────────────────────────


def test_a_probe_comes_in_where_the_cable_leads_and_nowhere_else() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, other: Peer) -> None:
        one.send(packet_out(1, PROBE), packet_out(2, PROBE))
        await one.settled()
        [arrived] = await other.settled()
        assert arrived[1] == of.PACKET_IN
        assert arrived.endswith(PROBE)
        assert arrived == of.packet_in(1, PROBE)
        assert fleet.datapaths["s1"].tx_packets == {1: 1, 2: 1}
        assert fleet.datapaths["s2"].rx_packets == {1: 1}

    play(scene)


def test_a_cable_that_fails_is_told_by_both_ends_and_carries_nothing_until_it_is_repaired() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, other: Peer) -> None:
        for act, state in ((fleet.fail, LINK_DOWN), (fleet.repair, 0)):
            act(CABLE)
            for peer in (one, other):
                [status] = await peer.settled()
                assert status[1] == of.PORT_STATUS
                assert status[8] == MODIFIED
                assert struct.unpack_from("!I", status, 16) == (1,)
                assert struct.unpack_from("!I", status, 16 + 36) == (state,)
            one.send(packet_out(1, PROBE))
            await one.settled()
            assert len(await other.settled()) == (state == 0)

    play(scene)


def test_a_silent_cable_keeps_link_and_carries_nothing() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, other: Peer) -> None:
        fleet.silence(CABLE)
        for peer, opposite in ((one, other), (other, one)):
            peer.send(packet_out(1, PROBE))
            assert await peer.settled() == []
            assert await opposite.settled() == []
        fleet.restore(CABLE)
        one.send(packet_out(1, PROBE))
        await one.settled()
        assert len(await other.settled()) == 1

    play(scene)


def test_hosts_answer_arp_and_make_themselves_known() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, other: Peer) -> None:
        address, asker = 0x0A000001, 0x0A000002
        one.send(packet_out(2, of.arp_request(asker, address)), packet_out(2, of.arp_request(asker, address + 7)))
        [answer] = await one.settled()
        assert answer == of.packet_in(
            2, of.arp_reply(address, of.Arp(False, of.mac_of(asker), asker, 0), b"\2\0\0\0\0\1")
        )
        fleet.announce()
        assert len(await one.settled()) == 1
        assert await other.settled() == []

    play(scene)


def test_a_fabric_without_dpids_and_a_link_that_is_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="s9 has no dpid"):
        Fleet(Fabric((Node("s9", NodeKind.SWITCH),), ()), ("127.0.0.1", 1))
    with pytest.raises(InputError, match="no link s1:9"):
        Fleet(PAIR, ("127.0.0.1", 1)).fail(LinkId("s1", 9))


# ── channels and switches that go ────────────────────────────────────────────────────────────────


def test_a_switch_that_loses_its_channel_keeps_its_rules_and_one_that_dies_does_not() -> None:
    async def scene(controller: Controller, fleet: Fleet, one: Peer, other: Peer) -> None:
        for peer in (one, other):
            peer.send(flow_message(FLOWS[0]))
            await peer.settled()
        del controller.peers[1], controller.peers[2]
        fleet.cut("s1")
        fleet.kill("s2")
        for peer in (one, other):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await peer.next()
        await asyncio.gather(*(fleet.connection(name).over.wait() for name in ("s1", "s2")))
        assert fleet.lost() == ["s1", "s2"]
        assert (held(fleet, "s1"), held(fleet, "s2")) == ({FLOWS[0]}, frozenset())
        await fleet.connect(["s1"])
        [one] = await controller.connected(1)
        one.send(packet_out(1, PROBE))
        assert await one.settled() == []
        await fleet.revive("s2")
        [other] = await controller.connected(2)
        one.send(packet_out(1, PROBE))
        await one.settled()
        assert len(await other.settled()) == 1
        assert fleet.lost() == []

    play(scene)


def test_a_switch_whose_connection_is_ended_by_the_controller_dials_again() -> None:
    async def run() -> None:
        async with (
            asyncio.timeout(PATIENCE_S),
            Controller() as controller,
            Fleet(PAIR, controller.address, redial_s=0.01) as fleet,
        ):
            await fleet.connect()
            [one, _] = await controller.connected(1, 2)
            fleet.cut("s2")
            del controller.peers[1], controller.peers[2]
            one.writer.close()
            await controller.connected(1)
            assert fleet.redialled == ["s1"]
            assert fleet.lost() == ["s2"]
            await fleet.connect(["s2"])
            await controller.connected(1, 2)
            assert fleet.lost() == []

    asyncio.run(run())


def test_a_silent_switch_reads_and_answers_nothing() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, __: Peer) -> None:
        switch = fleet.connection("s1")
        switch.silent = True
        one.send(flow_message(FLOWS[0]), of.message(of.ECHO_REQUEST), of.message(of.BARRIER_REQUEST))
        while not held(fleet, "s1") or not fleet.received()[of.BARRIER_REQUEST]:
            await asyncio.sleep(0)
        switch.silent = False
        assert await one.settled() == []

    play(scene)


# ── bundles ──────────────────────────────────────────────────────────────────────────────────────


def control(step: int, number: int = 1, xid: int = 5) -> bytes:
    return of.message(of.EXPERIMENTER, struct.pack("!IIIHH", bundles.ONF, bundles.CONTROL, number, step, 3), xid)


def added(whole: bytes, number: int = 1) -> bytes:
    header = struct.pack("!IIIHH", bundles.ONF, bundles.ADD, number, 0, 3)
    return of.message(of.EXPERIMENTER, header + whole, int.from_bytes(whole[4:8]))


def errors(said: list[bytes]) -> list[tuple[int, int]]:
    return [struct.unpack_from("!HH", message, 8) for message in said if message[1] == of.ERROR]


def test_what_a_bundle_holds_is_in_force_from_its_commit_on() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, __: Peer) -> None:
        one.send(control(bundles.OPEN), *(added(flow_message(flow, xid)) for xid, flow in enumerate(FLOWS)))
        [opened] = await one.settled()
        assert struct.unpack_from("!H", opened, 20) == (bundles.OPEN + 1,)
        assert held(fleet, "s1") == frozenset()
        one.send(control(bundles.CLOSE), control(bundles.COMMIT))
        assert [message[1] for message in await one.settled()] == [of.EXPERIMENTER] * 2
        assert held(fleet, "s1") == set(FLOWS)
        kinds = [entry.kind for entry in fleet.journal]
        assert kinds == [of.BARRIER_REPLY, *[of.FLOW_MOD] * 3, of.EXPERIMENTER, of.BARRIER_REPLY]
        assert list(fleet.since(fleet.journal[1].at_s)) == list(fleet.journal)[1:]

    play(scene)


def test_a_bundle_that_is_discarded_changes_nothing() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, __: Peer) -> None:
        one.send(control(bundles.OPEN), added(flow_message(FLOWS[0])), control(bundles.DISCARD))
        assert errors(await one.settled()) == []
        assert held(fleet, "s1") == frozenset()
        one.send(control(bundles.COMMIT))
        assert errors(await one.settled()) == [(EXPERIMENTER_ERROR, 2302)]

    play(scene)


@pytest.mark.parametrize("fault", ["table full", "commit refused", "no such group"])
def test_one_error_rejects_the_whole_bundle(fault: str) -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, __: Peer) -> None:
        faults, messages = fleet.datapaths["s1"].faults, [flow_message(flow, 70 + n) for n, flow in enumerate(FLOWS)]
        if fault == "table full":
            faults.refuse_flow_mod = 2
        elif fault == "commit refused":
            faults.refuse_commits = True
        else:
            messages.append(of.message(GROUP_MOD, struct.pack("!HBxI", 1, 1, 77), 79))
        one.send(control(bundles.OPEN), *map(added, messages), control(bundles.CLOSE), control(bundles.COMMIT))
        said = errors(await one.settled())
        assert said[-1] == (EXPERIMENTER_ERROR, 2313)
        assert len(said) == (1 if fault == "commit refused" else 2)
        assert held(fleet, "s1") == frozenset()
        faults.refuse_commits = False
        one.send(control(bundles.OPEN), *map(added, messages[:3]), control(bundles.CLOSE), control(bundles.COMMIT))
        assert errors(await one.settled()) == []
        assert held(fleet, "s1") == set(FLOWS)

    play(scene)


def test_bundles_are_held_to_their_rules() -> None:
    async def scene(_: Controller, __: Fleet, one: Peer, ___: Peer) -> None:
        meter = of.message(29, struct.pack("!HHI", 0, 1, 1))
        for messages, code in (
            ((control(bundles.OPEN), control(bundles.OPEN)), 2303),
            ((control(bundles.OPEN), control(bundles.CLOSE), added(flow_message(FLOWS[0]))), 2304),
            ((control(8),), 2306),
            ((control(bundles.OPEN, 3), added(meter, 3)), 2310),
            ((control(bundles.CLOSE, 9),), 2302),
        ):
            one.send(*messages)
            assert errors(await one.settled()) == [(EXPERIMENTER_ERROR, code)]

    play(scene)


def test_a_switch_without_bundles_does_not_know_them() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, __: Peer) -> None:
        fleet.datapaths["s1"].faults.refuse_bundles = True
        one.send(control(bundles.OPEN))
        assert errors(await one.settled()) == [(1, 3)]

    play(scene)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────


def test_the_flow_that_is_to_be_refused_is_and_no_other() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, __: Peer) -> None:
        fleet.datapaths["s1"].faults.refuse_flow_mod = 2
        one.send(*(flow_message(flow, 40 + number) for number, flow in enumerate(FLOWS)))
        [error] = await one.settled()
        assert struct.unpack_from("!HH", error, 8) == (FLOW_MOD_FAILED, 1)
        assert int.from_bytes(error[4:8]) == 41
        assert held(fleet, "s1") == {FLOWS[0], FLOWS[2]}

    play(scene)


def test_a_late_barrier_holds_up_what_comes_behind_it_and_a_mute_one_does_not() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, __: Peer) -> None:
        faults = fleet.datapaths["s1"].faults
        faults.barrier_s = 0.01
        one.send(of.message(of.BARRIER_REQUEST, b"", 1), flow_message(FLOWS[0]), of.message(of.ECHO_REQUEST, b"", 2))
        assert [(await one.next())[1] for _ in range(2)] == [of.BARRIER_REPLY, of.ECHO_REPLY]
        assert [entry.kind for entry in fleet.journal] == [of.BARRIER_REPLY, of.FLOW_MOD]
        faults.barrier_s, faults.mute_barriers = 0.0, True
        one.send(of.message(of.BARRIER_REQUEST, b"", 3), of.message(of.ECHO_REQUEST, b"", 4))
        assert (await one.next())[1] == of.ECHO_REPLY
        faults.mute_barriers = False
        assert await one.settled() == []

    play(scene)


def test_a_slow_reader_takes_all_in_the_end_in_order_and_no_faster_than_it_is_set_to() -> None:
    async def scene(_: Controller, fleet: Fleet, one: Peer, __: Peer) -> None:
        loop, sent = asyncio.get_running_loop(), flow_message(FLOWS[0]) * 100
        fleet.datapaths["s1"].faults.read_bytes_per_s = rate = 40 * len(sent)
        begun_s = loop.time()
        one.send(sent)
        await one.settled()
        one.send(sent)
        await one.settled()
        # What was read first has to be made up for before the rest is read.
        assert loop.time() - begun_s >= len(sent) / rate
        assert fleet.received()[of.FLOW_MOD] == 200

    play(scene)


# ── with the daemon ──────────────────────────────────────────────────────────────────────────────


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("framework", ["ryu", "os-ken"])
def test_the_daemon_takes_the_fleet_for_its_fabric_and_heals_what_happens_to_it(tmp_path: Path, framework: str) -> None:
    fabric, openflow = fat_tree(4, capacity_bps=1e9), free_address()
    wanted = compile_rules(fabric, default=DefaultRouting.ECMP)

    async def scene(daemon: Daemon) -> None:
        client = daemon.client
        await until(client.health)
        async with Fleet(fabric, openflow) as fleet:
            await until_connected(fleet)
            await until(lambda: client.ready().ready)
            await until(lambda: fleet.rules() == wanted)
            assert fleet.foreign() == {}
            # Beside the switches, which answer the daemon meanwhile.
            await asyncio.to_thread(assert_delivers, fabric, fleet.rules())

            broken = LinkId("e0-0", 3)
            fleet.fail(broken)
            await until(lambda: broken not in client.fabric().link_by_id)
            fleet.repair(broken)
            await until(lambda: broken in client.fabric().link_by_id)

            silent = LinkId("a0-0", 3)
            fleet.silence(silent)
            await until(lambda: silent not in client.fabric().link_by_id)
            fleet.restore(silent)
            await until(lambda: silent in client.fabric().link_by_id)

            fleet.cut("c1")
            await until(lambda: "c1" not in connected(client))
            await fleet.connect(["c1"])
            fleet.kill("c2")
            await until(lambda: any(event.kind == "switch-dead" for event in client.events()))
            # What it gets at its return it gets in a bundle, and the first commits fail.
            reborn = fleet.datapaths["c2"]
            reborn.received.clear()
            reborn.faults.refuse_commits = True
            await fleet.revive("c2")
            await until(lambda: reborn.received[of.EXPERIMENTER])
            reborn.faults.refuse_commits = False
            # Labels of detours may be others by now.
            await until(lambda: len(connected(client)) == len(fleet.datapaths))
            await until(lambda: len(held(fleet, "c2")) == len(wanted["c2"].flows))
            await asyncio.to_thread(assert_delivers, fabric, fleet.rules())

    async def until_connected(fleet: Fleet) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await fleet.connect()
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
                else:
                    return

    with Daemon(tmp_path, fabric, openflow, environment=os.environ | {"HEDDLE_FRAMEWORK": framework}) as daemon:
        asyncio.run(scene(daemon))


def connected(client) -> set[str]:
    return {switch.id for switch in client.switches() if switch.connected}
