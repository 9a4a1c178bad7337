"""What is read of flows, groups and meters as Open vSwitch prints them."""

from __future__ import annotations

import pytest

from benchmarks.dataplane.switchrules import Held
from benchmarks.dataplane.tampering import TAMPERINGS, label_forwarded_on, label_pushed, role_of
from dataplane.rules import Role

MARKS = (
    "cookie=0x48440205d0c0ffee, table=1, priority=100,ip,nw_src=10.0.0.2,nw_dst=10.1.0.2 "
    "actions=push_mpls:0x8847,set_field:16->mpls_label,goto_table:2"
)
FORWARDS = "cookie=0x48440305d0c0ffee, table=2, priority=100,mpls,mpls_label=17 actions=pop_mpls:0x0800,output:1"
DETOURS = "cookie=0x48440505d0c0ffee, table=2, priority=100,mpls,mpls_label=1048575 actions=pop_mpls:0x0800,output:1"
RETURNS = "cookie=0x484403556ff02464, table=2, priority=200,mpls,mpls_label=14 actions=pop_mpls:0x88cc,IN_PORT"
DEFAULT = "cookie=0x48440405d0c0ffee, table=3, priority=116,ip,nw_dst=10.2.0.0/16 actions=group:1215206107"
FOREIGN = "cookie=0xbeef, table=2, priority=7,mpls,mpls_label=18 actions=drop"
HELD = Held(
    dict.fromkeys((MARKS, FORWARDS, DETOURS, RETURNS, DEFAULT, FOREIGN), 1.0),
    frozenset({"group_id=1215206107,type=ff,bucket=watch_port:3,actions=output:3"}),
    frozenset(
        {"18432 pktps burst stats bands= type=drop rate=1000", "18433 pktps burst stats bands= type=drop rate=100"}
    ),
    {1215206107: 1.0},
)


@pytest.mark.parametrize(
    ("flow", "role"), [(MARKS, Role.CLASSIFY), (FORWARDS, Role.TRANSIT), (DETOURS, Role.DETOUR), (FOREIGN, None)]
)
def test_what_a_flow_is_for_is_read_from_its_cookie(flow: str, role: Role | None) -> None:
    assert role_of(flow) is role


def test_only_labels_of_planned_paths_count() -> None:
    assert [label_forwarded_on(flow) for flow in HELD.flows] == [None, 17, None, None, None, None]
    assert [label_pushed(flow) for flow in HELD.flows] == [16, None, None, None, None, None]


def test_each_kind_finds_what_it_needs_and_leaves_the_rest_alone() -> None:
    assert {tampering.what: list(tampering.find(HELD)) for tampering in TAMPERINGS} == {
        "a planned flow deleted": ["table=2, priority=100,mpls,mpls_label=17"],
        "a planned flow altered": ["table=1, priority=100,ip,nw_src=10.0.0.2,nw_dst=10.1.0.2 actions=drop"],
        "a default flow deleted": ["table=3, priority=116,ip,nw_dst=10.2.0.0/16"],
        "a group deleted, its flows with it": ["group_id=1215206107"],
        "a group altered": ["group_id=1215206107,type=ff"],
        "a meter deleted, its flows with it": ["meter=18433"],
        "a meter altered": ["meter=18433,pktps,burst,band=type=drop,rate=7,burst_size=7"],
    }
