"""The daemon's decisions: what the switches report, what users ask, and what follows from both.

Everything here runs in the OpenFlow thread, which alone writes this state; what other threads read is
published as values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from controller.audit import Audit
from controller.cabling import declared_cabling
from controller.commits import AccountedSwitch
from controller.config import Config
from controller.cordons import Cordons
from controller.damping import Damping
from controller.departures import Departures
from controller.discovery import Change, Discovery, PortId
from controller.eventlog import WRITE_S, EventLog
from controller.expectation import expectation
from controller.foreign import ForeignFlows
from controller.hostcheck import Place
from controller.hostwatch import HostWatch
from controller.measurement import LoadMeter, Rates, Reading
from controller.overload import OverloadWatch
from controller.pace import Pace
from controller.plankeeper import Observed, PlanKeeper
from controller.planner import Deliver, PlanMaker, Planner
from controller.runtime import Runtime, Switch
from controller.service import (
    Event,
    HostStatus,
    JobStatus,
    LinkStatus,
    PlanStatus,
    PortRole,
    Probing,
    Readiness,
    SwitchStatus,
)
from controller.settling import Settling
from controller.statuses import link_statuses, switch_statuses
from controller.store import Store
from controller.suspects import Suspects
from controller.view import View, build_view, missing_notices, switch_name
from controller.welcome import Welcomes
from controller.wire import PacketIn, Port, PortCounters
from dataplane.compiler import DefaultRouting
from dataplane.echo import returning_ports
from dataplane.guard import asking_rule
from dataplane.rules import RuleSet, SwitchRules
from topologies.fabric import Fabric, LinkId
from workloads.headers import ETH_LLDP, Unreadable, read_headers
from workloads.job import Job

STATUS_S = 0.5
"""Longest time for which published loads and counts stay as they are."""
_PORTS_AT_ONCE = 128
"""A switch may have thousands: so many are taken in or forgotten before others have their turn."""

_COUNTED_ONLY = frozenset({"port-up", "port-edge", "link-seen"})

_CHANGES_NOTHING = frozenset(
    {
        "arp-spoofed",
        "host-conflict",
        "host-refused",
        "host-silent",
        "link-overloaded",
        "lldp-foreign",
        "lldp-forged",
        "lldp-relayed",
        "lldp-replayed",
        "lldp-returned",
        "lldp-stale",
        "port-conflict",
        "probing",
    }
)
_WAITING = Readiness(False, "waiting for switches")


@dataclass(frozen=True, slots=True)
class _Published:
    """What other threads read; replaced whole."""

    view: View
    switches: tuple[SwitchStatus, ...] = ()
    rates_bps: Mapping[PortId, Rates] = field(default_factory=dict)
    cordoned: frozenset[LinkId] = frozenset()
    hosts: tuple[HostStatus, ...] = ()
    jobs: tuple[JobStatus, ...] = ()
    plan: PlanStatus | None = None
    readiness: Readiness = _WAITING


class Core:
    """Live state and the loop observe → plan → compile → install; implements `controller.service.Service`.

    Parameters
    ----------
    declared : Fabric or None
        The fabric file's content.
    planner : callable
        Makes what turns requests into answers, given where to deliver them.
    channel_counts : mapping of str to int, optional
        What the channel counts, live; published as ``channel-…`` beside the events' counters.
    certificate_expiries : callable, optional
        When our certificates for TLS expire; called from any thread.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        declared: Fabric | None,
        runtime: Runtime,
        planner: Callable[[Deliver], PlanMaker] = Planner,
        channel_counts: Mapping[str, int] = MappingProxyType({}),
        certificate_expiries: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._config = config
        self._store = store
        self._declared = declared
        self._runtime = runtime
        self._channel_counts = channel_counts
        self._certificate_expiries = certificate_expiries
        self._switches: dict[int, AccountedSwitch] = {}
        self._addresses: dict[int, str] = {}
        self._speeds_bps: dict[PortId, float] = {}
        self._meter = LoadMeter()
        self._overload = OverloadWatch()
        self._events = EventLog(store.events(), store.add_event, runtime.now_s, WRITE_S)
        self._names: dict[int, str] = {}
        self._watch = HostWatch(
            declared,
            store,
            self._events,
            self._send_frame,
            self._edge_ports_of_all,
            self._place,
            lambda: {rank for job in self._jobs.wanted() for rank in job.ranks},
            runtime.now_s(),
        )
        self._hosts = self._watch.table
        self._discovery = Discovery(store.secret(), self._hosts.seen_s, declared_cabling(declared), self._name)
        self._damping = Damping(config.routing.hold_down_s)
        self._cordons = Cordons(store.cordons())
        self._keeper = PlanKeeper(config, store, runtime, self._events, planner, self._observed, self._publish_statuses)
        self._installer, self._jobs = self._keeper.installer, self._keeper.jobs
        self._suspects = Suspects(runtime, self._discovery.counters_read)
        self._foreign = ForeignFlows(self._events)
        default = DefaultRouting(config.routing.default)
        self._welcomes = Welcomes(runtime, self._events, self._foreign, default, self._is_there, self._ready)
        self._audit = Audit(runtime, self._events, self._foreign, self._lacks)
        self._departures = Departures(
            self._switches, self._discovery, self._hosts, self._keeper, self._name,
            self._forget_port, self._switch_forgotten,
        )  # fmt: skip
        self._strangers = self._departures.strangers
        # Ports that a switch has spoken of while its list of ports is taken in.
        self._spoken_of: dict[int, set[int]] = {}
        self._first_switch_s: float | None = None
        self._dirty = self._urgent = False
        self._changed_s = runtime.now_s()
        self._view_pace, self._status_pace = Pace(), Pace()
        self._statuses_s = 0.0
        self._settled = False
        self._notices: frozenset[Change] = frozenset()
        with_hosts = {host.at.dpid for host in self._hosts if host.at is not None}
        self._settling = Settling(declared, self._keeper.plan, map(self._name, with_hosts))
        for dpid in with_hosts:
            if not self._is_declared(self._name(dpid)):
                self._strangers.known_from_earlier(dpid, len(self._hosts.ports_of(dpid)), runtime.now_s())
        self._out = _Published(View(Fabric((), ()), frozenset(), ()))

    def start(self) -> None:
        """Start the planner."""
        self._keeper.start(expectation(self._declared, self._hosts, self._cordons, self._name))
        self._publish_statuses()

    def stop(self) -> None:
        """Stop planning; the switches keep their rules."""
        self._keeper.stop()
        self._watch.stop()
        self._events.close()

    def note(self, kind: str, message: str, source: str = "") -> None:
        """Record an event that is none of this state's: of the channel, of the configuration."""
        self._events.note(kind, message, source)

    # ── what the switches say ────────────────────────────────────────────────────────────────────

    def switch_up(self, switch: Switch) -> None:
        """A switch has come: read its rules, give it those of discovery, then probe its ports."""
        accounted = self._switches[switch.dpid] = AccountedSwitch(switch, self._runtime)
        self._first_switch_s = self._first_switch_s or self._runtime.now_s()
        self._addresses[switch.dpid] = switch.address
        name = self._name(switch.dpid)
        if not self._is_declared(name):
            self._strangers.came(switch.dpid, self._runtime.now_s())
        self._events.note("switch-up", f"switch {name} is connected from {switch.address}", name)
        self._touch(urgent=False)
        self._welcomes.begin(name, accounted)

    def _ready(self, name: str, switch: AccountedSwitch, rules: SwitchRules) -> None:
        """A switch's rules are known, and it has those of discovery."""
        # From here on plans count on it: until now it had rules that nobody knew.
        self._installer.connected(name, switch, rules)
        self._audit.came(name, switch, self._runtime.now_s())
        # Only now: what they did while the rules were read is in it.
        if self._take_ports(switch):
            self._keeper.welcomed(name)

    def _take_ports(self, switch: AccountedSwitch) -> bool:
        """Take in the ports of a switch, a few at a time; whether it is still there at the end."""
        dpid, ports = switch.dpid, switch.ports()
        absent = self._discovery.ports_of(dpid) - {port.number for port in ports}
        # Each slice is a task's turn, and what the switch says meanwhile is newer than its list.
        spoken_of = self._spoken_of[dpid] = set[int]()
        try:
            listed = [*((PortId(dpid, number), None) for number in sorted(absent)),
                      *((PortId(dpid, port.number), port) for port in ports)]  # fmt: skip
            for first in range(0, len(listed), _PORTS_AT_ONCE):
                if first:
                    self._runtime.sleep(0)
                if self._switches.get(dpid) is not switch:
                    return False
                changes: list[Change] = []
                for at, port in listed[first : first + _PORTS_AT_ONCE]:
                    if at.port not in spoken_of:
                        changes += self._port_gone(at) if port is None else self._port_is(at, port)
                self._took(changes)
            return True
        finally:
            if self._spoken_of.get(dpid) is spoken_of:
                del self._spoken_of[dpid]

    def switch_down(self, dpid: int, reason: str) -> None:
        """The channel is lost; the data plane goes on by the rules it has."""
        if self._switches.pop(dpid, None) is None:
            return
        name = self._name(dpid)
        returning = returning_ports(self._installer.installed.get(name, SwitchRules()))
        self._installer.disconnected(name)
        self._audit.went(name)
        self._discovery.switch_gone(dpid)
        self._discovery.ask_neighbours(dpid, returning, self._runtime.now_s())
        self._hosts.switch_lost(dpid)
        self._events.note("switch-down", f"switch {name} is disconnected: {reason}", name)
        if not self._is_declared(name):
            self._strangers.went(dpid, self._discovery.port_count(dpid), self._runtime.now_s())
        self._touch(urgent=False)

    def _switch_forgotten(self, dpid: int) -> None:
        self._keeper.forgotten(self._name(dpid))
        self._foreign.forget(self._name(dpid))
        self._addresses.pop(dpid, None)
        del self._names[dpid]

    def port_changed(self, dpid: int, port: Port, *, gone: bool) -> None:
        """A port appeared, changed or went."""
        at = PortId(dpid, port.number)
        if (spoken_of := self._spoken_of.get(dpid)) is not None:
            spoken_of.add(port.number)
        self._took(self._port_gone(at) if gone else self._port_is(at, port))

    def _port_is(self, at: PortId, port: Port) -> list[Change]:
        if not port.is_up:
            self._watch.port_lost(at, self._runtime.now_s())
            return self._discovery.port_down(at)
        self._watch.port_up(at)
        if self._speeds_bps.get(at) != port.speed_bps:
            self._speeds_bps[at] = port.speed_bps
            self._touch(urgent=False)
        return self._discovery.port_up(at, self._runtime.now_s())

    def _port_gone(self, at: PortId) -> list[Change]:
        changes = self._discovery.port_gone(at)
        self._forget_port(at)
        return changes

    def _forget_port(self, at: PortId) -> None:
        self._watch.port_lost(at, self._runtime.now_s())
        self._speeds_bps.pop(at, None)
        self._meter.forget(at)

    def packet_in(self, dpid: int, packet: PacketIn) -> None:
        """A frame came up: LLDP from anywhere, ARP from edge ports; everything else is counted and dropped."""
        at = PortId(dpid, packet.in_port)
        now_s = self._runtime.now_s()
        if int.from_bytes(packet.data[12:14]) == ETH_LLDP:
            # Discovery wants the bytes that were signed.
            self._took(self._discovery.lldp_arrived(at, packet.data, now_s))
            return
        headers = read_headers(packet.data)
        if isinstance(headers, Unreadable):
            self._events.counts[f"packet-{headers.reason}"] += 1
            return
        self._took(self._watch.frame_arrived(at, headers, self._discovery, now_s))

    def counters_read(self, dpid: int, counters: Sequence[PortCounters]) -> None:
        """Port counters came in."""
        now_s, name, view = self._runtime.now_s(), self._name(dpid), self._out.view
        known = self._discovery.ports_of(dpid)
        for counter in counters:
            if counter.port not in known:
                continue
            port = PortId(dpid, counter.port)
            self._meter.read(port, Reading(now_s, counter.rx_bytes, counter.tx_bytes))
            self._watch.counters_read(port, counter.rx_packets, now_s)
            link = view.fabric.link_by_id.get(LinkId(name, counter.port))
            if link is not None and link.id not in view.assumed:
                self._took(self._overload.read(link, self._meter.sent_bps(port)))

    def switch_error(self, dpid: int, message: str) -> None:
        """A switch complained of something that nobody waits for."""
        self._events.note("switch-error", f"switch {self._name(dpid)}: {message}", self._name(dpid))

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def tick(self) -> None:
        """Do what is due; called some twenty times a second."""
        now_s = self._runtime.now_s()
        for port, frame in self._discovery.probes_due(now_s):
            self._send_frame(port, frame)
        for dpid, ports in self._discovery.readings_due(now_s).items():
            if (switch := self._switches.get(dpid)) is not None:
                self._suspects.ask(switch, ports)
        self._took(self._discovery.tick(now_s))
        for port in tuple(self._discovery.contested):
            if self._watch.gone(port, now_s):
                self._discovery.contested.discard(port)
                self._touch(urgent=False)
        self._took(self._watch.tick(now_s))
        for dpid in self._departures.begin(now_s):
            self._events.note("switch-forgotten", f"switch {self._name(dpid)} is away, and is forgotten with its hosts")
        if self._departures.go_on(_PORTS_AT_ONCE):
            self._touch(urgent=False)
        if self._damping.is_due(now_s):
            self._touch(urgent=False)
        if self._dirty and self._view_pace.allows(now_s, urgent=self._urgent):
            self._publish_view()
        if not self._settled and self._is_settled(now_s):
            self._settled = True
            self._events.note("settled", f"the fabric is known: {self._size()}")
            for notice in missing_notices(self._out.view.fabric, self._declared) if self._declared is not None else ():
                self._events.note(notice.kind, notice.message)
            self._keeper.ask()
        self._keeper.tick(now_s)
        if self._settled and self._keeper.carries:
            # Before that, what nobody knows any more may carry traffic.
            self._audit.tick(now_s, self._keeper.lacking)
        if now_s - self._statuses_s >= STATUS_S and self._status_pace.allows(now_s, urgent=False):
            self._publish_statuses()
        self._events.tick()

    def _is_settled(self, now_s: float) -> bool:
        if self._dirty or self._first_switch_s is None:
            return False
        return self._settling.is_over(
            self._out.view.fabric,
            self._installer.reachable,
            unread=len(self._switches) - len(self._installer.reachable),
            quiet_s=now_s - self._changed_s,
            since_first_s=now_s - self._first_switch_s,
        )

    def _took(self, changes: Sequence[Change]) -> None:
        if self._discovery.lost:
            for cable in self._discovery.lost:
                self._damping.lost(cable, self._runtime.now_s())
            self._discovery.lost.clear()
        for change in changes:
            if change.kind in _COUNTED_ONLY or not change.message:
                self._events.counts[change.kind] += 1
            else:
                self._events.note(change.kind, change.message, source=str(change.at or ""))
            if change.kind not in _CHANGES_NOTHING:
                self._touch(urgent=change.urgent)
        if self._urgent and self._view_pace.allows(self._runtime.now_s(), urgent=True):
            self._publish_view()

    def _touch(self, *, urgent: bool) -> None:
        self._dirty = True
        self._urgent = self._urgent or urgent
        self._changed_s = self._runtime.now_s()

    # ── publishing ───────────────────────────────────────────────────────────────────────────────

    def _publish_view(self) -> None:
        """Make a snapshot of what is known now; a new one asks for a new plan."""
        self._dirty = self._urgent = False
        began_s = self._runtime.now_s()
        old = self._out.view
        sifted = self._damping.sift(self._discovery.cables(), began_s)
        for change in sifted.changes:
            self._events.note(change.kind, change.message)
        attached = (host for host in self._hosts if host.at and self._discovery.role(host.at) is PortRole.EDGE)
        view = build_view(
            self._addresses,
            sifted,
            attached,
            self._speeds_bps,
            self._declared,
            old.fabric.version + 1,
        )
        for notice in view.notices:
            if notice not in self._notices:
                self._events.note(notice.kind, notice.message)
        self._notices = frozenset(view.notices)
        if view != old:
            self._out = replace(self._out, view=view)
        self._keeper.ask()
        self._publish_statuses()
        self._view_pace.published(began_s, self._runtime.now_s())

    def _publish_statuses(self) -> None:
        began_s = self._statuses_s = self._runtime.now_s()
        view, plan = self._out.view, self._keeper.plan
        self._out = replace(
            self._out,
            switches=switch_statuses(view.fabric, self._addresses, self._switches.keys(), self._installer.installed),
            rates_bps=self._meter.rates_bps(),
            cordoned=self._cordons.links,
            hosts=self._watch.statuses(self._name),
            jobs=self._jobs.statuses(),
            plan=plan if plan is not None and plan.paths else None,
            readiness=self._readiness(),
        )
        self._status_pace.published(began_s, self._runtime.now_s())

    def _readiness(self) -> Readiness:
        if not self._settled:
            missing = self._settling.missing(self._installer.reachable)
            awaited = f"; not connected: {', '.join(missing[:8])}" if missing else ""
            more = ", …" if len(missing) > 8 else ""
            return Readiness(False, f"discovering the fabric: {self._size()} so far{awaited}{more}")
        if not self._switches:
            return Readiness(False, "no switch is connected; those that were go on with the rules they have")
        if not self._keeper.carries:
            return Readiness(False, "waiting for the first rules")
        return Readiness(True, f"{self._size()}")

    def _size(self) -> str:
        fabric = self._out.view.fabric
        return f"{len(fabric.switches)} switches, {len(fabric.hosts)} hosts, {len(fabric.links)} directed links"

    def _observed(self) -> Observed | None:
        """What to plan for; None until the fabric is known."""
        if not self._settled:
            return None
        names = {dpid: self._name(dpid) for dpid in self._addresses}
        edge_ports = {names[dpid]: ports for dpid, ports in self._discovery.edge_ports().items() if dpid in names}
        return Observed(self._cordons.usable(self._out.view.fabric), edge_ports, frozenset(names.values()))

    @property
    def is_settled(self) -> bool:
        """Whether the fabric was known well enough since the start."""
        return self._settled

    # ── what users ask, any thread ───────────────────────────────────────────────────────────────

    def readiness(self) -> Readiness:
        return self._out.readiness

    def fabric(self) -> Fabric:
        return self._out.view.fabric

    def switches(self) -> tuple[SwitchStatus, ...]:
        return self._out.switches

    def links(self) -> tuple[LinkStatus, ...]:
        # Made when somebody asks: there are thousands, and they change with every reading of a counter.
        out = self._out
        return link_statuses(out.view, out.rates_bps, out.cordoned)

    def hosts(self) -> tuple[HostStatus, ...]:
        return self._out.hosts

    def rules(self) -> RuleSet:
        return dict(self._installer.installed)

    def jobs(self) -> tuple[JobStatus, ...]:
        return self._out.jobs

    def plan(self) -> PlanStatus | None:
        return self._out.plan

    def events(self, after_id: int = 0) -> tuple[Event, ...]:
        return self._events.after(after_id)

    def probing(self) -> Probing:
        return self._discovery.probing()

    def counters(self) -> Mapping[str, int]:
        return dict(self._events.counts) | {f"channel-{kind}": n for kind, n in dict(self._channel_counts).items()}

    def certificate_expiries(self) -> Mapping[str, float]:
        return self._certificate_expiries()

    def submit_job(self, job: Job) -> Future[JobStatus]:
        return self._runtime.call_soon(lambda: self._submit(job))

    def remove_job(self, name: str) -> Future[JobStatus]:
        return self._runtime.call_soon(lambda: self._remove(name))

    def change_cordons(self, cordon: Sequence[LinkId], uncordon: Sequence[LinkId]) -> Future[tuple[LinkId, ...]]:
        return self._runtime.call_soon(lambda: self._change_cordons(cordon, uncordon))

    def _change_cordons(self, cordon: Sequence[LinkId], uncordon: Sequence[LinkId]) -> tuple[LinkId, ...]:
        before = self._cordons.cables
        after = self._cordons.changed(self._out.view.fabric, cordon, uncordon)
        self._store.save_cordons(after)
        self._cordons.cables = after
        for first, second in sorted(after - before):
            self._events.note("link-cordoned", f"the link {first} – {second} is cordoned")
        for first, second in sorted(before - after):
            self._events.note("link-uncordoned", f"the link {first} – {second} is no longer cordoned")
        self._keeper.ask()
        self._publish_statuses()
        return tuple(sorted(self._cordons.links))

    def _submit(self, job: Job) -> JobStatus:
        status = self._jobs.submit(job, self._out.view.fabric, {host.name for host in self._hosts})
        self._events.note("job-submitted", f"job {job.name}: {job.collective} over {len(job.ranks)} ranks")
        self._keeper.ask()
        self._publish_statuses()
        return status

    def _remove(self, name: str) -> JobStatus:
        status = self._keeper.remove_job(name)
        self._publish_statuses()
        return status

    # ── small things ─────────────────────────────────────────────────────────────────────────────

    def _name(self, dpid: int) -> str:
        name = self._names.get(dpid)
        if name is None:
            name = self._names[dpid] = switch_name(dpid, self._declared)
        return name

    def _is_there(self, switch: AccountedSwitch) -> bool:
        return self._switches.get(switch.dpid) is switch

    def _lacks(self, name: str, switch: AccountedSwitch, rules: SwitchRules) -> None:
        """A switch has only these rules, and refused others."""
        if self._installer.busy:
            # An update counts on what the switch has confirmed before. It gives the switch up as lost, and what is
            # there in the end is read when it returns.
            switch.disconnect("it refused to be put right while rules were being installed")
            return
        self._installer.connected(name, switch, rules)
        self._keeper.welcomed(name)

    def _is_declared(self, name: str) -> bool:
        return self._declared is not None and name in self._declared.node_by_id

    def _place(self, port: PortId) -> Place:
        """Whether hosts at a port can be asked: their answers come up by rules that the switch must have."""
        rules = self._installer.installed.get(self._name(port.dpid))
        role = self._discovery.role(port)
        if rules is None:
            return Place.AWAY if port.dpid in self._addresses else Place.UNSEEN
        if role is PortRole.FABRIC or not self._watch.has_link(port):
            return Place.LOST
        ready = role is PortRole.EDGE and asking_rule(port.port) in rules.flows
        return Place.ASKABLE if ready else Place.NOT_YET

    def _send_frame(self, port: PortId, frame: bytes) -> None:
        switch = self._switches.get(port.dpid)
        if switch is not None:
            switch.send_frame(port.port, frame)

    def _edge_ports_of_all(self) -> list[PortId]:
        return [PortId(dpid, port) for dpid, ports in self._discovery.edge_ports().items() for port in sorted(ports)]
