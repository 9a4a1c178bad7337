"""From a fabric, default routing and planned paths to the rules of every switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataplane.default import DefaultRouting, DefaultTables
from dataplane.echo import ECHO_RULE
from dataplane.guard import guard_flows, guard_meters
from dataplane.planned import LabelledPath, misses, path_flows
from dataplane.rules import RuleSet, SwitchRules
from topologies.errors import InputError
from topologies.fabric import Fabric, Node, NodeKind

__all__ = ["DefaultRouting", "LabelledPath", "compile_rules"]


def compile_rules(
    fabric: Fabric,
    *,
    default: DefaultRouting,
    paths: Sequence[LabelledPath] = (),
    edge_ports: Mapping[str, frozenset[int]] | None = None,
) -> RuleSet:
    """All rules of all switches; the same input gives the same rules.

    Parameters
    ----------
    paths : sequence of LabelledPath
        Planned paths; they override default routing for their pairs.
    edge_ports : mapping of str to frozenset of int, optional
        Ports by switch that lead to hosts, known or not; ports of known hosts are added.

    Raises
    ------
    InputError
        A path is broken, or two have the same label or the same pair.
    """
    _refuse_clashes(paths)
    hosts: dict[str, set[tuple[int, Node]]] = {node.id: set() for node in fabric.switches}
    fabric_ports: dict[str, set[int]] = {node.id: set() for node in fabric.switches}
    for link in fabric.links:
        if link.target not in hosts:
            continue
        source = fabric.node_by_id[link.source]
        if source.kind is NodeKind.SWITCH:
            fabric_ports[link.target].add(link.target_port)
        elif source.ip is not None and source.mac is not None:
            hosts[link.target].add((link.target_port, source))
    tables = DefaultTables(fabric, default)
    flows = {switch: {*table, *misses(), ECHO_RULE} for switch, table in tables.flows.items()}
    for path in paths:
        for switch, rule in path_flows(fabric, path):
            flows[switch].add(rule)
    rules: dict[str, SwitchRules] = {}
    for node in fabric.switches:
        edge = {port for port, _ in hosts[node.id]} | (edge_ports or {}).get(node.id, frozenset())
        edge -= fabric_ports[node.id]
        flows[node.id].update(guard_flows(edge, fabric_ports[node.id], hosts[node.id]))
        meters = frozenset(guard_meters(edge, fabric_ports[node.id]))
        rules[node.id] = SwitchRules(frozenset(flows[node.id]), frozenset(tables.groups[node.id].values()), meters)
    return rules


def _refuse_clashes(paths: Sequence[LabelledPath]) -> None:
    labels: dict[int, LabelledPath] = {}
    pairs: set[tuple[str, str]] = set()
    for path in paths:
        other = labels.setdefault(path.label, path)
        if other is not path:
            raise InputError(
                f"label {path.label} marks two paths: {other.source} → {other.target} and {path.source} → {path.target}"
            )
        if (path.source, path.target) in pairs:
            raise InputError(f"the pair {path.source} → {path.target} has two paths; a pair takes one")
        pairs.add((path.source, path.target))
