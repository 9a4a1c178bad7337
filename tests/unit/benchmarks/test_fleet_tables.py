"""A fake switch's tables keep what they were told, refuse what Open vSwitch refuses, and forward as the rules say."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.channel import messages as of
from benchmarks.fleet.decoding import decode, decode_flow
from benchmarks.fleet.matching import is_within, overlap, read_match
from benchmarks.fleet.openflow import ANY, GROUP_MOD, Refused, parts
from benchmarks.fleet.tables import Tables
from controller import framework
from controller.framework import ofproto, ofproto_parser
from controller.strays import RemoveStray, StrayFlow
from controller.wire import encode
from controller.wire_decode import flows_in, groups_in, meters_in
from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.pipeline import SwitchPipeline
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_LLDP,
    ETH_TYPE_MPLS,
    GROUP_ID_BASE,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    METER_ID_BASE,
    PORT_CONTROLLER,
    PORT_IN_PORT,
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
    SwitchRules,
    Table,
    ToGroup,
)
from dataplane.testing import labelled_paths
from dataplane.update import (
    AddFlow,
    AddGroup,
    AddMeter,
    ChangeMeter,
    Operation,
    RemoveFlow,
    RemoveGroup,
    RemoveMeter,
    apply_operations,
    difference,
)
from topologies.fat_tree import fat_tree

PROTOCOL = framework.Protocol13(framework.OFP_VERSION)
OTHER = "os-ken" if framework.FRAMEWORK == "ryu" else "ryu"
FABRIC = fat_tree(4, capacity_bps=1e9)
GROUPS, METERS = (GROUP_ID_BASE, GROUP_ID_BASE + 1), (METER_ID_BASE, METER_ID_BASE + 1)
ALL_FLOWS = struct.pack("!HH4xB3xII4xQQ", of.FLOW_STATS, 0, 0xFF, ANY, ANY, 0, 0) + struct.pack("!HH4x", 1, 4)
ALL_METERS = struct.pack("!HH4xI4x", of.METER_CONFIG, 0, ANY)

ports = st.integers(1, 100)
labels = st.integers(0, (1 << 20) - 1)
# A mask of 0 asks for nothing, and one of all bits for a port: our rules say both without a mask.
masked = st.builds(lambda value, mask: Masked(value & mask, mask), st.integers(0, 0xFFFF), st.integers(1, 0xFFFE))
prefixes = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/1", "10.1.2.2/31"])
in_ports, any_prefix = st.none() | ports, st.none() | prefixes
match_strategy: st.SearchStrategy[Match] = st.one_of(
    st.builds(Match, in_port=in_ports, eth_src=st.none() | st.just("02:00:00:00:00:01")),
    st.builds(
        Match, in_port=in_ports, eth_type=st.just(ETH_TYPE_IPV4), ipv4_src=prefixes, ipv4_dst=st.none() | prefixes
    ),
    st.builds(
        Match,
        eth_type=st.just(ETH_TYPE_IPV4),
        ip_proto=st.just(IP_PROTO_UDP),
        udp_src=st.none() | masked | st.integers(0, 0xFFFF),
        udp_dst=st.none() | st.just(4791),
    ),
    st.builds(
        Match,
        eth_type=st.just(ETH_TYPE_IPV4),
        ip_proto=st.just(IP_PROTO_TCP),
        tcp_src=st.none() | masked,
        tcp_dst=st.none() | st.just(80),
    ),
    st.builds(Match, in_port=in_ports, eth_type=st.just(ETH_TYPE_ARP), arp_tpa=prefixes),
    st.builds(Match, eth_type=st.just(ETH_TYPE_MPLS), mpls_label=labels),
)
action_lists = st.lists(
    st.one_of(
        (ports | st.sampled_from([PORT_CONTROLLER, PORT_IN_PORT])).map(Output),
        st.sampled_from(GROUPS).map(ToGroup),
        labels.map(PushLabel),
        labels.map(SetLabel),
        st.sampled_from([PopLabel(ETH_TYPE_IPV4), PopLabel(ETH_TYPE_ARP), PopLabel(ETH_TYPE_LLDP)]),
    ),
    max_size=4,
).map(tuple)


@st.composite
def flow_strategy(draw: st.DrawFn) -> FlowRule:
    table = draw(st.sampled_from(Table))
    later = [other for other in Table if other > table]
    return FlowRule(
        table,
        draw(st.integers(0, 5)),
        draw(match_strategy),
        draw(action_lists),
        draw(st.none() | st.sampled_from(later)) if later else None,
        draw(st.none() | st.sampled_from(METERS)),
        draw(st.sampled_from(Role)),
    )


bucket_actions = st.lists(ports.map(Output) | labels.map(PushLabel), max_size=3).map(tuple)
group_strategy = st.builds(
    Group,
    st.sampled_from(GROUPS),
    st.just(GroupType.SELECT),
    st.lists(st.builds(Bucket, bucket_actions, st.none() | ports, st.integers(1, 9)), max_size=4).map(tuple),
) | st.builds(
    Group,
    st.sampled_from(GROUPS),
    st.just(GroupType.FAST_FAILOVER),
    st.lists(st.builds(Bucket, bucket_actions, ports), max_size=4).map(tuple),
)
meter_strategy: st.SearchStrategy[AnyMeter] = st.builds(
    Meter, st.sampled_from(METERS), st.integers(1, 1000), st.integers(1, 1000)
) | st.builds(RateCap, st.sampled_from(METERS), st.integers(1, 1 << 30), st.integers(1, 1 << 30))


@st.composite
def rules_strategy(draw: st.DrawFn) -> SwitchRules:
    """Rules that a switch takes: what they refer to is there."""
    groups = {group.id: group for group in draw(st.lists(group_strategy, min_size=2, max_size=4))}
    meters = {meter.id: meter for meter in draw(st.lists(meter_strategy, min_size=2, max_size=4))}
    used = [
        flow
        for flow in draw(st.lists(flow_strategy(), max_size=12))
        if flow.meter_id in (None, *meters)
        and {action.group_id for action in flow.actions if isinstance(action, ToGroup)} <= groups.keys()
    ]
    flows = {flow.key: flow for flow in used}
    return SwitchRules(frozenset(flows.values()), frozenset(groups.values()), frozenset(meters.values()))


def tell(tables: Tables, operations: Iterable[Operation | RemoveStray]) -> None:
    for operation in operations:
        kind, body = encode(operation)
        tables.change(kind, of.message(kind, body))


def told(operations: Iterable[Operation]) -> Tables:
    tables = Tables()
    tell(tables, operations)
    return tables


def read_by_the_daemon(tables: Tables) -> SwitchRules:
    """What the daemon makes of the switch's own reports."""
    answers = [
        (of.FLOW_STATS, tables.flow_stats(of.message(of.MULTIPART_REQUEST, ALL_FLOWS)), flows_in),
        (of.GROUP_DESC, tables.group_desc(), groups_in),
        (of.METER_CONFIG, tables.meter_config(of.message(of.MULTIPART_REQUEST, ALL_METERS)), meters_in),
    ]
    read = []
    for kind, entries, entries_in in answers:
        wholes = list(parts(kind, entries, 7))
        for whole in wholes:
            assert ofproto_parser.msg_parser(PROTOCOL, whole[0], whole[1], len(whole), 7, whole).msg_len == len(whole)
        read.append(frozenset(entry for whole in wholes for entry in entries_in(whole)))
    return SwitchRules(*read)


@settings(deadline=None, max_examples=40)
@given(rules_strategy())
def test_rules_are_reported_and_read_back_as_they_were_sent(rules: SwitchRules) -> None:
    tables = told(difference(SwitchRules(), rules).additions())
    assert read_by_the_daemon(tables) == rules
    decoded = decode(tables)
    assert decoded.foreign == ()
    assert decoded.rules == rules


@settings(deadline=None, max_examples=40)
@given(rules_strategy(), rules_strategy(), rules_strategy())
def test_changes_leave_what_the_daemon_counts_on(first: SwitchRules, second: SwitchRules, third: SwitchRules) -> None:
    tables = Tables()
    have = SwitchRules()
    for wanted in (first, second, third):
        todo = difference(have, wanted)
        steps: list[Operation] = [
            *map(ChangeMeter, todo.changed_meters),
            *todo.additions(),
            *map(AddFlow, todo.replaced),
            *map(RemoveFlow, todo.remove_flows),
            *map(RemoveGroup, todo.remove_groups),
            *map(RemoveMeter, todo.remove_meters),
        ]
        tell(tables, steps)
        have = apply_operations(have, steps)
        assert decode(tables).rules == have


@settings(deadline=None, max_examples=5)
@given(st.data())
def test_a_fabrics_rules_survive_the_way_through_bytes_and_still_run(data: st.DataObject) -> None:
    paths = data.draw(labelled_paths(FABRIC))
    for name, rules in compile_rules(FABRIC, default=DefaultRouting.ECMP, paths=paths).items():
        tables = told(difference(SwitchRules(), rules).additions())
        assert decode(tables).rules == read_by_the_daemon(tables) == rules
        SwitchPipeline(name, decode(tables).rules)


# ── flows ────────────────────────────────────────────────────────────────────────────────────────

OUT = FlowRule(Table.DEFAULT, 5, Match(in_port=1), (Output(2),))


def flow_mod(flow: FlowRule, command: int, **changes: int) -> bytes:
    """A modification as the framework writes it."""
    said = {"cookie": flow.cookie, "cookie_mask": 0, "flags": 0, "out_port": ANY, "out_group": ANY} | changes
    body = bytearray(encode(AddFlow(flow)).body)
    struct.pack_into("!QQBB", body, 0, said["cookie"], said["cookie_mask"], said.get("table", flow.table), command)
    struct.pack_into("!II", body, 28, said["out_port"], said["out_group"])
    struct.pack_into("!H", body, 36, said["flags"])
    return of.message(of.FLOW_MOD, bytes(body))


def refusal(tables: Tables, whole: bytes) -> tuple[int, int]:
    """Type and code of the error; it leaves everything as it was."""
    before = dict(tables.flows), dict(tables.groups), dict(tables.meters)
    with pytest.raises(Refused) as raised:
        tables.change(whole[1], whole)
    assert (tables.flows, tables.groups, tables.meters) == before
    return raised.value.type, raised.value.code


def test_a_modified_flow_keeps_its_cookie_and_an_added_one_takes_its_place() -> None:
    changed = FlowRule(OUT.table, OUT.priority, OUT.match, (Output(3),))
    tables = told([AddFlow(OUT)])
    tables.change(of.FLOW_MOD, flow_mod(changed, ofproto.OFPFC_MODIFY_STRICT))
    [flow] = tables.flows.values()
    assert flow.cookie == OUT.cookie
    assert decode_flow(flow).actions == (Output(3),)
    tell(tables, [AddFlow(changed)])
    [flow] = tables.flows.values()
    assert flow.cookie == changed.cookie


def test_deletion_without_strictness_hits_all_that_lies_within() -> None:
    wide, narrow = (Match(eth_type=ETH_TYPE_IPV4, ipv4_dst=prefix) for prefix in ("10.0.0.0/8", "10.1.0.0/16"))
    inner, outer = FlowRule(Table.DEFAULT, 9, narrow), FlowRule(Table.DEFAULT, 3, wide)
    tables = told([AddFlow(inner), AddFlow(outer), AddFlow(OUT)])
    tables.change(of.FLOW_MOD, flow_mod(outer, ofproto.OFPFC_DELETE))
    assert decode(tables).rules.flows == {OUT}
    tell(tables, [AddFlow(inner), AddFlow(outer)])
    tables.change(of.FLOW_MOD, flow_mod(outer, ofproto.OFPFC_DELETE_STRICT))
    assert decode(tables).rules.flows == {OUT, inner}


@pytest.mark.parametrize(
    ("filters", "left"), [({"out_port": 2}, 1), ({"out_port": 7}, 2), ({"cookie": 1, "cookie_mask": 1}, None)]
)
def test_deletion_keeps_to_its_filters(filters: dict[str, int], left: int | None) -> None:
    other = FlowRule(Table.DEFAULT, 5, Match(in_port=4), (Output(5),))
    everything = FlowRule(Table.DEFAULT, 0, Match())
    tables = told([AddFlow(OUT), AddFlow(other)])
    tables.change(of.FLOW_MOD, flow_mod(everything, ofproto.OFPFC_DELETE, table=0xFF, **filters))
    odd = sum(flow.cookie & 1 for flow in (OUT, other))
    assert len(tables.flows) == (left if left is not None else 2 - odd)


def test_what_open_vswitch_refuses_is_refused() -> None:
    tables = told([AddFlow(OUT)])
    to_group, metered = (
        FlowRule(Table.DEFAULT, 1, Match(), (ToGroup(GROUPS[0]),)),
        FlowRule(Table.DEFAULT, 1, Match(), (), None, METERS[0]),
    )
    add = ofproto.OFPFC_ADD
    assert refusal(tables, flow_mod(to_group, add)) == (ofproto.OFPET_BAD_ACTION, ofproto.OFPBAC_BAD_OUT_GROUP)
    assert refusal(tables, flow_mod(metered, add)) == (ofproto.OFPET_METER_MOD_FAILED, ofproto.OFPMMFC_INVALID_METER)
    backwards = FlowRule(Table.DEFAULT, 1, Match(), (), Table.GUARD)
    assert refusal(tables, flow_mod(backwards, add))[0] == ofproto.OFPET_BAD_INSTRUCTION
    crossing = FlowRule(OUT.table, OUT.priority, Match(eth_src="02:00:00:00:00:01"), (Output(3),))
    overlapping = flow_mod(crossing, add, flags=ofproto.OFPFF_CHECK_OVERLAP)
    assert refusal(tables, overlapping) == (ofproto.OFPET_FLOW_MOD_FAILED, ofproto.OFPFMFC_OVERLAP)
    unfounded = FlowRule(Table.DEFAULT, 1, Match(ipv4_dst="10.0.0.1"))
    assert refusal(tables, flow_mod(unfounded, add)) == (ofproto.OFPET_BAD_MATCH, ofproto.OFPBMC_BAD_PREREQ)
    assert refusal(tables, flow_mod(OUT, 9)) == (ofproto.OFPET_FLOW_MOD_FAILED, ofproto.OFPFMFC_BAD_COMMAND)


def test_a_foreign_flow_is_reported_and_taken_away_by_what_it_says() -> None:
    tables = told([AddFlow(OUT)])
    tables.change(of.FLOW_MOD, flow_mod(OUT, ofproto.OFPFC_ADD, cookie=77))
    [foreign] = decode(tables).rules.flows
    assert foreign.cookie != 77
    [entry] = tables.flow_stats(of.message(of.MULTIPART_REQUEST, ALL_FLOWS))
    assert entry[24:32] == (77).to_bytes(8)


# ── groups and meters ────────────────────────────────────────────────────────────────────────────


def test_with_a_group_or_meter_go_the_flows_that_use_it() -> None:
    group, meter = Group(GROUPS[0], GroupType.SELECT, ()), Meter(METERS[0], 1, 1)
    to_group = FlowRule(Table.DEFAULT, 1, Match(), (ToGroup(group.id),))
    metered = FlowRule(Table.DEFAULT, 2, Match(), (), None, meter.id)
    tables = told([AddGroup(group), AddMeter(meter), AddFlow(to_group), AddFlow(metered), AddFlow(OUT)])
    tell(tables, [RemoveGroup(group)])
    assert decode(tables).rules == SwitchRules(frozenset({metered, OUT}), frozenset(), frozenset({meter}))
    tell(tables, [RemoveMeter(meter)])
    assert decode(tables).rules == SwitchRules(frozenset({OUT}))


def test_groups_and_meters_that_are_there_are_not_added_and_those_that_are_not_are_not_changed() -> None:
    group, meter = Group(GROUPS[0], GroupType.SELECT, ()), Meter(METERS[0], 1, 1)
    tables = told([AddGroup(group), AddMeter(meter)])
    for operation, kind, code in (
        (AddGroup(group), ofproto.OFPET_GROUP_MOD_FAILED, ofproto.OFPGMFC_GROUP_EXISTS),
        (AddMeter(meter), ofproto.OFPET_METER_MOD_FAILED, ofproto.OFPMMFC_METER_EXISTS),
        (ChangeMeter(Meter(METERS[1], 1, 1)), ofproto.OFPET_METER_MOD_FAILED, ofproto.OFPMMFC_UNKNOWN_METER),
    ):
        message = encode(operation)
        assert refusal(tables, of.message(message.type, message.body)) == (kind, code)
    changed = encode(AddGroup(Group(GROUPS[1], GroupType.SELECT, ()))).body
    unknown = of.message(GROUP_MOD, struct.pack("!H", ofproto.OFPGC_MODIFY) + changed[2:])
    assert refusal(tables, unknown) == (ofproto.OFPET_GROUP_MOD_FAILED, ofproto.OFPGMFC_UNKNOWN_GROUP)
    chained = encode(AddGroup(Group(GROUPS[1], GroupType.SELECT, (Bucket((ToGroup(7),)),))))
    assert refusal(tables, of.message(chained.type, chained.body))[0] == ofproto.OFPET_BAD_ACTION


# ── matches ──────────────────────────────────────────────────────────────────────────────────────


@given(match_strategy, match_strategy)
def test_what_lies_within_another_match_overlaps_it(one: Match, other: Match) -> None:
    fields, wider = (read_match(encode(AddFlow(FlowRule(Table.GUARD, 0, each))).body[40:]) for each in (one, other))
    assert is_within(fields, fields)
    assert overlap(fields, wider) is overlap(wider, fields)
    if is_within(fields, wider):
        assert overlap(fields, wider)
    assert is_within(fields, ())


def test_a_flow_under_our_mark_with_other_content_is_taken_away_alone_by_what_is_said_of_it() -> None:
    changed = FlowRule(OUT.table, OUT.priority, OUT.match, (Output(3),))
    other = FlowRule(OUT.table, 6, OUT.match, OUT.actions)
    tables = told([AddFlow(OUT), AddFlow(other)])
    tables.change(of.FLOW_MOD, flow_mod(changed, ofproto.OFPFC_MODIFY_STRICT))
    [whole] = parts(of.FLOW_STATS, tables.flow_stats(of.message(of.MULTIPART_REQUEST, ALL_FLOWS)), 7)
    [stray] = (entry for entry in flows_in(whole) if isinstance(entry, StrayFlow))
    tell(tables, [RemoveStray(stray)])
    assert decode(tables).rules.flows == {other}


def test_removals_take_one_flow_each() -> None:
    tables = told([AddFlow(OUT)])
    tell(tables, [RemoveFlow(OUT)])
    assert not tables.flows


@pytest.mark.skipif("HEDDLE_OTHER_FRAMEWORK" in os.environ, reason="this is the other one")
def test_all_of_this_holds_on_the_other_framework_too() -> None:
    environment = os.environ | {"HEDDLE_FRAMEWORK": OTHER, "HEDDLE_OTHER_FRAMEWORK": "1"}
    command = [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", str(Path(__file__))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout
