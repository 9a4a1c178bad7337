"""What will be observed of a declared fabric if all of it is there, and as it was declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.cabling import declared_cabling
from controller.cordons import Cordons
from controller.hosts import Host
from controller.plankeeper import Observed
from controller.view import build_view
from topologies.fabric import Fabric


def expectation(
    declared: Fabric | None, hosts: Iterable[Host], cordons: Cordons, name: Callable[[int], str]
) -> Observed | None:
    """What to plan for ahead; None where nothing is declared.

    Parameters
    ----------
    hosts : iterable of Host
        Those known; the ones at declared places are expected there.
    name : callable
        Names a switch by its dpid.
    """
    if declared is None:
        return None
    ends = declared_cabling(declared)
    edge_ports: dict[str, set[int]] = {}
    for port, end in ends.items():
        if end is None:
            edge_ports.setdefault(name(port.dpid), set()).add(port.port)
    dpids = [node.dpid for node in declared.switches if node.dpid is not None]
    cables = ((port, end) for port, end in ends.items() if end is not None)
    there = (host for host in hosts if host.at is not None and ends.get(host.at, host.at) is None)
    # Ports whose speed would be their capacity are not known yet: then something else will be observed.
    fabric = build_view(dpids, cables, there, {}, declared, 0).fabric
    ports = {switch: frozenset(numbers) for switch, numbers in edge_ports.items()}
    return Observed(cordons.usable(fabric), ports, frozenset(map(name, dpids)))
