"""Rules do in memory what a switch would do with them."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dataplane.pipeline import Packet, RuleError, SwitchPipeline, arp_packet, ipv4_packet
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    GROUP_ID_BASE,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    PORT_IN_PORT,
    Action,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Masked,
    Match,
    Output,
    PopLabel,
    PushLabel,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)

ME, YOU = ("02:00:00:00:00:01", "10.0.0.1"), ("02:00:00:00:00:02", "10.0.0.2")
PLAIN = ipv4_packet(ME, YOU)
LABELLED = Packet(ME[0], YOU[0], ETH_TYPE_IPV4, ME[1], YOU[1], labels=(77,))
GROUP = GROUP_ID_BASE


def pipeline(*rules: FlowRule, groups: tuple[Group, ...] = ()) -> SwitchPipeline:
    return SwitchPipeline("s1", SwitchRules(frozenset(rules), frozenset(groups)))


def rule(match: Match, *actions: Action, priority: int = 5) -> FlowRule:
    return FlowRule(Table.GUARD, priority, match, actions)


def ports(switch: SwitchPipeline, packet: Packet, in_port: int = 9, dead: frozenset[int] = frozenset()) -> set[int]:
    return {emission.port for sent in switch.process(packet, in_port, dead) for emission in sent}


def grouped(kind: GroupType, *buckets: Bucket, match: Match | None = None) -> SwitchPipeline:
    group = Group(GROUP, kind, buckets)
    return pipeline(rule(match or Match(), ToGroup(GROUP)), groups=(group,))


addresses = st.integers(0, (1 << 32) - 1).map(lambda number: str(IPv4Address(number)))


@given(addresses, addresses, st.integers(1, 31), st.sampled_from(["ipv4_src", "ipv4_dst", "arp_tpa"]))
def test_a_prefix_matches_the_addresses_that_the_standard_library_counts_in(
    address: str, within: str, length: int, field: str
) -> None:
    network = IPv4Network(f"{within}/{length}", strict=False)
    kind = ETH_TYPE_ARP if field == "arp_tpa" else ETH_TYPE_IPV4
    switch = pipeline(rule(Match(eth_type=kind, **{field: str(network)}), Output(1)))
    packet = {
        "ipv4_src": ipv4_packet(("", address), YOU),
        "ipv4_dst": ipv4_packet(ME, ("", address)),
        "arp_tpa": arp_packet(ME, address),
    }[field]
    assert ports(switch, packet) == ({1} if IPv4Address(address) in network else set())


@given(st.integers(0, 0xFFFF), st.integers(1, 0xFFFE), st.integers(0, 0xFFFF), st.booleans())
def test_a_masked_port_matches_the_ports_that_agree_in_the_masks_bits(
    value: int, mask: int, port: int, tcp: bool
) -> None:
    masked = Masked(value & mask, mask)
    proto = IP_PROTO_TCP if tcp else IP_PROTO_UDP
    match = Match(eth_type=ETH_TYPE_IPV4, ip_proto=proto, **{"tcp_src" if tcp else "udp_src": masked})
    switch = pipeline(rule(match, Output(1)))
    matched = {1} if port & mask == value & mask else set()
    assert ports(switch, ipv4_packet(ME, YOU, ip_proto=proto, src_port=port)) == matched
    assert ports(switch, ipv4_packet(ME, YOU, ip_proto=IP_PROTO_TCP + IP_PROTO_UDP - proto, src_port=port)) == set()
    assert ports(switch, PLAIN) == set()


def test_ports_decide_by_protocol_and_the_higher_priority_first() -> None:
    roce = Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_UDP, udp_dst=4791)
    switch = pipeline(
        rule(roce, Output(1), priority=7),
        rule(Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_UDP), Output(2), priority=6),
        rule(Match(), Output(3)),
    )
    sent = [
        ports(switch, ipv4_packet(ME, YOU, ip_proto=proto, src_port=1, dst_port=port))
        for proto, port in ((IP_PROTO_UDP, 4791), (IP_PROTO_UDP, 4792), (IP_PROTO_TCP, 4791))
    ]
    assert sent == [{1}, {2}, {3}]


matches = st.one_of(
    st.builds(
        lambda address, length: Match(
            eth_type=ETH_TYPE_IPV4, ipv4_dst=str(IPv4Network(f"{address}/{length}", strict=False))
        ),
        st.sampled_from(["10.0.0.0", "10.0.255.0", "10.1.0.0"]),
        st.integers(8, 31),
    ),
    st.builds(
        lambda value, mask: Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_UDP, udp_src=Masked(value & mask, mask)),
        st.integers(0, 7),
        st.integers(1, 7),
    ),
    st.builds(
        lambda address: Match(eth_type=ETH_TYPE_IPV4, ipv4_dst=address), st.sampled_from(["10.0.0.1", "10.1.0.1"])
    ),
    st.builds(lambda port: Match(in_port=port), st.integers(1, 2)),
)


@given(matches, matches)
def test_two_rules_of_one_priority_are_refused_exactly_where_one_packet_meets_both(one: Match, other: Match) -> None:
    assume(one != other)
    candidates = [
        (ipv4_packet(ME, ("", str(IPv4Address(address))), ip_proto=IP_PROTO_UDP, src_port=port), in_port)
        for start in ("10.0.0.0", "10.0.255.0", "10.1.0.0")
        for address in range(int(IPv4Address(start)), int(IPv4Address(start)) + 2)
        for port in range(8)
        for in_port in (1, 2)
    ]
    alone = [pipeline(rule(match, Output(3))) for match in (one, other)]
    both = any(all(ports(switch, *candidate) for switch in alone) for candidate in candidates)
    if both:
        with pytest.raises(RuleError, match="two rules of one priority"):
            pipeline(rule(one, Output(3)), rule(other, Output(4)))
    else:
        pipeline(rule(one, Output(3)), rule(other, Output(4)))


def test_fast_failover_takes_the_first_bucket_that_lives() -> None:
    buckets = [Bucket((Output(port),), watch_port=port) for port in (1, 2)]
    switch = grouped(GroupType.FAST_FAILOVER, *buckets, Bucket((Output(3),)))
    dead = [frozenset(), frozenset({1}), frozenset({1, 2}), frozenset({2})]
    assert [ports(switch, PLAIN, dead=ports_down) for ports_down in dead] == [{1}, {2}, {3}, {1}]


def test_a_group_without_a_live_bucket_drops() -> None:
    for kind in GroupType:
        switch = grouped(kind, Bucket((Output(1),), watch_port=1))
        assert switch.process(PLAIN, 9, frozenset({1})) == {()}


def test_select_may_take_any_bucket_that_lives_whatever_its_weight() -> None:
    buckets = [Bucket((Output(port),), watch_port=port, weight=port) for port in (1, 2, 3)]
    switch = grouped(GroupType.SELECT, *buckets)
    assert ports(switch, PLAIN) == {1, 2, 3}
    assert ports(switch, PLAIN, dead=frozenset({2})) == {1, 3}


def test_a_packet_leaves_by_the_port_where_it_came_in_only_when_that_is_said() -> None:
    assert pipeline(rule(Match(), Output(9))).process(PLAIN, 9) == {()}
    assert ports(pipeline(rule(Match(), Output(PORT_IN_PORT))), PLAIN) == {9}


def test_a_detour_swaps_the_label_and_its_end_takes_it_off() -> None:
    labelled = Match(eth_type=ETH_TYPE_MPLS, mpls_label=77)
    switch = grouped(
        GroupType.FAST_FAILOVER,
        Bucket((Output(1),), watch_port=1),
        Bucket((SetLabel(99), Output(2)), watch_port=2),
        match=labelled,
    )
    (((emission,),),) = [switch.process(LABELLED, 9, frozenset({1}))]
    assert (emission.port, emission.packet.labels) == (2, (99,))
    end = pipeline(rule(labelled, PopLabel(), Output(4)))
    (((emission,),),) = [end.process(LABELLED, 9)]
    assert emission.packet == PLAIN


def test_a_group_changes_a_copy() -> None:
    switch = pipeline(
        rule(Match(), ToGroup(GROUP), Output(2)),
        groups=(Group(GROUP, GroupType.SELECT, (Bucket((PushLabel(16), Output(1))),)),),
    )
    ((first, second),) = switch.process(PLAIN, 9)
    assert (first.packet.labels, second.packet.labels) == ((16,), ())


@pytest.mark.parametrize(
    ("packet", "actions"),
    [
        (LABELLED, (PopLabel(ETH_TYPE_ARP),)),
        (Packet(ME[0], YOU[0], ETH_TYPE_ARP, labels=(77,)), (PopLabel(),)),
        (PLAIN, (PopLabel(),)),
        (PLAIN, (SetLabel(16),)),
        (LABELLED, (PushLabel(16), PopLabel())),
    ],
    ids=str,
)
def test_a_label_that_is_not_there_or_hides_something_else_is_a_fault(packet: Packet, actions: tuple) -> None:
    with pytest.raises(RuleError, match="makes nonsense of it"):
        pipeline(rule(Match(), *actions, Output(1))).process(packet, 9)


@pytest.mark.parametrize(
    ("match", "complaint"),
    [
        (Match(ipv4_dst="10.0.0.0/8"), "ipv4_dst needs eth_type=0x0800"),
        (Match(eth_type=ETH_TYPE_IPV4, arp_tpa="10.0.0.1"), "arp_tpa needs eth_type=0x0806"),
        (Match(ip_proto=IP_PROTO_TCP), "ip_proto needs eth_type=0x0800"),
        (Match(eth_type=ETH_TYPE_IPV4, tcp_src=80), "tcp_src needs ip_proto=0x0006"),
        (Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_TCP, udp_dst=80), "udp_dst needs ip_proto=0x0011"),
        (Match(mpls_label=16), "mpls_label needs eth_type=0x8847"),
        (Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="10.0.0.1/8"), "bits set behind"),
        (Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="10.0.0.1/32"), "no length from 1 to 31"),
        (Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="0.0.0.0/0"), "no length from 1 to 31"),
        (Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="10.0.0/24"), "Expected 4 octets"),
        (Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_TCP, tcp_src=Masked(3, 1)), "not the form of some ports"),
        (Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_TCP, tcp_src=Masked(80, 0xFFFF)), "single port as a number"),
    ],
    ids=str,
)
def test_a_match_that_a_switch_would_refuse_or_report_otherwise_is_refused(match: Match, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        pipeline(rule(match, Output(1)))


def test_a_group_that_hands_on_to_a_group_is_refused() -> None:
    with pytest.raises(RuleError, match="hands on to a group"):
        grouped(GroupType.SELECT, Bucket((ToGroup(GROUP),)))
