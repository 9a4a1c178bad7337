"""From a fabric, default routing and planned paths to the rules of every switch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from dataplane.default import DefaultRouting, default_tables
from dataplane.detours import Tunnel, label_tunnels, tunnel_flows
from dataplane.echo import ECHO_RULE
from dataplane.guard import guard_flows, guard_meters
from dataplane.ingress import CapTable, ingress_rules
from dataplane.planned import LabelledPath, PlannedTable, check_path, egress_rule, misses
from dataplane.routes import Routes
from dataplane.rules import AnyMeter, FlowRule, RuleSet, SwitchRules
from dataplane.spread import GroupTable
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId, Node, NodeKind

__all__ = ["Compiled", "DefaultRouting", "LabelledPath", "compile_rules", "compile_tables"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """The rules of all switches.

    Attributes
    ----------
    detours : dict of Tunnel to int
        The labels of the detours in them.
    """

    rules: RuleSet
    detours: dict[Tunnel, int] = field(default_factory=dict)


def compile_rules(
    fabric: Fabric,
    *,
    default: DefaultRouting,
    paths: Sequence[LabelledPath] = (),
    edge_ports: Mapping[str, frozenset[int]] | None = None,
) -> RuleSet:
    """All rules of all switches, as by `compile_tables` where no rules are in force."""
    return compile_tables(fabric, default=default, paths=paths, edge_ports=edge_ports).rules


def compile_tables(
    fabric: Fabric,
    *,
    default: DefaultRouting,
    paths: Sequence[LabelledPath] = (),
    edge_ports: Mapping[str, frozenset[int]] | None = None,
    detours: Mapping[Tunnel, int] | None = None,
    taken: AbstractSet[int] = frozenset(),
) -> Compiled:
    """All rules of all switches; the same input gives the same rules.

    Parameters
    ----------
    paths : sequence of LabelledPath
        Planned paths; they override default routing for their pairs. A pair may be split over several.
    edge_ports : mapping of str to frozenset of int, optional
        Ports by switch that lead to hosts, known or not; ports of known hosts are added.
    detours : mapping of Tunnel to int, optional
        Labels that detours have in the rules in force; they keep them.
    taken : set of int
        Further labels that no detour may get.

    Raises
    ------
    InputError
        A path is broken, two have the same label and no common way, or those of a pair do not make a split.
    LabelsExhausted
        More detours than labels.
    """
    _refuse_clashes(fabric, paths)
    routes = Routes(fabric)
    tables = default_tables(routes, default)
    wanted = frozenset[Tunnel]().union(*(table.tunnels for table in tables))
    labels = label_tunnels(wanted, detours or {}, taken | {path.label for path in paths})
    groups = {name: GroupTable() for name in routes.names}
    planned = {
        name: PlannedTable(routes, table, labels, groups[name])
        for name, table in zip(routes.names, tables, strict=True)
    }
    flows: dict[str, set[FlowRule]] = {}
    for name, table in zip(routes.names, tables, strict=True):
        dpid = fabric.node_by_id[name].dpid or 0
        flows[name] = {*misses(), ECHO_RULE, *table.flows(dpid, labels, groups[name])}
    for tunnel, label in labels.items():
        for switch, rule in tunnel_flows(tunnel, label):
            flows[switch].add(rule)
    for path in paths:
        _add_path(fabric, routes, path, planned, flows)
    caps = {name: CapTable() for name in routes.names}
    for together in _by_pair(paths):
        ingress = together[0].links[1].node
        flows[ingress].update(ingress_rules(fabric, together, groups[ingress], caps[ingress]))
    ports = _Ports(fabric)
    rules: dict[str, SwitchRules] = {}
    for name in routes.names:
        edge, inner = ports.edge_of(name, edge_ports or {}), ports.fabric[name]
        flows[name] |= planned[name].flows
        flows[name].update(guard_flows(edge, inner, ports.hosts[name]))
        meters = frozenset[AnyMeter]((*guard_meters(edge, inner), *caps[name].meters()))
        rules[name] = SwitchRules(frozenset(flows[name]), groups[name].groups(), meters)
    return Compiled(rules, labels)


def _add_path(
    fabric: Fabric,
    routes: Routes,
    path: LabelledPath,
    planned: Mapping[str, PlannedTable],
    flows: Mapping[str, set[FlowRule]],
) -> None:
    egress = path.links[-1]
    if len(path.links) == 2:
        return
    flows[egress.node].add(egress_rule(path.label, egress.port))
    leaf = routes.number[egress.node]
    arriving = path.links[0]
    for link in path.links[1:-1]:
        planned[link.node].add(path.label, link, fabric.link_by_id[arriving].target_port, leaf)
        arriving = link


class _Ports:
    """Which ports of each switch lead where."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric: dict[str, set[int]] = {node.id: set() for node in fabric.switches}
        self.hosts: dict[str, set[tuple[int, Node]]] = {node.id: set() for node in fabric.switches}
        for link in fabric.links:
            if link.target not in self.hosts:
                continue
            source = fabric.node_by_id[link.source]
            if source.kind is NodeKind.SWITCH:
                self.fabric[link.target].add(link.target_port)
            elif source.ip is not None and source.mac is not None:
                self.hosts[link.target].add((link.target_port, source))

    def edge_of(self, switch: str, edge_ports: Mapping[str, frozenset[int]]) -> set[int]:
        """Ports that lead to hosts, known or not."""
        return ({port for port, _ in self.hosts[switch]} | edge_ports.get(switch, frozenset())) - self.fabric[switch]


def _refuse_clashes(fabric: Fabric, paths: Sequence[LabelledPath]) -> None:
    ways: dict[tuple[int, str], LinkId] = {}
    targets: dict[int, LabelledPath] = {}
    for path in paths:
        check_path(fabric, path)
        other = targets.setdefault(path.label, path)
        if other.target != path.target or any(
            ways.setdefault((path.label, link.node), link) != link for link in path.links[1:]
        ):
            raise InputError(
                f"label {path.label} marks two ways: {other.source} → {other.target} and {path.source} → {path.target}"
            )


def _by_pair(paths: Iterable[LabelledPath]) -> Iterable[list[LabelledPath]]:
    """The paths of each pair."""
    pairs: dict[tuple[str, str], list[LabelledPath]] = {}
    for path in paths:
        pairs.setdefault((path.source, path.target), []).append(path)
    return pairs.values()
