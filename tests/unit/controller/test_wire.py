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

from controller import framework, wire
from controller.framework import ofproto, ofproto_parser
from controller.wire_rules import decode_flow, decode_group, decode_meter
from dataplane.rules import (
    COOKIE_TAG,
    GROUP_ID_BASE,
    GROUP_ID_END,
    METER_ID_BASE,
    METER_ID_END,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Match,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    Role,
    Table,
    ToGroup,
)
from dataplane.update import AddFlow, AddGroup, AddMeter, Operation, RemoveFlow, RemoveGroup, RemoveMeter

PROTOCOL = framework.Protocol13(framework.OFP_VERSION)
OTHER = "os-ken" if framework.FRAMEWORK == "ryu" else "ryu"

ports = st.integers(1, ofproto.OFPP_MAX)
labels = st.integers(0, (1 << 20) - 1)
group_ids = st.integers(GROUP_ID_BASE, GROUP_ID_END - 1)
meter_ids = st.integers(METER_ID_BASE, METER_ID_END - 1)
macs = st.binary(min_size=6, max_size=6).map(lambda mac: mac.hex(":"))
ips = st.ip_addresses(v=4).map(str)
actions: st.SearchStrategy[Action] = st.one_of(
    (ports | st.sampled_from([PORT_CONTROLLER, PORT_IN_PORT])).map(Output),
    group_ids.map(ToGroup),
    labels.map(PushLabel),
    st.just(PopLabel()),
)
action_lists = st.lists(actions, max_size=5).map(tuple)
matches = st.builds(
    Match,
    in_port=st.none() | ports,
    eth_src=st.none() | macs,
    eth_dst=st.none() | macs,
    eth_type=st.none() | st.integers(0, 0xFFFF),
    ipv4_src=st.none() | ips,
    ipv4_dst=st.none() | ips,
    arp_spa=st.none() | ips,
    arp_sha=st.none() | macs,
    arp_tpa=st.none() | ips,
    mpls_label=st.none() | labels,
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
meters = st.builds(Meter, id=meter_ids, rate_pps=st.integers(1, 0xFFFF_FFFF), burst_packets=st.integers(0, 0xFFFF_FFFF))


def sent(message: Any) -> bytes:
    """What goes over the wire."""
    message.set_xid(7)
    message.serialize()
    return bytes(message.buf)


def parse(data: bytes) -> Any:
    return ofproto_parser.msg_parser(PROTOCOL, data[0], data[1], len(data), 7, data)


def through_bytes(operation: Operation) -> Any:
    """The message of an operation, as the framework's parser reads its bytes (of flows only; others it cannot)."""
    return parse(sent(wire.encode(PROTOCOL, operation)))


def stored(operation: AddGroup | AddMeter) -> Any:
    """A group or meter as a switch reports it that keeps what it was sent."""
    data = sent(wire.encode(PROTOCOL, operation))
    content = data[16:]
    if isinstance(operation, AddGroup):
        kind = ofproto.OFPMP_GROUP_DESC
        command, type_, identifier = struct.unpack_from("!HBxI", data, 8)
        entry = struct.pack("!HBxI", 8 + len(content), type_, identifier) + content
    else:
        kind = ofproto.OFPMP_METER_CONFIG
        command, flags, identifier = struct.unpack_from("!HHI", data, 8)
        entry = struct.pack("!HHI", 8 + len(content), flags, identifier) + content
    assert command == 0
    header = struct.pack("!BBHIHH4x", 4, ofproto.OFPT_MULTIPART_REPLY, 16 + len(entry), 7, kind, 0)
    (read,) = parse(header + entry).body
    return read


def a_flow(**changes: Any) -> Any:
    """A flow entry of ours as a switch would report it, but for the changes."""
    rule = FlowRule(Table.GUARD, 1, Match(in_port=1), (Output(PORT_CONTROLLER),), role=Role.GUARD)
    entry = through_bytes(AddFlow(rule))
    for name, value in changes.items():
        setattr(entry, name, value)
    return entry


@given(flows)
def test_a_flow_comes_back_as_it_went(flow: FlowRule):
    message = through_bytes(AddFlow(flow))

    assert message.command == ofproto.OFPFC_ADD
    assert (message.flags, message.idle_timeout, message.hard_timeout) == (0, 0, 0)
    assert message.cookie >> 48 == COOKIE_TAG
    assert decode_flow(message) == flow


@given(flows)
def test_removing_a_flow_names_its_key_and_its_whole_cookie(flow: FlowRule):
    message = through_bytes(RemoveFlow(flow))

    assert message.command == ofproto.OFPFC_DELETE_STRICT
    assert (message.table_id, message.priority) == (flow.table, flow.priority)
    assert (message.cookie, message.cookie_mask) == (flow.cookie, 0xFFFF_FFFF_FFFF_FFFF)
    assert dict(message.match.items()) == dict(through_bytes(AddFlow(flow)).match.items())
    assert (message.out_port, message.out_group) == (ofproto.OFPP_ANY, ofproto.OFPG_ANY)


@given(groups)
def test_a_group_comes_back_as_it_went(group: Group):
    assert decode_group(stored(AddGroup(group))) == group


@given(groups)
def test_a_group_is_removed_by_its_id(group: Group):
    removal = sent(wire.encode(PROTOCOL, RemoveGroup(group)))

    assert struct.unpack_from("!HBxI", removal, 8) == (ofproto.OFPGC_DELETE, group.type, group.id)
    assert len(removal) == 16


@given(meters)
def test_a_meter_comes_back_as_it_went(meter: Meter):
    assert decode_meter(stored(AddMeter(meter))) == meter


@given(meters)
def test_a_meter_is_removed_by_its_id(meter: Meter):
    removal = sent(wire.encode(PROTOCOL, RemoveMeter(meter)))

    command, _, identifier = struct.unpack_from("!HHI", removal, 8)
    assert (command, identifier) == (ofproto.OFPMC_DELETE, meter.id)


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


@pytest.mark.parametrize(
    "changes",
    [
        {"cookie": 0x4844_0100_0000_0000},
        {"priority": 2},
        {"idle_timeout": 10},
        {"hard_timeout": 10},
        {"table_id": 77},
        {"match": ofproto_parser.OFPMatch(in_port=1, vlan_vid=5)},
        {"match": ofproto_parser.OFPMatch(eth_dst=("02:00:00:00:00:00", "ff:00:00:00:00:00"))},
        {"instructions": []},
        {"instructions": [ofproto_parser.OFPInstructionActions(APPLY, [OUTPUT(PORT_CONTROLLER, 128)])]},
        {"instructions": [ofproto_parser.OFPInstructionActions(APPLY, [ofproto_parser.OFPActionPushMpls()])]},
        {"instructions": [ofproto_parser.OFPInstructionActions(ofproto.OFPIT_WRITE_ACTIONS, [OUTPUT(1)])]},
        {"instructions": [ofproto_parser.OFPInstructionWriteMetadata(1, 1)]},
    ],
)
def test_a_flow_that_was_tampered_with_is_not_ours(changes: dict[str, Any]):
    assert decode_flow(a_flow()) is not None
    assert decode_flow(a_flow(**changes)) is None


def test_groups_and_meters_of_others_are_not_ours():
    group = Group(GROUP_ID_BASE, GroupType.SELECT, (Bucket((Output(1),)),))
    meter = Meter(METER_ID_BASE, 100, 10)

    assert decode_group(stored(AddGroup(replace(group, id=5)))) is None
    assert decode_meter(stored(AddMeter(replace(meter, id=5)))) is None
    in_kbps = stored(AddMeter(meter))
    in_kbps.flags = ofproto.OFPMF_KBPS
    assert decode_meter(in_kbps) is None


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
