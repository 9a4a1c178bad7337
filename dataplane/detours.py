"""Detours: tunnels by label round a link that failed, to where default routing is safe from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from dataplane.labels import LAST_LABEL, MAX_LABELS, LabelsExhausted
from dataplane.routes import Detour
from dataplane.rules import ETH_TYPE_MPLS, PORT_IN_PORT, Action, FlowRule, Match, Output, PopLabel, Role, Table

_DETOUR = 100


@dataclass(frozen=True, slots=True, order=True)
class Tunnel:
    """A detour for packets of one Ethernet type, which its last switch has to name when it takes the label off."""

    links: Detour
    eth_type: int


def tunnel_flows(tunnel: Tunnel, label: int) -> Iterator[tuple[str, FlowRule]]:
    """Switch and rule, from the second switch on; the last one takes the label off and passes on what was under it."""
    labelled = Match(eth_type=ETH_TYPE_MPLS, mpls_label=label)
    for link in tunnel.links[1:]:
        actions: tuple[Action, ...] = (Output(link.port),)
        if link == tunnel.links[-1]:
            actions = (PopLabel(tunnel.eth_type), *actions)
        yield link.node, FlowRule(Table.TRANSIT, _DETOUR, labelled, actions, role=Role.DETOUR)


def out_of(port: int, in_port: int | None) -> Output:
    """Send out of a port, even where the packet came in by it: a switch drops that unless it is said so."""
    return Output(PORT_IN_PORT if port == in_port else port)


def label_tunnels(wanted: Iterable[Tunnel], known: Mapping[Tunnel, int], taken: AbstractSet[int]) -> dict[Tunnel, int]:
    """A label for each tunnel: its own where it has one, else the highest that is free.

    Parameters
    ----------
    known : mapping of Tunnel to int
        Labels that tunnels have in the rules in force.
    taken : set of int
        Labels that mean something else, or may be on packets under way.

    Raises
    ------
    LabelsExhausted
        There are not enough.
    """
    labels: dict[Tunnel, int] = {}
    blocked = taken | set(known.values())
    free = LAST_LABEL
    for tunnel in sorted(wanted):
        if tunnel in known:
            labels[tunnel] = known[tunnel]
            continue
        while free in blocked:
            free -= 1
        if free <= LAST_LABEL - MAX_LABELS:
            raise LabelsExhausted(f"there are no {len(labels) + 1} labels free for detours; wait until old ones rested")
        labels[tunnel] = free
        free -= 1
    return labels
