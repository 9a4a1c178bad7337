"""What the API shows of switches, links and hosts, computed from the live state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from controller.discovery import PortId
from controller.hosts import Host
from controller.measurement import Rates
from controller.service import HostStatus, LinkStatus, SwitchStatus
from controller.view import View
from dataplane.rules import SwitchRules
from topologies.fabric import Fabric, Link, LinkId


def switch_statuses(
    fabric: Fabric, addresses: Mapping[int, str], connected: AbstractSet[int], installed: Mapping[str, SwitchRules]
) -> tuple[SwitchStatus, ...]:
    """Every switch of the view, with what is installed on it."""
    statuses = []
    for node in fabric.switches:
        rules = installed.get(node.id, SwitchRules())
        dpid = node.dpid or 0
        counts = (len(rules.flows), len(rules.groups), len(rules.meters))
        statuses.append(SwitchStatus(node.id, dpid, dpid in connected, addresses.get(dpid), *counts))
    return tuple(statuses)


def link_statuses(
    view: View, rates_bps: Mapping[PortId, Rates], cordoned: AbstractSet[LinkId] = frozenset()
) -> tuple[LinkStatus, ...]:
    """Every directed link of the view, and those that carry nothing as they keep failing, with their loads."""
    dpids = {node.id: node.dpid for node in view.fabric.switches}
    used = len(view.fabric.links)
    return tuple(
        LinkStatus(
            link.id,
            link.reverse_id,
            link.capacity_bps,
            link.id in view.assumed,
            link.delay_s,
            _load(link, dpids, rates_bps),
            number >= used or link.id in view.needed,
            link.id in cordoned,
        )
        for number, link in enumerate((*view.fabric.links, *view.held))
    )


def _load(link: Link, dpids: Mapping[str, int | None], rates_bps: Mapping[PortId, Rates]) -> float | None:
    if (source := dpids.get(link.source)) is not None:
        rates = rates_bps.get(PortId(source, link.source_port))
        return rates.sent_bps if rates is not None else None
    # A host has no counters here; its switch port received what it sent.
    target = dpids.get(link.target)
    rates = rates_bps.get(PortId(target, link.target_port)) if target is not None else None
    return rates.received_bps if rates is not None else None


def host_statuses(hosts: Iterable[Host], name: Callable[[int], str]) -> tuple[HostStatus, ...]:
    """Every known host; ``name`` names a switch by its dpid."""
    return tuple(
        HostStatus(
            host.name,
            host.ip,
            host.mac,
            LinkId(name(host.at.dpid), host.at.port) if host.at else None,
            host.learned_from,
        )
        for host in hosts
    )
