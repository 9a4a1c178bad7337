"""The guard table: what each port may send, and where it goes from there."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache

from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_LLDP,
    ETH_TYPE_MPLS,
    METER_ID_BASE,
    PORT_CONTROLLER,
    Action,
    FlowRule,
    Match,
    Meter,
    Output,
    Role,
    Table,
)
from topologies.fabric import Node

LLDP_PPS = 1000
"""LLDP that all ports of which nothing is known yet may send to the controller together, packets per second."""
PORT_PPS = 100
"""What a port may send to the controller, or resolve by ARP, packets per second."""

_KNOWN, _KIND, _REFUSED, _LLDP, _MISS = 200, 150, 110, 100, 0
_TO_CONTROLLER: tuple[Action, ...] = (Output(PORT_CONTROLLER),)


def port_meter(port: int) -> int:
    """Id of a port's own meter, so that a flood at one port starves no other one's probes."""
    return METER_ID_BASE + port


def guard_meters(edge_ports: AbstractSet[int], fabric_ports: AbstractSet[int]) -> Iterator[Meter]:
    """One meter for each edge and fabric port, and one for all other ports together."""
    yield Meter(METER_ID_BASE, LLDP_PPS, LLDP_PPS)
    for port in edge_ports | fabric_ports:
        yield Meter(port_meter(port), PORT_PPS, PORT_PPS)


def asking_rule(port: int) -> FlowRule:
    """The rule by which ARP of hosts at an edge port comes up: with it, they can be asked who they are."""
    return _rule(_KIND, Match(in_port=port, eth_type=ETH_TYPE_ARP), _TO_CONTROLLER, meter_id=port_meter(port))


def guard_flows(
    edge_ports: AbstractSet[int], fabric_ports: AbstractSet[int], hosts: AbstractSet[tuple[int, Node]]
) -> Iterator[FlowRule]:
    """Rules of the guard table of one switch.

    Parameters
    ----------
    hosts : set of (int, Node)
        Port and host, for hosts attached to this switch.
    """
    yield _LLDP_RULE
    yield _MISS_RULE
    for port in edge_ports:
        yield from _edge_rules(port)
    for port in fabric_ports:
        yield from _fabric_rules(port)
    for port, host in hosts:
        yield from _host_rules(port, host.mac, host.ip)


# The same rules are wanted with every plan, on very many switches: what is the same object is compared at once.


@lru_cache(maxsize=4_096)
def _edge_rules(port: int) -> tuple[FlowRule, ...]:
    return (
        _known_lldp(port),
        asking_rule(port),
        # The same fate as everything else, but with a counter of its own: somebody forges labels.
        _rule(_KIND, Match(in_port=port, eth_type=ETH_TYPE_MPLS)),
        _rule(_REFUSED, Match(in_port=port)),
    )


@lru_cache(maxsize=4_096)
def _fabric_rules(port: int) -> tuple[FlowRule, ...]:
    return (
        _known_lldp(port),
        _rule(_KIND, Match(in_port=port, eth_type=ETH_TYPE_MPLS), goto=Table.TRANSIT),
        _rule(_KIND, Match(in_port=port, eth_type=ETH_TYPE_IPV4), goto=Table.DEFAULT),
        _rule(_KIND, Match(in_port=port, eth_type=ETH_TYPE_ARP), goto=Table.DEFAULT),
    )


@lru_cache(maxsize=65_536)
def _host_rules(port: int, mac: str | None, ip: str | None) -> tuple[FlowRule, ...]:
    address = Match(in_port=port, eth_type=ETH_TYPE_IPV4, eth_src=mac, ipv4_src=ip)
    sender = Match(in_port=port, eth_type=ETH_TYPE_ARP, eth_src=mac, arp_spa=ip, arp_sha=mac)
    return (
        _rule(_KNOWN, address, goto=Table.CLASSIFY),
        _rule(_KNOWN, sender, goto=Table.DEFAULT, meter_id=port_meter(port)),
    )


def _known_lldp(port: int) -> FlowRule:
    return _rule(_KNOWN, Match(in_port=port, eth_type=ETH_TYPE_LLDP), _TO_CONTROLLER, meter_id=port_meter(port))


def _rule(
    priority: int,
    match: Match,
    actions: tuple[Action, ...] = (),
    goto: Table | None = None,
    meter_id: int | None = None,
) -> FlowRule:
    return FlowRule(Table.GUARD, priority, match, actions, goto, meter_id, Role.GUARD)


_LLDP_RULE = _rule(_LLDP, Match(eth_type=ETH_TYPE_LLDP), _TO_CONTROLLER, meter_id=METER_ID_BASE)
_MISS_RULE = _rule(_MISS, Match())
