"""Default routing: every known host reaches every other, by destination, and round any one link that fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from dataplane.detours import Tunnel, out_of
from dataplane.prefixes import Block, blocks, exactly, fewest
from dataplane.routes import Detour, Hop, Routes
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    PORT_CONTROLLER,
    Action,
    FlowRule,
    Match,
    Output,
    PushLabel,
    Table,
)
from dataplane.spread import GroupTable, failover_group, select_group
from topologies.fabric import LinkId

_PREFIX, _COMING_BACK = 100, 150
"""To these the length of the prefix is added: the longest one decides."""
_SEARCH, _MISS = 10, 0

_TO_CONTROLLER: tuple[Action, ...] = (Output(PORT_CONTROLLER),)


class DefaultRouting(StrEnum):
    """How traffic without a plan is routed."""

    ECMP = "ecmp"
    SHORTEST = "shortest"


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a switch does with packets to some leaves, whichever of them.

    Attributes
    ----------
    ports : tuple of int
        Where it sends them; none where they end.
    parity : int
        Of the distance, where it deals them to several ports.
    detour : Detour
        The way round the only port.
    in_port : int or None
        Where they come from, if the way round goes back there.
    """

    ports: tuple[int, ...] = ()
    parity: int = 0
    detour: Detour = ()
    in_port: int | None = None


_ENDS = _Choice()
_Placed: TypeAlias = tuple[Block, _Choice]


class DefaultTable:
    """The default table of one switch, in prefixes.

    Attributes
    ----------
    tunnels : frozenset of Tunnel
        The detours that it needs labels for.
    """

    def __init__(self, routes: Routes, routing: DefaultRouting, switch: int, whole: tuple[Block, ...]) -> None:
        self._hosts = routes.hosts.get(switch, [])
        self.hops: dict[int, Hop | None] = dict(zip(routes.leaves, routes.hops(switch), strict=True))
        name = routes.names[switch]
        choices = {leaf: _choice(name, hop, routing) for leaf, hop in self.hops.items()}
        numbers: dict[_Choice, int] = {}
        by_leaf = [0] * len(routes.names)
        for leaf, choice in choices.items():
            by_leaf[leaf] = numbers.setdefault(choice, len(numbers))
        listed = tuple(numbers)
        self._placed: list[_Placed] = [
            (block, listed[number])
            for root in whole
            for block, number in fewest(root, by_leaf)
            # Hosts at this switch have rules of their own.
            if not (block.length == 32 and block.owner == switch)
        ]
        self._placed += _coming_back(routes, switch, choices, whole)
        self.tunnels = frozenset(
            Tunnel(choice.detour, eth_type)
            for _, choice in self._placed
            if len(choice.detour) > 1
            for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP)
        )

    def flows(self, dpid: int, labels: Mapping[Tunnel, int], groups: GroupTable) -> Iterator[FlowRule]:
        """The rules; the groups that they use are taken in."""
        yield from misses()
        for port, host in self._hosts:
            for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP):
                yield _rule(eth_type, host.ip or "", 32, None, (Output(port),))
        for block, choice in self._placed:
            for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP):
                actions = _actions(choice, eth_type, dpid, labels, groups)
                yield _rule(eth_type, str(block), block.length, choice.in_port, actions)


def default_tables(routes: Routes, routing: DefaultRouting) -> list[DefaultTable]:
    """The default tables of all switches, in the order of ``routes.names``."""
    whole = blocks(routes.leaf_of_address)
    return [DefaultTable(routes, routing, switch, whole) for switch in range(len(routes.names))]


def _choice(name: str, hop: Hop | None, routing: DefaultRouting) -> _Choice:
    if hop is None:
        return _ENDS
    if len(hop.ports) == 1:
        return _Choice(hop.ports, detour=hop.detour)
    if routing is DefaultRouting.SHORTEST:
        return _Choice(hop.ports[:1], detour=(LinkId(name, hop.ports[1]),))
    return _Choice(hop.ports, hop.distance % 2)


def _coming_back(
    routes: Routes, switch: int, choices: Mapping[int, _Choice], whole: Iterable[Block]
) -> Iterator[_Placed]:
    """What a switch does with packets that come from where their way round begins."""
    back: dict[int, dict[int, _Choice]] = {}
    for leaf, choice in choices.items():
        if len(choice.detour) > 1 and routes.sends_through(first := choice.detour[0].port, switch, leaf):
            back.setdefault(first, {})[leaf] = _Choice(choice.ports, choice.parity, choice.detour, first)
    for by_leaf in back.values():
        listed = tuple(dict.fromkeys(by_leaf.values()))
        numbers = {leaf: listed.index(choice) for leaf, choice in by_leaf.items()}
        yield from ((block, listed[number]) for root in whole for block, number in exactly(root, numbers))


def _actions(
    choice: _Choice, eth_type: int, dpid: int, labels: Mapping[Tunnel, int], groups: GroupTable
) -> tuple[Action, ...]:
    match choice.ports, choice.detour:
        case (), _:
            # Whoever has the address is not known: only the controller can find out. It is asked by ARP.
            return _TO_CONTROLLER if eth_type == ETH_TYPE_ARP else ()
        case (port,), ():
            return (Output(port),)
        case (port,), (way,):
            return (groups.use(failover_group(port, (Output(way.port),), way.port)),)
        case (port,), (way, *_):
            push = PushLabel(labels[Tunnel(choice.detour, eth_type)])
            return (groups.use(failover_group(port, (push, out_of(way.port, choice.in_port)), way.port)),)
        case _:
            return (groups.use(select_group(choice.ports, choice.parity, dpid)),)


@lru_cache(maxsize=65_536)
def _rule(eth_type: int, address: str, length: int, in_port: int | None, actions: tuple[Action, ...]) -> FlowRule:
    priority = (_PREFIX if in_port is None else _COMING_BACK) + length
    if eth_type == ETH_TYPE_IPV4:
        match = Match(in_port=in_port, eth_type=eth_type, ipv4_dst=address)
    else:
        match = Match(in_port=in_port, eth_type=eth_type, arp_tpa=address)
    return FlowRule(Table.DEFAULT, priority, match, actions)


def misses() -> Iterator[FlowRule]:
    """What becomes of packets to addresses that are nowhere near a known one."""
    # A question for an unknown host comes up at the leaf that it went to; the guard has metered it where it came in.
    yield FlowRule(Table.DEFAULT, _SEARCH, Match(eth_type=ETH_TYPE_ARP), _TO_CONTROLLER)
    yield FlowRule(Table.DEFAULT, _MISS, Match())
