"""The flows, groups and meters of one switch: kept as they were sent, and changed as Open vSwitch changes them.

What Open vSwitch does beyond OpenFlow 1.3.5, sections 6.4, 6.5 and 7.3.4, is in `tests/integration/benchmarks`. Nothing
times out, no packet is counted and no removal is announced.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from benchmarks.channel import messages as of
from benchmarks.fleet.matching import (
    Fields,
    is_within,
    overlap,
    read_match,
    read_references,
    read_targets,
    split_buckets,
)
from benchmarks.fleet.openflow import (
    ALL_TABLES,
    ANY,
    BAD_ACTION,
    BAD_INSTRUCTION,
    BAD_MATCH,
    FLOW_MOD_FAILED,
    GROUP_MOD,
    GROUP_MOD_FAILED,
    METER_MOD,
    METER_MOD_FAILED,
    Refused,
)

_FLOW_MOD = struct.Struct("!QQBBHHHIIIH2x")
_FLOW_STATS = struct.Struct("!HBxIIHHHH4xQQQ")
_FLOW_STATS_REQUEST = struct.Struct("!B3xII4xQQ")
_MATCH_AT = 48
"""Where the match begins in a flow modification, and how long a flow's report is without match and instructions."""
_ADD, _MODIFY, _MODIFY_STRICT, _DELETE, _DELETE_STRICT = range(5)
_CHECK_OVERLAP = 1 << 1
_GROUP_MAX = 0xFFFF_FF00
_LAST_TABLE = 0xFD

Key: TypeAlias = tuple[int, int, Fields]
"""Table, priority and match: what flows are told apart by."""


class Flow(NamedTuple):
    """A flow entry; match (with its padding) and instructions are as they were sent."""

    table: int
    priority: int
    cookie: int
    idle_s: int
    hard_s: int
    flags: int
    match: bytes
    instructions: bytes

    @property
    def key(self) -> Key:
        return (self.table, self.priority, read_match(self.match))

    def reported(self) -> bytes:
        """The entry of an answer to a request for flows (section 7.3.5.2)."""
        return (
            _FLOW_STATS.pack(
                _MATCH_AT + len(self.match) + len(self.instructions), self.table, 0, 0,
                self.priority, self.idle_s, self.hard_s, self.flags, self.cookie, 0, 0,
            )
            + self.match + self.instructions
        )  # fmt: skip


class RawGroup(NamedTuple):
    """A group entry; its buckets are as they were sent."""

    id: int
    type: int
    buckets: bytes


class RawMeter(NamedTuple):
    """A meter entry; its bands are as they were sent."""

    id: int
    flags: int
    bands: bytes


class _Filter(NamedTuple):
    """Which flows a command or a request is about."""

    table: int
    out_port: int
    out_group: int
    cookie: int
    cookie_mask: int

    def takes(self, flow: Flow) -> bool:
        if (flow.cookie ^ self.cookie) & self.cookie_mask or self.table not in (ALL_TABLES, flow.table):
            return False
        if self.out_port == ANY and self.out_group == ANY:
            return True
        to = read_references(flow.instructions)
        return (self.out_port == ANY or self.out_port in to.ports) and (
            self.out_group == ANY or self.out_group in to.groups
        )


class Tables:
    """All entries of one switch.

    Attributes
    ----------
    flows, groups, meters : dict
        By key, and by id.
    """

    def __init__(self) -> None:
        self.flows: dict[Key, Flow] = {}
        self.groups: dict[int, RawGroup] = {}
        self.meters: dict[int, RawMeter] = {}

    def copy(self) -> Tables:
        """Tables with the same entries, to be changed apart."""
        copied = Tables()
        copied.flows, copied.groups, copied.meters = dict(self.flows), dict(self.groups), dict(self.meters)
        return copied

    def clear(self) -> None:
        """Forget everything, as a switch does that dies."""
        self.flows, self.groups, self.meters = {}, {}, {}

    def change(self, kind: int, whole: bytes) -> None:
        """Carry out a modification of flows, groups or meters, given as a whole message.

        Raises
        ------
        Refused
            It changed nothing.
        """
        _CHANGES[kind](self, whole)

    # ── flows ────────────────────────────────────────────────────────────────────────────────────

    def _change_flows(self, whole: bytes) -> None:
        """Section 7.3.4.1."""
        (
            cookie, cookie_mask, table, command, idle_s, hard_s, priority, _, out_port, out_group, flags,
        ) = _FLOW_MOD.unpack_from(whole, of.HEADER.size)  # fmt: skip
        match, instructions = _split_match(whole, _MATCH_AT)
        fields = read_match(match)
        if command == _ADD:
            self._check(table, instructions)
            if flags & _CHECK_OVERLAP and self._overlaps(table, priority, fields):
                raise Refused(FLOW_MOD_FAILED, 3)
            flow = Flow(table, priority, cookie, idle_s, hard_s, flags, match, instructions)
            # A flow with the same key is replaced, and then is the newest.
            self.flows[table, priority, fields] = flow
            return
        if command > _DELETE_STRICT:
            raise Refused(FLOW_MOD_FAILED, 6)
        changing = command in (_MODIFY, _MODIFY_STRICT)
        if changing:
            self._check(table, instructions)
        strict = command in (_MODIFY_STRICT, _DELETE_STRICT)
        ports = (ANY, ANY) if changing else (out_port, out_group)
        wanted = _Filter(table, *ports, cookie, cookie_mask)
        for key in list(self._hit(wanted, fields, priority if strict else None)):
            if changing:
                # A changed flow keeps its cookie.
                self.flows[key] = self.flows[key]._replace(instructions=instructions)
            else:
                del self.flows[key]

    def _hit(self, wanted: _Filter, fields: Fields, priority: int | None) -> Iterator[Key]:
        """Flows that a command is about; with a priority it is a strict one."""
        if priority is not None and wanted.table != ALL_TABLES:
            key = (wanted.table, priority, fields)
            if (flow := self.flows.get(key)) is not None and wanted.takes(flow):
                yield key
            return
        for key, flow in self.flows.items():
            same = is_within(key[2], fields) if priority is None else key[1:] == (priority, fields)
            if same and wanted.takes(flow):
                yield key

    def _overlaps(self, table: int, priority: int, fields: Fields) -> bool:
        return any(key[:2] == (table, priority) and overlap(key[2], fields) for key in self.flows)

    def _check(self, table: int, instructions: bytes) -> None:
        if table > _LAST_TABLE:
            raise Refused(FLOW_MOD_FAILED, 2)
        to = read_references(instructions)
        if to.goto is not None and not table < to.goto <= _LAST_TABLE:
            raise Refused(BAD_INSTRUCTION, 2)
        if to.meter is not None and to.meter not in self.meters:
            raise Refused(METER_MOD_FAILED, 2)
        if not to.groups <= self.groups.keys():
            raise Refused(BAD_ACTION, 9)

    def flow_stats(self, request: bytes) -> Iterator[bytes]:
        """The entries that a request for flows asks for, given as a whole message (section 7.3.5.2)."""
        table, out_port, out_group, cookie, cookie_mask = _FLOW_STATS_REQUEST.unpack_from(request, 16)
        match, _ = _split_match(request, 16 + _FLOW_STATS_REQUEST.size)
        wanted = _Filter(table, out_port, out_group, cookie, cookie_mask)
        return (self.flows[key].reported() for key in self._hit(wanted, read_match(match), None))

    # ── groups and meters ────────────────────────────────────────────────────────────────────────

    def _change_groups(self, whole: bytes) -> None:
        """Section 7.3.4.2."""
        command, kind, number = struct.unpack_from("!HBxI", whole, of.HEADER.size)
        if command in (_ADD, _MODIFY):
            if number > _GROUP_MAX:
                raise Refused(GROUP_MOD_FAILED, 1)
            if (number in self.groups) is (command == _ADD):
                raise Refused(GROUP_MOD_FAILED, 0 if command == _ADD else 8)
            buckets = whole[16:]
            for bucket in split_buckets(buckets):
                if not read_targets(bucket.actions)[0] <= self.groups.keys():
                    raise Refused(BAD_ACTION, 9)
            self.groups[number] = RawGroup(number, kind, buckets)
        elif command == 2:
            gone = set(self.groups) if number == ANY else {number} & self.groups.keys()
            for group in gone:
                del self.groups[group]
            self._forget_users(lambda flow: not gone.isdisjoint(read_references(flow.instructions).groups), gone)
        else:
            raise Refused(GROUP_MOD_FAILED, 11)

    def _change_meters(self, whole: bytes) -> None:
        """Section 7.3.4.4."""
        command, flags, number = struct.unpack_from("!HHI", whole, of.HEADER.size)
        if command in (_ADD, _MODIFY):
            if (number in self.meters) is (command == _ADD):
                raise Refused(METER_MOD_FAILED, 1 if command == _ADD else 3)
            self.meters[number] = RawMeter(number, flags, whole[16:])
        elif command == 2:
            gone = set(self.meters) if number == ANY else {number} & self.meters.keys()
            for meter in gone:
                del self.meters[meter]
            self._forget_users(lambda flow: read_references(flow.instructions).meter in gone, gone)
        else:
            raise Refused(METER_MOD_FAILED, 4)

    def _forget_users(self, uses: Callable[[Flow], bool], gone: set[int]) -> None:
        """With a group or meter go the flows that use it (sections 6.5 and 6.7)."""
        if gone:
            for key in [key for key, flow in self.flows.items() if uses(flow)]:
                del self.flows[key]

    def group_desc(self) -> Iterator[bytes]:
        """The entries of an answer to a request for all groups (section 7.3.5.10)."""
        return (
            struct.pack("!HBxI", 8 + len(group.buckets), group.type, group.id) + group.buckets
            for group in self.groups.values()
        )

    def meter_config(self, request: bytes) -> Iterator[bytes]:
        """The entries of an answer to a request for one meter or all (section 7.3.5.13)."""
        (number,) = struct.unpack_from("!I", request, 16)
        asked: Iterable[RawMeter] = self.meters.values()
        if number != ANY:
            asked = [self.meters[number]] if number in self.meters else []
        return (struct.pack("!HHI", 8 + len(meter.bands), meter.flags, meter.id) + meter.bands for meter in asked)


_CHANGES: dict[int, Callable[[Tables, bytes], None]] = {
    of.FLOW_MOD: Tables._change_flows,
    GROUP_MOD: Tables._change_groups,
    METER_MOD: Tables._change_meters,
}


def _split_match(whole: bytes, at: int) -> tuple[bytes, bytes]:
    """The padded match that begins somewhere in a message, and what follows it."""
    if len(whole) < at + 8:
        raise Refused(BAD_MATCH, 1)
    end = at + (int.from_bytes(whole[at + 2 : at + 4]) + 7) // 8 * 8
    if end > len(whole):
        raise Refused(BAD_MATCH, 1)
    return whole[at:end], whole[end:]
