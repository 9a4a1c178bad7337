from __future__ import annotations

import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import bundles, framework, wire
from controller.batches import Message
from controller.checking import check_message
from controller.framework import ofproto, ofproto_parser
from controller.strays import RemoveStray, RestoreGroup, StrayFlow
from controller.wire_decode import flows_in, groups_in, meters_in
from dataplane.rules import (
    COOKIE_TAG,
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    GROUP_ID_BASE,
    GROUP_ID_END,
    METER_ID_BASE,
    METER_ID_END,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    AnyMeter,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Masked,
    Match,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    RateCap,
    Role,
    SetLabel,
    Table,
    ToGroup,
)
from dataplane.update import AddFlow, AddGroup, AddMeter, ChangeMeter, Operation, RemoveFlow, RemoveGroup, RemoveMeter

PROTOCOL = framework.Protocol13(framework.OFP_VERSION)
OTHER = "os-ken" if framework.FRAMEWORK == "ryu" else "ryu"
XID = 7

ports = st.integers(1, ofproto.OFPP_MAX)
labels = st.integers(0, (1 << 20) - 1)
group_ids = st.integers(GROUP_ID_BASE, GROUP_ID_END - 1)
meter_ids = st.integers(METER_ID_BASE, METER_ID_END - 1)
macs = st.binary(min_size=6, max_size=6).map(lambda mac: mac.hex(":"))
ips = st.ip_addresses(v=4).map(str)
transport_ports = st.integers(0, 0xFFFF)


def prefix(address: int, bits: int) -> str:
    kept = address >> 32 - bits << 32 - bits
    return f"{'.'.join(map(str, kept.to_bytes(4)))}/{bits}"


prefixes = ips | st.builds(prefix, st.integers(0, 0xFFFF_FFFF), st.integers(1, 31))
port_ranges = transport_ports | st.builds(
    lambda value, mask: Masked(value & mask, mask), transport_ports, st.integers(0, 0xFFFE)
)
actions: st.SearchStrategy[Action] = st.one_of(
    (ports | st.sampled_from([PORT_CONTROLLER, PORT_IN_PORT])).map(Output),
    group_ids.map(ToGroup),
    labels.map(PushLabel),
    labels.map(SetLabel),
    st.sampled_from([PopLabel(), PopLabel(ETH_TYPE_ARP)]),
)
action_lists = st.lists(actions, max_size=5).map(tuple)
matches = st.builds(
    Match,
    in_port=st.none() | ports,
    eth_src=st.none() | macs,
    eth_dst=st.none() | macs,
    eth_type=st.none() | st.integers(0, 0xFFFF),
    ipv4_src=st.none() | prefixes,
    ipv4_dst=st.none() | prefixes,
    arp_spa=st.none() | ips,
    arp_sha=st.none() | macs,
    arp_tpa=st.none() | prefixes,
    mpls_label=st.none() | labels,
    ip_proto=st.none() | st.integers(0, 0xFF),
    tcp_src=st.none() | port_ranges,
    tcp_dst=st.none() | transport_ports,
    udp_src=st.none() | port_ranges,
    udp_dst=st.none() | transport_ports,
)
flows = st.builds(
    FlowRule,
    table=st.sampled_from(Table),
    priority=st.integers(0, 0xFFFF),
    match=matches,
    actions=action_lists,
    goto=st.none() | st.sampled_from(Table),
    meter_id=st.none() | meter_ids,
    role=st.sampled_from(Role),
)
groups = st.builds(
    Group,
    id=group_ids,
    type=st.just(GroupType.SELECT),
    buckets=st.lists(
        st.builds(Bucket, actions=action_lists, watch_port=st.none() | ports, weight=st.integers(1, 0xFFFF)), max_size=6
    ).map(tuple),
) | st.builds(
    Group,
    id=group_ids,
    type=st.just(GroupType.FAST_FAILOVER),
    buckets=st.lists(st.builds(Bucket, actions=action_lists, watch_port=ports), max_size=6).map(tuple),
)
rates = st.integers(1, 0xFFFF_FFFF)
meters = st.builds(Meter, meter_ids, rates, rates) | st.builds(RateCap, meter_ids, rates, rates)
operations = st.one_of(
    flows.map(AddFlow),
    flows.map(RemoveFlow),
    groups.map(AddGroup),
    groups.map(RemoveGroup),
    meters.map(AddMeter),
    meters.map(ChangeMeter),
    meters.map(RemoveMeter),
)


# ── what the framework's own classes make of an operation ────────────────────────────────────────


def their_message(operation: Operation) -> Any:
    """The framework's object for an operation."""
    match operation:
        case AddFlow(flow) | RemoveFlow(flow):
            adding = isinstance(operation, AddFlow)
            return ofproto_parser.OFPFlowMod(
                PROTOCOL,
                cookie=flow.cookie,
                cookie_mask=0 if adding else 0xFFFF_FFFF_FFFF_FFFF,
                table_id=int(flow.table),
                command=ofproto.OFPFC_ADD if adding else ofproto.OFPFC_DELETE_STRICT,
                priority=flow.priority,
                out_port=ofproto.OFPP_ANY,
                out_group=ofproto.OFPG_ANY,
                match=their_match(flow.match),
                instructions=their_instructions(flow) if adding else [],
            )
        case AddGroup(group):
            weighted = group.type is GroupType.SELECT
            buckets = [
                ofproto_parser.OFPBucket(
                    bucket.weight if weighted else 0,
                    ofproto.OFPP_ANY if bucket.watch_port is None else bucket.watch_port,
                    ofproto.OFPG_ANY,
                    their_actions(bucket.actions),
                )
                for bucket in group.buckets
            ]
            return ofproto_parser.OFPGroupMod(PROTOCOL, ofproto.OFPGC_ADD, int(group.type), group.id, buckets)
        case RemoveGroup(group):
            return ofproto_parser.OFPGroupMod(PROTOCOL, ofproto.OFPGC_DELETE, int(group.type), group.id, [])
        case AddMeter(meter):
            return their_meter(meter, ofproto.OFPMC_ADD)
        case ChangeMeter(meter):
            return their_meter(meter, ofproto.OFPMC_MODIFY)
        case RemoveMeter(meter):
            return their_meter(meter, ofproto.OFPMC_DELETE)


def their_match(match: Match) -> Any:
    fields: dict[str, Any] = {}
    for name in Match.__slots__:
        value = getattr(match, name)
        if isinstance(value, Masked):
            value = (value.value, value.mask)
        elif isinstance(value, str) and "/" in value:
            address, bits = value.split("/")
            value = (address, prefix(0xFFFF_FFFF, int(bits)).partition("/")[0])
        if value is not None:
            fields[name] = value
    return ofproto_parser.OFPMatch(**fields)


def their_instructions(flow: FlowRule) -> list[Any]:
    instructions = []
    if flow.meter_id is not None:
        instructions.append(ofproto_parser.OFPInstructionMeter(flow.meter_id, ofproto.OFPIT_METER))
    if flow.actions:
        applied = their_actions(flow.actions)
        instructions.append(ofproto_parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, applied))
    if flow.goto is not None:
        instructions.append(ofproto_parser.OFPInstructionGotoTable(int(flow.goto)))
    return instructions


def their_actions(actions: tuple[Action, ...]) -> list[Any]:
    encoded: list[Any] = []
    for action in actions:
        match action:
            case Output(port):
                encoded.append(ofproto_parser.OFPActionOutput(port, ofproto.OFPCML_NO_BUFFER))
            case ToGroup(group_id):
                encoded.append(ofproto_parser.OFPActionGroup(group_id))
            case PushLabel(label):
                encoded.append(ofproto_parser.OFPActionPushMpls(0x8847))
                encoded.append(ofproto_parser.OFPActionSetField(mpls_label=label))
            case SetLabel(label):
                encoded.append(ofproto_parser.OFPActionSetField(mpls_label=label))
            case PopLabel(eth_type):
                encoded.append(ofproto_parser.OFPActionPopMpls(eth_type))
    return encoded


def their_meter(meter: AnyMeter, command: int) -> Any:
    if isinstance(meter, Meter):
        flags, rate, burst = ofproto.OFPMF_PKTPS, meter.rate_pps, meter.burst_packets
    else:
        flags, rate, burst = ofproto.OFPMF_KBPS, meter.rate_kbps, meter.burst_kbit
    bands = [] if command == ofproto.OFPMC_DELETE else [ofproto_parser.OFPMeterBandDrop(rate, burst)]
    return ofproto_parser.OFPMeterMod(PROTOCOL, command, flags | ofproto.OFPMF_BURST, meter.id, bands)


def their_bytes(message: Any) -> bytes:
    message.set_xid(XID)
    message.serialize()
    return bytes(message.buf)


def whole(message: Message) -> bytes:
    return struct.pack("!BBHI", 4, message.type, 8 + len(message.body), XID) + message.body


@given(operations)
def test_operations_are_written_as_the_framework_writes_them(operation: Operation):
    assert whole(wire.encode(operation)) == their_bytes(their_message(operation))


@given(operations, st.integers(1, 0xFFFF_FFFF))
def test_messages_are_added_to_bundles_as_the_framework_adds_them(operation: Operation, bundle: int):
    theirs = ofproto_parser.ONFBundleAddMsg(PROTOCOL, bundle, bundles.FLAGS, their_message(operation), [])

    assert bundles.added(XID, bundle, *wire.encode(operation)) == their_bytes(theirs)


@pytest.mark.parametrize("step", bundles.Step)
def test_requests_about_bundles_are_written_as_the_framework_writes_them(step: bundles.Step):
    def theirs(kind: int) -> bytes:
        return their_bytes(ofproto_parser.ONFBundleCtrlMsg(PROTOCOL, 9, kind, bundles.FLAGS, []))

    assert bundles.control(XID, 9, step) == theirs(step)
    assert theirs(step + 1)[8:].startswith(bundles.answer(9, step))
    assert bundles.is_control(theirs(step + 1))


# ── what comes back ──────────────────────────────────────────────────────────────────────────────


def reply(kind: int, *entries: bytes) -> bytes:
    """A multipart reply that the channel lets through."""
    body = b"".join(entries)
    message = struct.pack("!BBHIHH4x", 4, ofproto.OFPT_MULTIPART_REPLY, 16 + len(body), XID, kind, 0) + body
    assert check_message(message) == len(entries)
    return message


def flow_entry(message: Any, idle_s: int = 0, hard_s: int = 0) -> bytes:
    """A flow as a switch reports it that keeps what it was sent (section 7.3.5.2)."""
    data = their_bytes(message)
    cookie, table, priority = struct.unpack_from("!Q8xBxxxxxH", data, 8)
    content = data[48:]
    head = struct.pack(
        "!HBxIIHHHH4xQQQ", 48 + len(content), table, 5, 6, priority, idle_s, hard_s, message.flags, cookie, 8, 9
    )
    return head + content


def group_entry(message: Any) -> bytes:
    data = their_bytes(message)
    _, kind, identifier = struct.unpack_from("!HBxI", data, 8)
    return struct.pack("!HBxI", len(data) - 8, kind, identifier) + data[16:]


def meter_entry(message: Any) -> bytes:
    data = their_bytes(message)
    _, flags, identifier = struct.unpack_from("!HHI", data, 8)
    return struct.pack("!HHI", len(data) - 8, flags, identifier) + data[16:]


@given(st.lists(flows, max_size=3))
def test_flows_come_back_as_they_went(sent: list[FlowRule]):
    entries = (flow_entry(their_message(AddFlow(flow))) for flow in sent)

    assert list(flows_in(reply(ofproto.OFPMP_FLOW, *entries))) == sent


@given(st.lists(groups, max_size=3))
def test_groups_come_back_as_they_went(sent: list[Group]):
    entries = (group_entry(their_message(AddGroup(group))) for group in sent)

    assert list(groups_in(reply(ofproto.OFPMP_GROUP_DESC, *entries))) == sent


@given(st.lists(meters, max_size=3))
def test_meters_come_back_as_they_went(sent: list[AnyMeter]):
    entries = (meter_entry(their_message(AddMeter(meter))) for meter in sent)

    assert list(meters_in(reply(ofproto.OFPMP_METER_CONFIG, *entries))) == sent


@given(flows)
def test_cookies_bear_our_tag(flow: FlowRule):
    (cookie,) = struct.unpack_from("!Q", wire.encode(AddFlow(flow)).body)

    assert cookie == flow.cookie
    assert cookie >> 48 == COOKIE_TAG


def test_a_mask_of_all_bits_is_none():
    rule = FlowRule(Table.CLASSIFY, 1, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="10.0.0.1", udp_src=4791))
    said = their_message(AddFlow(rule))
    said.match = ofproto_parser.OFPMatch(
        eth_type=ETH_TYPE_IPV4, ipv4_dst=("10.0.0.1", "255.255.255.255"), udp_src=(4791, 0xFFFF)
    )

    assert list(flows_in(reply(ofproto.OFPMP_FLOW, flow_entry(said)))) == [rule]


@given(ports, st.binary(max_size=2000))
def test_a_packet_out_carries_the_frame_to_the_port(port: int, frame: bytes):
    message = wire.packet_out(port, frame)

    actions = [ofproto_parser.OFPActionOutput(port, 0)]
    theirs = ofproto_parser.OFPPacketOut(PROTOCOL, ofproto.OFP_NO_BUFFER, ofproto.OFPP_CONTROLLER, actions, frame)
    theirs.set_xid(0)
    theirs.serialize()
    assert message == bytes(theirs.buf)
    buffer_id, in_port, action_bytes = struct.unpack_from("!IIH", message, 8)
    assert (buffer_id, in_port, action_bytes) == (ofproto.OFP_NO_BUFFER, ofproto.OFPP_CONTROLLER, 16)
    assert struct.unpack_from("!HHI", message, 24) == (ofproto.OFPAT_OUTPUT, 16, port)
    assert message[40:] == frame


OUTPUT = ofproto_parser.OFPActionOutput
APPLY = ofproto.OFPIT_APPLY_ACTIONS
SET = ofproto_parser.OFPActionSetField


def applying(*actions: Any) -> dict[str, Any]:
    return {"instructions": [ofproto_parser.OFPInstructionActions(APPLY, list(actions))]}


@pytest.mark.parametrize(
    "changes",
    [
        {"cookie": 0x4844_0100_0000_0000},
        {"cookie": 5},
        {"priority": 2},
        {"table_id": 77},
        {"match": ofproto_parser.OFPMatch(in_port=1, vlan_vid=5)},
        {"match": ofproto_parser.OFPMatch(eth_dst=("02:00:00:00:00:00", "ff:00:00:00:00:00"))},
        {"match": ofproto_parser.OFPMatch(eth_type=ETH_TYPE_IPV4, ipv4_dst=("10.0.0.0", "255.0.255.0"))},
        {"instructions": []},
        applying(OUTPUT(PORT_CONTROLLER, 128)),
        applying(ofproto_parser.OFPActionPushMpls()),
        applying(ofproto_parser.OFPActionPushMpls(), OUTPUT(PORT_CONTROLLER)),
        applying(ofproto_parser.OFPActionPushMpls(0x8848), SET(mpls_label=5)),
        applying(ofproto_parser.OFPActionPopMpls(0x86DD)),
        applying(SET(eth_dst="02:00:00:00:00:00")),
        applying(ofproto_parser.OFPActionDecMplsTtl()),
        {"instructions": [ofproto_parser.OFPInstructionActions(ofproto.OFPIT_WRITE_ACTIONS, [OUTPUT(1)])]},
        {"instructions": [ofproto_parser.OFPInstructionWriteMetadata(1, 1)]},
        {"instructions": [ofproto_parser.OFPInstructionGotoTable(77)]},
    ],
)
def test_a_flow_that_was_tampered_with_is_told_from_ours_and_removed_by_what_it_says(changes: dict[str, Any]):
    rule = FlowRule(Table.GUARD, 1, Match(in_port=1), (Output(PORT_CONTROLLER),), role=Role.GUARD)
    good, bad = their_message(AddFlow(rule)), their_message(AddFlow(rule))
    for name, value in changes.items():
        setattr(bad, name, value)

    ours, spoilt = flow_entry(good), flow_entry(bad)
    first, stray, last = flows_in(reply(ofproto.OFPMP_FLOW, ours, spoilt, ours))
    assert (first, last) == (rule, rule)
    if bad.cookie == 5:
        assert stray is None
        return
    assert isinstance(stray, StrayFlow)
    known = bad.table_id in set(Table) and "match" not in changes
    assert stray.key == ((rule.table, bad.priority, rule.match) if known else None)
    removal = ofproto_parser.OFPFlowMod(
        PROTOCOL,
        cookie=bad.cookie,
        cookie_mask=0xFFFF_FFFF_FFFF_FFFF,
        table_id=bad.table_id,
        command=ofproto.OFPFC_DELETE_STRICT,
        priority=bad.priority,
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
        match=bad.match,
    )
    assert whole(wire.encode(RemoveStray(stray))) == their_bytes(removal)


@pytest.mark.parametrize("timeouts_s", [(10, 0), (0, 10)])
def test_a_flow_that_will_vanish_is_not_ours(timeouts_s: tuple[int, int]):
    rule = FlowRule(Table.GUARD, 1, Match(in_port=1))

    (stray,) = flows_in(reply(ofproto.OFPMP_FLOW, flow_entry(their_message(AddFlow(rule)), *timeouts_s)))
    assert isinstance(stray, StrayFlow)
    assert stray.key == rule.key


@given(groups)
def test_a_group_gets_its_content_back_as_the_framework_writes_it(group: Group):
    theirs = their_message(AddGroup(group))
    theirs.command = ofproto.OFPGC_MODIFY

    assert whole(wire.encode(RestoreGroup(group))) == their_bytes(theirs)


def test_groups_and_meters_of_others_are_not_ours_and_of_what_was_changed_the_id_is():
    group = Group(GROUP_ID_BASE, GroupType.SELECT, (Bucket((Output(1),)),))
    meter = Meter(METER_ID_BASE, 100, 10)
    indirect, decapsulating = their_message(AddGroup(group)), their_message(AddGroup(group))
    indirect.type = ofproto.OFPGT_INDIRECT
    decapsulating.buckets[0].actions = [ofproto_parser.OFPActionPopVlan()]
    without_burst, marking, two_bands = (their_message(AddMeter(meter)) for _ in range(3))
    without_burst.flags = ofproto.OFPMF_KBPS
    marking.bands = [ofproto_parser.OFPMeterBandDscpRemark(1, 2, 3)]
    two_bands.bands *= 2

    others = [their_message(AddGroup(replace(group, id=5))), indirect, decapsulating]
    assert list(groups_in(reply(ofproto.OFPMP_GROUP_DESC, *map(group_entry, others)))) == [None] + [group.id] * 2
    others = [their_message(AddMeter(replace(meter, id=5))), without_burst, marking, two_bands]
    assert list(meters_in(reply(ofproto.OFPMP_METER_CONFIG, *map(meter_entry, others)))) == [None] + [meter.id] * 3


def a_port(**changes: Any) -> Any:
    port = {
        "port_no": 3, "hw_addr": "02:00:00:00:00:03", "name": b"s1-eth3", "config": 0, "state": ofproto.OFPPS_LIVE,
        "curr": 0, "advertised": 0, "supported": 0, "peer": 0, "curr_speed": 10_000_000, "max_speed": 0,
    }  # fmt: skip
    return ofproto_parser.OFPPort(**(port | changes))


def test_a_port_is_up_when_it_has_link_and_is_not_switched_off():
    assert wire.read_port(a_port()) == wire.Port(3, "s1-eth3", "02:00:00:00:00:03", True, 10e9)
    assert not wire.read_port(a_port(state=ofproto.OFPPS_LINK_DOWN)).is_up
    assert not wire.read_port(a_port(config=ofproto.OFPPC_PORT_DOWN)).is_up


def test_reserved_ports_are_not_physical():
    assert wire.is_physical(a_port())
    assert not wire.is_physical(a_port(port_no=ofproto.OFPP_LOCAL))
    assert not wire.is_physical(a_port(port_no=0))


def test_an_error_is_told_by_its_names():
    error = ofproto_parser.OFPErrorMsg(PROTOCOL, ofproto.OFPET_BAD_ACTION, ofproto.OFPBAC_BAD_OUT_GROUP)

    assert "OFPET_BAD_ACTION" in wire.describe_error(error)
    assert "OFPBAC_BAD_OUT_GROUP" in wire.describe_error(error)
    assert "999" in wire.describe_error(ofproto_parser.OFPErrorMsg(PROTOCOL, 999, 1))


def test_an_experimenters_error_is_told_by_its_name_where_it_is_about_bundles():
    def told(experimenter: int, number: int) -> str:
        said = {"exp_type": number, "experimenter": experimenter}
        return wire.describe_error(ofproto_parser.OFPErrorMsg(PROTOCOL, ofproto.OFPET_EXPERIMENTER, **said))

    assert told(bundles.ONF, ofproto.ONFERR_ET_MSG_UNSUP) == "OFPET_EXPERIMENTER ONFERR_ET_MSG_UNSUP"
    assert told(0x2320, ofproto.ONFERR_ET_MSG_UNSUP) == "OFPET_EXPERIMENTER 0x00002320 type 2310"


def test_all_of_this_holds_on_the_other_framework_too():
    here = Path(__file__)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not other_framework", str(here)],
        env={**os.environ, "HEDDLE_FRAMEWORK": OTHER},
        cwd=here.parents[3],
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
