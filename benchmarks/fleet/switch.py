"""One OpenFlow 1.3 switch with tables: what lives on, and its end of a connection, with errors on demand."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.channel import messages as of
from benchmarks.channel.fleet import FakeSwitch
from benchmarks.fleet import bundles
from benchmarks.fleet.openflow import (
    ANY,
    BAD_REQUEST,
    DESC,
    FLOW_MOD_FAILED,
    GROUP_MOD,
    METER_MOD,
    Refused,
    description,
    parts,
    port_status,
)
from benchmarks.fleet.tables import Tables

_CHANGES = frozenset({of.FLOW_MOD, GROUP_MOD, METER_MOD})
_TABLE_FULL = 1


class HostAt(NamedTuple):
    """A host and the port it is at."""

    port: int
    mac: bytes


class Entry(NamedTuple):
    """Something that a switch did.

    Attributes
    ----------
    at_s : float
        By `time.perf_counter`.
    kind : int
        Type of the message that was carried out (those of a bundle at its commit), or of the answer that was sent: to a
        barrier, or to a commit (`of.EXPERIMENTER`).
    message : bytes
        The whole of what was carried out; empty for an answer.
    """

    at_s: float
    dpid: int
    kind: int
    message: bytes


@dataclass(slots=True)
class Faults:
    """What a switch does wrong on demand; may be changed at any time.

    Attributes
    ----------
    refuse_flow_mod : int
        Refuse this one, counted from now on from 1, since the table is full; 0: none.
    refuse_commits, refuse_bundles : bool
        Refuse to commit bundles; know nothing of them, as a switch without the extension.
    barrier_s : float
        Answer a barrier, and do all that comes behind it, so much later.
    mute_barriers : bool
        Never answer a barrier.
    read_bytes_per_s : float or None
        Read no faster than so.
    """

    refuse_flow_mod: int = 0
    refuse_commits: bool = False
    refuse_bundles: bool = False
    barrier_s: float = 0.0
    mute_barriers: bool = False
    read_bytes_per_s: float | None = None


@dataclass(slots=True)
class Datapath:
    """What a switch is while its connections come and go.

    Attributes
    ----------
    down : set of int
        Ports without link.
    rx_packets, tx_packets : Counter of int
        By port; hosts' traffic is not counted, for there is none.
    hosts : mapping of int to HostAt
        Hosts at its ports, by address; they answer ARP.
    received : Counter of int
        Messages of the controller by type.
    """

    name: str
    dpid: int
    ports: Sequence[int]
    hosts: Mapping[int, HostAt] = field(default_factory=dict)
    tables: Tables = field(default_factory=Tables)
    faults: Faults = field(default_factory=Faults)
    down: set[int] = field(default_factory=set)
    rx_packets: Counter[int] = field(default_factory=Counter)
    tx_packets: Counter[int] = field(default_factory=Counter)
    received: Counter[int] = field(default_factory=Counter)


class FleetSwitch(FakeSwitch):
    """A datapath's end of one connection.

    Frames that come up do so whatever the rules say: LLDP from cables and what hosts say are the only ones.

    Parameters
    ----------
    send_on : callable
        Given the dpid, a port and the LLDP frame that was sent out of it.
    journal : deque of Entry
        Takes what the switch does.
    """

    def __init__(self, datapath: Datapath, send_on: Callable[[int, int, bytes], None], journal: deque[Entry]) -> None:
        super().__init__(datapath.dpid, datapath.ports)
        self.datapath = datapath
        self._send_on = send_on
        self._journal = journal
        self._bundles = bundles.Bundles()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        rate = self.datapath.faults.read_bytes_per_s
        if rate is not None and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(len(data) / rate, self._read_on)

    def _read_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _received(self, kind: int, xid: int, whole: bytes) -> None:
        self.datapath.received[kind] += 1
        try:
            if kind in _CHANGES:
                self._change(kind, whole)
            elif kind == of.BARRIER_REQUEST:
                self._barrier(xid)
            elif kind == of.EXPERIMENTER:
                self._bundle(xid, whole)
            elif kind == of.MULTIPART_REQUEST and not self.silent:
                self._list(xid, whole)
            else:
                super()._received(kind, xid, whole)
        except Refused as refused:
            self._answer(refused.message(xid, whole))

    def _answer(self, message: bytes) -> None:
        if not self.silent:
            self.send(message)

    def _packet_out(self, whole: bytes) -> None:
        port, frame = of.read_packet_out(whole)
        if of.is_lldp(frame):
            self._send_on(self.dpid, port, frame)
            return
        self.datapath.tx_packets[port] += 1
        arp = of.read_arp(frame)
        if arp is not None and not arp.is_reply and port not in self.datapath.down:
            host = self.datapath.hosts.get(arp.target_ip)
            if host is not None and host.port == port:
                self.arrived(port, of.arp_reply(arp.target_ip, arp, host.mac))

    # ── changes ──────────────────────────────────────────────────────────────────────────────────

    def _change(self, kind: int, whole: bytes) -> None:
        self._carry_out(self.datapath.tables, whole)
        self._journal.append(Entry(time.perf_counter(), self.dpid, kind, whole))

    def _carry_out(self, tables: Tables, whole: bytes) -> None:
        kind, faults = whole[1], self.datapath.faults
        if kind == of.FLOW_MOD and faults.refuse_flow_mod:
            faults.refuse_flow_mod -= 1
            if not faults.refuse_flow_mod:
                raise Refused(FLOW_MOD_FAILED, _TABLE_FULL)
        tables.change(kind, whole)

    def _barrier(self, xid: int) -> None:
        faults = self.datapath.faults
        if faults.mute_barriers:
            return
        if faults.barrier_s:
            self.held = True
            asyncio.get_running_loop().call_later(faults.barrier_s, self._late_barrier, xid)
        else:
            self._confirm(of.BARRIER_REPLY, of.message(of.BARRIER_REPLY, b"", xid))

    def _late_barrier(self, xid: int) -> None:
        self._confirm(of.BARRIER_REPLY, of.message(of.BARRIER_REPLY, b"", xid))
        self.go_on()

    def _confirm(self, kind: int, message: bytes) -> None:
        """Say that everything so far is in force."""
        self._answer(message)
        self._journal.append(Entry(time.perf_counter(), self.dpid, kind, b""))

    def _bundle(self, xid: int, whole: bytes) -> None:
        issuer, what = struct.unpack_from("!II", whole, 8) if len(whole) >= 24 else (0, 0)
        if issuer != bundles.ONF or self.datapath.faults.refuse_bundles:
            raise Refused(BAD_REQUEST, 3)
        if what == bundles.ADD:
            self._bundles.add(whole)
        elif what == bundles.CONTROL:
            number, kind, flags = struct.unpack_from("!IHH", whole, 16)
            messages = self._bundles.control(kind, number)
            reply = bundles.reply(kind, number, flags, xid)
            if kind == bundles.COMMIT:
                self._commit(messages, reply)
            else:
                self._answer(reply)
        else:
            raise Refused(BAD_REQUEST, 4)

    def _commit(self, messages: tuple[bytes, ...], reply: bytes) -> None:
        if self.datapath.faults.refuse_commits:
            raise bundles.commit_failed()
        try:
            self.datapath.tables = bundles.committed(self.datapath.tables, messages, self._carry_out)
        except bundles.CommitFailed as failed:
            # The error of the message comes first, by its own transaction id.
            self._answer(failed.refused.message(int.from_bytes(failed.message[4:8]), failed.message))
            raise bundles.commit_failed() from None
        now_s = time.perf_counter()
        self._journal.extend(Entry(now_s, self.dpid, message[1], message) for message in messages)
        self._confirm(of.EXPERIMENTER, reply)

    # ── lists ────────────────────────────────────────────────────────────────────────────────────

    def _list(self, xid: int, whole: bytes) -> None:
        (kind,) = struct.unpack_from("!H", whole, of.HEADER.size)
        datapath = self.datapath
        if kind == of.FLOW_STATS:
            self._answer(b"".join(parts(kind, datapath.tables.flow_stats(whole), xid)))
            self.up.set()
        elif kind == of.GROUP_DESC:
            self._answer(b"".join(parts(kind, datapath.tables.group_desc(), xid)))
        elif kind == of.METER_CONFIG:
            self._answer(b"".join(parts(kind, datapath.tables.meter_config(whole), xid)))
        elif kind == of.PORT_DESC:
            self.described.set()
            ports = (of.port_description(port, is_up=port not in datapath.down) for port in datapath.ports)
            self._answer(b"".join(parts(kind, ports, xid)))
        elif kind == of.PORT_STATS:
            (asked,) = struct.unpack_from("!I", whole, 16)
            counters = (
                of.port_counters(port, datapath.rx_packets[port], datapath.tx_packets[port])
                for port in datapath.ports
                if asked in (ANY, port)
            )
            self._answer(b"".join(parts(kind, counters, xid)))
        elif kind == DESC:
            self._answer(of.multipart_reply(kind, description(self.dpid), xid))
        else:
            super()._received(of.MULTIPART_REQUEST, xid, whole)

    # ── what happens to it ───────────────────────────────────────────────────────────────────────

    def arrived(self, port: int, frame: bytes) -> None:
        """A frame comes in at a port, and goes up once the handshake is over."""
        self.datapath.rx_packets[port] += 1
        if self.described.is_set():
            self.packet_in(port, frame)

    def port_changed(self, port: int) -> None:
        """Tell the controller whether a port has link."""
        self.send(port_status(port, is_up=port not in self.datapath.down))

    def abort(self) -> None:
        """End the connection without a word, as a switch that dies."""
        if self.transport is not None:
            self.transport.abort()
