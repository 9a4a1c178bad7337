"""A fabric in memory round one core: switches, cables and time that tests command."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path

from greenlet import getcurrent, greenlet

from controller.config import Config
from controller.core import Core
from controller.discovery import PortId
from controller.drift import Rule
from controller.planmemory import PlanMemory
from controller.planning import PlanRequest, make_plan
from controller.store import Store
from controller.strays import Mend, RemoveStray, RestoreGroup, StrayFlow, TablesRead
from controller.wire import PacketIn, Port, PortCounters
from dataplane.echo import returning_ports
from dataplane.pipeline import ipv4_packet
from dataplane.rules import GROUP_ID_BASE, SwitchRules
from dataplane.update import (
    AddFlow,
    AddGroup,
    AddMeter,
    ChangeMeter,
    Operation,
    RemoveGroup,
    RemoveMeter,
    apply_operations,
)
from dataplane.verifier import Network, VerificationError
from solver.routing import Objective
from topologies.errors import HeddleError
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree
from workloads.headers import ARP_REPLY, ARP_REQUEST, Arp, Unreadable, read_headers, write_arp

FABRIC = fat_tree(4, capacity_bps=1e7, delay_s=1e-5)


class GreenTask:
    """A task that runs until it waits, as in the daemon's own thread."""

    def __init__(self, time: FakeTime, function: Callable[[], None]) -> None:
        self._time, self._function = time, function
        self._over = False
        self._waiting: list[greenlet] = []
        time.later(0, greenlet(self._run, parent=time.main).switch)

    def _run(self) -> None:
        try:
            self._function()
        finally:
            self._over = True
            for waiting in self._waiting:
                self._time.later(0, waiting.switch)

    def wait(self) -> None:
        while not self._over:
            self._waiting.append(getcurrent())
            self._time.main.switch()


class FakeTime:
    """A runtime whose time moves only when the test says so; its tasks are cooperative and switch where they wait."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.main = getcurrent()
        self._count = itertools.count()
        self._later: list[tuple[float, int, Callable[[], object]]] = []

    def now_s(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.later(seconds, getcurrent().switch)
        self.main.switch()

    def spawn(self, function: Callable[[], None]) -> GreenTask:
        return GreenTask(self, function)

    def call_soon(self, function):
        future: Future = Future()
        try:
            future.set_result(function())
        except HeddleError as error:
            future.set_exception(error)
        return future

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        heapq.heappush(self._later, (self.now + seconds, next(self._count), function))

    def due(self) -> None:
        while self._later and self._later[0][0] <= self.now:
            heapq.heappop(self._later)[2]()


class Worker:
    """The planning function, called in line some time after it is asked."""

    def __init__(self, world: World, deliver) -> None:
        self._world, self._deliver = world, deliver
        self.requests: list[PlanRequest] = []
        self._memory = PlanMemory()

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def ask(self, request: PlanRequest) -> None:
        self.requests.append(request)
        self._world.time.later(self._world.planning_s, lambda: self._answer(request))

    def _answer(self, request: PlanRequest) -> None:
        try:
            self._deliver(request, make_plan(request, self._memory))
        except HeddleError as error:
            self._deliver(request, error)


class FakeSwitch:
    """A switch that does what it is told, after a while.

    Attributes
    ----------
    refuse : list of str
        What it says to the next batches instead of carrying them out.
    refuses : callable
        What it says to a batch, carried out but for that, where it says something.
    late : callable
        Whether it carries a batch out but answers too late.
    """

    def __init__(self, world: World, dpid: int) -> None:
        self._world = world
        self.dpid, self.address = dpid, f"10.0.0.1:{dpid}"
        self.read_s = self.commit_s = 0.001
        self.refuse: list[str] = []
        self.refuses: Callable[[Sequence[Operation]], str | None] = lambda _: None
        self.late: Callable[[Sequence[Operation]], bool] = lambda _: False

    @property
    def rules(self) -> SwitchRules:
        return self._world.tables[self.dpid]

    @property
    def is_connected(self) -> bool:
        return not self._gone

    @property
    def _gone(self) -> bool:
        return self._world.connected.get(self.dpid) is not self

    def disconnect(self, reason: str) -> None:
        # As in the daemon: the end is announced later, from the connection's own task.
        self._world.time.later(0, lambda: None if self._gone else self._world.disconnect(self.dpid, reason))

    def ports(self) -> list[Port]:
        return [self._world.port(number, up=self._world.is_up(self.dpid, number)) for number in (1, 2, 3, 4)]

    def send_frame(self, port: int, frame: bytes) -> None:
        self._world.carry(PortId(self.dpid, port), frame)

    def read_counters(self, ports: Sequence[int]) -> list[PortCounters]:
        self._wait(self.read_s)
        return [PortCounters(port, 0, 0, self._world.received[PortId(self.dpid, port)]) for port in ports]

    def read_rules(self) -> TablesRead:
        self._wait(self.read_s)
        self._world.while_reading()
        strays = self._world.strays[self.dpid]
        flows, ids = (frozenset(s for s in strays if isinstance(s, kind)) for kind in (StrayFlow, int))
        meters = frozenset(id_ for id_ in ids if id_ < GROUP_ID_BASE)
        return TablesRead(self.rules, self._world.foreign, flows, ids - meters, meters)

    def commit(self, operations: Sequence[Mend]) -> tuple[str, ...]:
        self._wait(self.commit_s)
        if self.refuse:
            return (self.refuse.pop(),)
        if (refusal := self.refuses(operations) or self._world.clash(self.dpid, operations)) is not None:
            return (refusal,)
        self._world.log += [(self.dpid, operation) for operation in operations]
        self._world.apply(self.dpid, operations)
        if self.late(operations):
            raise HeddleError("it did not answer a barrier in time")
        return ()

    def _wait(self, seconds: float) -> None:
        self._world.time.sleep(seconds)
        if self._gone:
            raise HeddleError("it is disconnected")


class World:
    """A fabric of fake switches round one core.

    Attributes
    ----------
    dead : set of PortId
        Ports without link.
    silent : set of PortId
        Ports that have link, and out of which nothing comes.
    dead_switches : set of int
        Switches that forward nothing and return nothing; the ports of others that lead to them keep link.
    saturated : set of PortId
        Ports that receive so many packets of hosts that no probe is among them.
    relays : dict of PortId to PortId
        What comes out of one host's port is sent into another one's by the hosts.
    strays : dict of int to set of StrayFlow or int
        By dpid: flows under our mark that we never sent, and ids of groups and meters with content that none of ours
        has.
    received : Counter of PortId
        Packets received, as the switches count them.
    alive : set of (PortId, str, str)
        Hosts that answer ARP: port, MAC and address.
    """

    def __init__(
        self,
        directory: Path,
        fabric: Fabric = FABRIC,
        declared: Fabric | None = FABRIC,
        objective: Objective = Objective.MIN_DELAY,
        config: Config | None = None,
        planning_s: float = 0.01,
    ) -> None:
        self._config = config or Config(state_dir=directory, objective=objective)
        self.fabric, self._declared, self._directory = fabric, declared, directory
        self.time = FakeTime()
        self.planning_s = planning_s
        self.connected: dict[int, FakeSwitch] = {}
        self.names = {node.dpid: node.id for node in fabric.switches}
        self.tables = {node.dpid: SwitchRules() for node in fabric.switches}
        self.dead: set[PortId] = set()
        self.silent: set[PortId] = set()
        self.dead_switches: set[int] = set()
        self.saturated: set[PortId] = set()
        self.relays: dict[PortId, PortId] = {}
        self.received: Counter[PortId] = Counter()
        self.alive: set[tuple[PortId, str, str]] = set()
        self.foreign = 0
        self.while_reading: Callable[[], None] = lambda: None
        self.log: list[tuple[int, Mend]] = []
        self.strays: dict[int, set[StrayFlow | int]] = defaultdict(set)
        dpids = {node.id: node.dpid for node in fabric.switches}
        self.peer = {
            PortId(dpids[link.source], link.source_port): PortId(dpids[link.target], link.target_port)
            for link in fabric.links
            if link.source in dpids and link.target in dpids
        }
        self.start()

    def start(self) -> None:
        """A daemon, new or restarted: state on disk and rules in switches stay."""
        self.store = Store(self._directory)
        self.core = Core(self._config, self.store, self._declared, self.time, lambda deliver: Worker(self, deliver))
        self.core.start()
        self.connected.clear()
        self.switches = {dpid: FakeSwitch(self, dpid) for dpid in self.tables}

    def end(self) -> None:
        self.core.stop()
        self.store.close()

    def port(self, port: int, *, up: bool = True) -> Port:
        return Port(port, f"p{port}", "02:00:00:00:00:00", up, 1e9)

    def connect(self, *dpids: int) -> None:
        for dpid in dpids or self.tables:
            self.connected[dpid] = self.switches[dpid]
            self.core.switch_up(self.switches[dpid])

    def disconnect(self, dpid: int, reason: str = "closed") -> None:
        """The channel is lost; the data plane lives."""
        del self.connected[dpid]
        self.core.switch_down(dpid, reason)

    def kill(self, dpid: int) -> None:
        """A switch dies as when its bridge is deleted: its channel closes, its neighbours' ports keep link."""
        self.dead_switches.add(dpid)
        self.tables[dpid] = SwitchRules()
        self.disconnect(dpid)

    def revive(self, dpid: int) -> FakeSwitch:
        """It is back, without rules."""
        self.dead_switches.discard(dpid)
        return self.reconnect(dpid)

    def reconnect(self, dpid: int) -> FakeSwitch:
        """The same switch on a new channel; it answers from the next `run` on."""
        self.switches[dpid] = FakeSwitch(self, dpid)
        self.connect(dpid)
        return self.switches[dpid]

    def dpid(self, name: str) -> int:
        return next(dpid for dpid, known in self.names.items() if known == name)

    def lost(self, pairs: Iterable[tuple[str, str]], fabric: Fabric | None = None) -> dict[tuple[str, str], str]:
        """Pairs whose packets do not arrive by the rules that the switches have, with the reason."""
        fabric = fabric or self.fabric
        network = Network(fabric, self.installed())
        found = {}
        for source, target in pairs:
            a, b = fabric.node_by_id[source], fabric.node_by_id[target]
            try:
                network.ways(source, ipv4_packet((a.mac, a.ip), (b.mac, b.ip)), target)
            except VerificationError as error:
                found[source, target] = str(error)
        return found

    def planned_pairs(self) -> list[tuple[str, str]]:
        return [(path.source, path.target) for path in self.core.plan().paths]

    def carry(self, at: PortId, frame: bytes) -> None:
        """What leaves a port arrives at the other end of its cable, where LLDP goes to the controller."""
        there = self.peer.get(at)
        if there is None:
            self._reach_hosts(at, frame)
            there = self.relays.get(at)
        if there is None or {at, there} & self.dead or at in self.silent or there in self.saturated:
            return
        if {at.dpid, there.dpid} & self.dead_switches:
            return
        self.received[there] += 1
        if frame[12:14] == b"\x88\x47":
            # Labelled: what returns is the probe under the label.
            if there.port in returning_ports(self.tables[there.dpid]):
                self.carry(there, frame[:12] + b"\x88\xcc" + frame[18:])
            return
        lldp = any(flow.match.eth_type == 0x88CC and flow.actions for flow in self.tables[there.dpid].flows)
        if lldp and there.dpid in self.connected:
            self.time.later(0.001, lambda: self.core.packet_in(there.dpid, PacketIn(there.port, frame)))

    def _reach_hosts(self, at: PortId, frame: bytes) -> None:
        """Hosts (port, MAC, address) that are alive answer ARP; others are silent."""
        headers = read_headers(frame)
        if isinstance(headers, Unreadable) or headers.arp is None or headers.arp.operation != ARP_REQUEST:
            return
        asked = headers.arp
        for port, mac, ip in sorted(self.alive):
            if (port, ip) == (at, asked.target_ip) and headers.destination in (mac, "ff:ff:ff:ff:ff:ff"):
                reply = write_arp(Arp(ARP_REPLY, mac, ip, asked.sender_mac, asked.sender_ip), asked.sender_mac)
                self.time.later(0.001, lambda reply=reply: self.arp(at, reply))

    def arp(self, at: PortId, frame: bytes) -> None:
        """A host's frame comes up."""
        if at not in self.dead and at.dpid in self.connected:
            self.core.packet_in(at.dpid, PacketIn(at.port, frame))

    def run(self, seconds: float) -> None:
        end_s = self.time.now + seconds
        while self.time.now < end_s:
            self.time.due()
            self.core.tick()
            self.received.update(self.saturated)
            self.time.now += 0.02

    def up(self) -> World:
        self.connect()
        self.run(3)
        return self

    def is_up(self, dpid: int, port: int) -> bool:
        return PortId(dpid, port) not in self.dead

    def cut(self, link: LinkId) -> None:
        dpid = self.fabric.node_by_id[link.node].dpid
        here = PortId(dpid, link.port)
        for port in (here, self.peer[here]):
            self.dead.add(port)
            self.core.port_changed(port.dpid, self.port(port.port, up=False), gone=False)

    def heal(self, link: LinkId) -> None:
        """Bring a cable that was cut back."""
        here = PortId(self.fabric.node_by_id[link.node].dpid, link.port)
        ports = (here, self.peer[here])
        self.dead -= set(ports)
        for port in ports:
            self.core.port_changed(port.dpid, self.port(port.port), gone=False)

    def clash(self, dpid: int, operations: Sequence[Mend]) -> str | None:
        """What a switch refuses for what it has already."""
        rules = self.tables[dpid]
        ids = self.strays[dpid] | {rule.id for rule in rules.groups | rules.meters}
        for operation in operations:
            match operation:
                case AddGroup(rule) | AddMeter(rule) if rule.id in ids:
                    return "EXISTS"
                case RestoreGroup(rule) | ChangeMeter(rule) if rule.id not in ids:
                    return "UNKNOWN"
        return None

    def apply(self, dpid: int, operations: Sequence[Mend]) -> None:
        """A switch does what it is told, with what others put there, too."""
        strays = self.strays[dpid]
        plain = []
        for operation in operations:
            match operation:
                case RemoveStray(flow):
                    strays.discard(flow)
                    continue
                case RestoreGroup(group):
                    strays.discard(group.id)
                    plain.append(AddGroup(group))
                    continue
                case AddFlow(flow):
                    strays -= {stray for stray in strays if isinstance(stray, StrayFlow) and stray.key == flow.key}
                case ChangeMeter(rule) | RemoveGroup(rule) | RemoveMeter(rule):
                    strays.discard(rule.id)
            plain.append(operation)
        self.tables[dpid] = apply_operations(self.tables[dpid], plain)

    def tamper(self, dpid: int, rule: Rule, *strays: StrayFlow | int) -> None:
        """Somebody takes a rule out of a switch, and puts others under our mark in its place."""
        rules = self.tables[dpid]
        self.tables[dpid] = SwitchRules(rules.flows - {rule}, rules.groups - {rule}, rules.meters - {rule})
        self.strays[dpid] |= set(strays)

    def installed(self) -> dict[str, SwitchRules]:
        return {self.names[dpid]: rules for dpid, rules in self.tables.items()}
