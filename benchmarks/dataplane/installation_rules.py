"""Ten thousand rules of one switch, of all kinds that a planned fabric has: many leaves' worth, to make it long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    GROUP_ID_BASE,
    IP_PROTO_UDP,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Masked,
    Match,
    Output,
    PopLabel,
    PushLabel,
    Role,
    SetLabel,
    Table,
    ToGroup,
)

PORTS = (1, 2)
"""Ports of the switch; rules lead to these."""
_GROUPS = 64
_ROCE = 4791


def groups() -> tuple[Group, ...]:
    """Select groups, and fast-failover groups with a detour."""
    first, second = PORTS
    return tuple(
        Group(
            GROUP_ID_BASE + number,
            GroupType.SELECT,
            (Bucket((Output(first),), first), Bucket((Output(second),), second, 1 + number)),
        )
        if number % 2
        else Group(
            GROUP_ID_BASE + number,
            GroupType.FAST_FAILOVER,
            (Bucket((Output(first),), first), Bucket((PushLabel(900_000 + number), Output(second)), second)),
        )
        for number in range(_GROUPS)
    )


def base_flows() -> tuple[FlowRule, ...]:
    """What carries the packets of `numbered_packets` through all tables, from the first port to the second."""
    first, second = PORTS
    sender, receiver = "192.0.2.1", "192.0.2.2"
    source = Match(in_port=first, eth_src="02:00:00:00:00:01", eth_type=ETH_TYPE_IPV4, ipv4_src=sender)
    return (
        FlowRule(Table.GUARD, 30, source, goto=Table.CLASSIFY, role=Role.GUARD),
        FlowRule(Table.CLASSIFY, 0, Match(), goto=Table.TRANSIT, role=Role.CLASSIFY),
        FlowRule(Table.TRANSIT, 0, Match(), goto=Table.DEFAULT, role=Role.TRANSIT),
        FlowRule(Table.DEFAULT, 132, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst=receiver), (Output(second),)),
    )


def flows(count: int) -> tuple[FlowRule, ...]:
    """So many rules, all different: of ten, three in the guard and in the classify table each, two in each behind."""
    return tuple(rule for _, rule in zip(range(count), _endless(), strict=False))


def _endless() -> Iterator[FlowRule]:
    number = 0
    while True:
        here, there = _address(10, number), _address(11, number)
        mac = f"02:00:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        port, group = PORTS[number % 2], ToGroup(GROUP_ID_BASE + number % _GROUPS)
        label = 16 + number
        pair = Match(eth_type=ETH_TYPE_IPV4, ipv4_src=here, ipv4_dst=there)
        yield FlowRule(
            Table.GUARD, 30, Match(in_port=port, eth_src=mac, eth_type=ETH_TYPE_IPV4, ipv4_src=here),
            goto=Table.CLASSIFY, role=Role.GUARD,
        )  # fmt: skip
        yield FlowRule(
            Table.GUARD, 30, Match(in_port=port, eth_src=mac, eth_type=ETH_TYPE_ARP, arp_spa=here, arp_sha=mac),
            goto=Table.DEFAULT, role=Role.GUARD,
        )  # fmt: skip
        yield FlowRule(
            Table.GUARD, 29, Match(in_port=3 - port, eth_type=ETH_TYPE_MPLS, mpls_label=label),
            goto=Table.TRANSIT, role=Role.GUARD,
        )  # fmt: skip
        yield FlowRule(Table.CLASSIFY, 10, pair, (PushLabel(label), Output(port)), role=Role.CLASSIFY)
        for half in (0, 1):
            yield FlowRule(
                Table.CLASSIFY, 20,
                replace(pair, ip_proto=IP_PROTO_UDP, udp_src=Masked(half, 1), udp_dst=_ROCE),
                (PushLabel(label + half), group), role=Role.CLASSIFY,
            )  # fmt: skip
        yield FlowRule(
            Table.TRANSIT, 10, Match(eth_type=ETH_TYPE_MPLS, mpls_label=label), (PopLabel(), Output(port)),
            role=Role.TRANSIT,
        )  # fmt: skip
        yield FlowRule(
            Table.TRANSIT, 11, Match(in_port=port, eth_type=ETH_TYPE_MPLS, mpls_label=label),
            (SetLabel(label + 1), Output(3 - port)), role=Role.DETOUR,
        )  # fmt: skip
        yield FlowRule(Table.DEFAULT, 132, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst=there), (group,))
        yield FlowRule(
            Table.DEFAULT, 128, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst=f"{_address(12, number << 4)}/28"), (group,)
        )
        number += 1


def _address(first: int, number: int) -> str:
    return f"{first}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
