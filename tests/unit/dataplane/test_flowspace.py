"""Flows of a pair, shared out among rules: as a switch does it, flow by flow."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.flowspace import Flow, apart, looks_at_flows, share_out
from dataplane.pipeline import SwitchPipeline, ipv4_packet
from dataplane.rules import (
    ETH_TYPE_IPV4,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    FlowRule,
    Masked,
    Match,
    Output,
    SwitchRules,
    Table,
)

ENDS = ("", "10.0.0.1"), ("", "10.0.0.2")
MASKED = st.tuples(st.integers(0, 7), st.integers(1, 7)).map(lambda drawn: Masked(drawn[0] & drawn[1], drawn[1]))


@st.composite
def matches(draw: st.DrawFn) -> Match:
    """TCP, UDP or all packets, ports whole, in part or not at all."""
    ports = draw(st.none() | st.integers(0, 7) | MASKED)
    match draw(st.sampled_from([None, IP_PROTO_TCP, IP_PROTO_UDP])):
        case 6:
            return Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_TCP, tcp_src=ports)
        case 17:
            wanted = draw(st.none() | st.just(4791))
            return Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_UDP, udp_src=ports, udp_dst=wanted)
    return Match(eth_type=ETH_TYPE_IPV4)


@st.composite
def tables(draw: st.DrawFn) -> list[FlowRule]:
    """Rules by falling priority."""
    drawn = draw(st.lists(matches(), max_size=6))
    return [
        FlowRule(Table.GUARD, 100 - place, match, (Output(place + 1),)) for place, match in enumerate(drawn)
    ]  # fmt: skip


@given(tables())
@settings(max_examples=200)
def test_each_flow_that_is_told_meets_its_rule(rules: list[FlowRule]) -> None:
    pipeline = SwitchPipeline("s1", SwitchRules(frozenset(rules)))
    for rule, flow in share_out(rules):
        packet = ipv4_packet(*ENDS, ip_proto=flow.ip_proto, src_port=flow.src_port, dst_port=flow.dst_port)
        assert pipeline.lookup(Table.GUARD, packet, 9) == rule


@given(tables())
@settings(max_examples=100)
def test_no_rule_that_some_flow_meets_is_left_out(rules: list[FlowRule]) -> None:
    pipeline = SwitchPipeline("s1", SwitchRules(frozenset(rules)))
    met = {rule for rule, _ in share_out(rules)}
    for ip_proto in (IP_PROTO_TCP, IP_PROTO_UDP, 1):
        for src_port in range(8):
            for dst_port in (4791, 80):
                packet = ipv4_packet(*ENDS, ip_proto=ip_proto, src_port=src_port, dst_port=dst_port)
                assert pipeline.lookup(Table.GUARD, packet, 9) in met


def test_a_rule_behind_others_that_take_all_of_it_is_met_by_nobody() -> None:
    halves = [Match(eth_type=ETH_TYPE_IPV4, ip_proto=17, udp_src=Masked(value, 1)) for value in (0, 1)]
    all_udp = Match(eth_type=ETH_TYPE_IPV4, ip_proto=17)
    rules = [FlowRule(Table.CLASSIFY, 9 - place, match) for place, match in enumerate([*halves, all_udp])]
    assert [rule for rule, _ in share_out(rules)] == [*rules[:2], None]


def test_without_rules_any_flow_is_left() -> None:
    assert share_out([]) == [(None, Flow(0, 0, 0))]
    assert looks_at_flows(Match(eth_type=ETH_TYPE_IPV4, ip_proto=6))
    assert not looks_at_flows(Match(eth_type=ETH_TYPE_IPV4))


@given(tables())
def test_flows_apart_meet_all_that_any_flow_can(rules: list[FlowRule]) -> None:
    alone = [SwitchPipeline("s1", SwitchRules(frozenset({rule}))) for rule in rules]

    def met(flow: Flow) -> tuple[bool, ...]:
        packet = ipv4_packet(*ENDS, ip_proto=flow.ip_proto, src_port=flow.src_port, dst_port=flow.dst_port)
        return tuple(pipeline.lookup(Table.GUARD, packet, 9) is not None for pipeline in alone)

    told = {met(flow) for flow in apart(rule.match for rule in rules)}
    for ip_proto in (IP_PROTO_TCP, IP_PROTO_UDP, 1):
        for src_port in range(8):
            assert {met(Flow(ip_proto, src_port, 4791)), met(Flow(ip_proto, src_port, 80))} <= told
