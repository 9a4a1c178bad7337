"""From a fabric, default routing and planned paths to the rules of every switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from dataplane.default import DefaultRouting, default_tables
from dataplane.detours import Tunnel, label_tunnels, tunnel_flows
from dataplane.echo import ECHO_RULE
from dataplane.guard import guard_flows, guard_meters
from dataplane.planned import LabelledPath, PlannedTable, misses
from dataplane.plantables import PlanTables, Unplanned
from dataplane.routes import Routes
from dataplane.rules import AnyMeter, FlowRule, RuleSet
from dataplane.spread import GroupTable
from topologies.fabric import Fabric, Node, NodeKind

__all__ = ["Compiled", "DefaultRouting", "LabelledPath", "TableCompiler", "compile_rules", "compile_tables"]


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
    """All rules of all switches; the same input gives the same rules. See `TableCompiler.compile`."""
    return TableCompiler(fabric, default, edge_ports).compile(paths, detours=detours, taken=taken)


class TableCompiler:
    """Makes the rules for one fabric. What does not depend on planned paths is found once; paths that stay keep theirs.

    Parameters
    ----------
    edge_ports : mapping of str to frozenset of int, optional
        Ports by switch that lead to hosts, known or not; ports of known hosts are added.
    """

    def __init__(
        self, fabric: Fabric, default: DefaultRouting, edge_ports: Mapping[str, frozenset[int]] | None = None
    ) -> None:
        self.fabric = fabric
        self.default = default
        self.edge_ports = edge_ports or {}
        self._routes = Routes(fabric)
        self._tables = default_tables(self._routes, default)
        self._tunnels = frozenset[Tunnel]().union(*(table.tunnels for table in self._tables))
        self._guards: dict[str, tuple[frozenset[FlowRule], frozenset[AnyMeter]]] = {}
        ports = _Ports(fabric)
        for name in self._routes.names:
            edge, inner = ports.edge_of(name, self.edge_ports), ports.fabric[name]
            guards = frozenset(guard_flows(edge, inner, ports.hosts[name]))
            self._guards[name] = guards, frozenset(guard_meters(edge, inner))
        self._planned: tuple[dict[Tunnel, int], PlanTables] | None = None

    def compile(
        self,
        paths: Sequence[LabelledPath] = (),
        *,
        detours: Mapping[Tunnel, int] | None = None,
        taken: AbstractSet[int] = frozenset(),
    ) -> Compiled:
        """All rules of all switches.

        Parameters
        ----------
        paths : sequence of LabelledPath
            Planned paths; they override default routing for their pairs. A pair may be split over several.
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
        labels = label_tunnels(self._tunnels, detours or {}, taken | {path.label for path in paths})
        if self._planned is None or self._planned[0] != labels:
            self._planned = labels, PlanTables(self.fabric, self._routes, self._without_plan(labels))
        tables, self._planned = self._planned, None
        rules = tables[1].change_to(paths)
        # Only now: an error leaves nothing to go on from.
        self._planned = tables
        return Compiled(rules, labels)

    def _without_plan(self, labels: dict[Tunnel, int]) -> dict[str, Unplanned]:
        """What every switch has whatever is planned."""
        inner: dict[str, list[FlowRule]] = {name: [] for name in self._routes.names}
        for tunnel, label in labels.items():
            for switch, rule in tunnel_flows(tunnel, label):
                inner[switch].append(rule)
        found = {}
        for name, table in zip(self._routes.names, self._tables, strict=True):
            groups = GroupTable()
            own = table.flows(self.fabric.node_by_id[name].dpid or 0, labels, groups)
            flows = frozenset((*misses(), ECHO_RULE, *own, *inner[name]))
            guards, meters = self._guards[name]
            found[name] = Unplanned(flows | guards, groups, meters, PlannedTable(table, labels))
        return found


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
