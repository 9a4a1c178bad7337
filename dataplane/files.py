"""Rules and plans as files: what ``heddle rules --json`` and the API write, and anybody's read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dataplane.planned import LabelledPath
from dataplane.rules import (
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    AnyMeter,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Masked,
    Match,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    RateCap,
    Role,
    RuleSet,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)
from topologies.errors import InputError
from topologies.fabric import LinkId
from topologies.located import read_document, validate

_TableName: TypeAlias = Literal["guard", "classify", "transit", "default"]
_RoleName: TypeAlias = Literal["guard", "classify", "transit", "default", "detour"]
_GroupName: TypeAlias = Literal["select", "fast-failover"]
_Number: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]
_Label: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=1 << 20)]
_EthType: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=1 << 16)]
_Ports: TypeAlias = (
    Annotated[int, Field(strict=True, ge=0, lt=1 << 16)]
    | Annotated[str, Field(pattern=r"^0x[0-9a-f]{4}/0x[0-9a-f]{4}$")]
)

_NAMED_PORTS = {PORT_CONTROLLER: "controller", PORT_IN_PORT: "in_port"}
_PORTS_BY_NAME = {name: port for port, name in _NAMED_PORTS.items()}
_ACTIONS = ("output", "group", "push_label", "set_label", "pop_label")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MatchEntry(_Entry):
    """Fields that a packet must have; what is left out may be anything."""

    in_port: _Number | None = None
    eth_src: str | None = None
    eth_dst: str | None = None
    eth_type: _EthType | None = None
    ipv4_src: str | None = None
    """An address, or a prefix as in ``10.1.0.0/16``."""
    ipv4_dst: str | None = None
    arp_spa: str | None = None
    arp_sha: str | None = None
    arp_tpa: str | None = None
    mpls_label: _Label | None = None
    ip_proto: Annotated[int, Field(strict=True, ge=0, lt=256)] | None = None
    tcp_src: _Ports | None = None
    """A port, or value and mask as in ``0x0001/0x0003``."""
    tcp_dst: _Ports | None = None
    udp_src: _Ports | None = None
    udp_dst: _Ports | None = None


class ActionEntry(_Entry):
    """One action: exactly one of these."""

    output: _Number | Literal["controller", "in_port"] | None = None
    """A port; ``in_port`` is that by which the packet came."""
    group: _Number | None = None
    push_label: _Label | None = None
    set_label: _Label | None = None
    pop_label: _EthType | None = None
    """The Ethernet type of what is under the label."""

    @model_validator(mode="after")
    def _is_one(self) -> ActionEntry:
        if len(self.model_fields_set) != 1 or None in (getattr(self, name) for name in self.model_fields_set):
            raise ValueError(f"an action is exactly one of {', '.join(_ACTIONS)}")
        return self


class FlowEntry(_Entry):
    """A flow entry; without ``actions`` and ``goto`` it drops."""

    table: _TableName
    priority: Annotated[int, Field(strict=True, ge=0, lt=1 << 16)]
    match: MatchEntry = MatchEntry()
    meter: _Number | None = None
    """The id of the meter that packets pass first."""
    actions: tuple[ActionEntry, ...] = ()
    goto: _TableName | None = None
    """The table where packets go on."""
    role: _RoleName | None = None
    """What the rule is for; that of its table where this is left out."""


class BucketEntry(_Entry):
    """One choice of a group."""

    actions: tuple[ActionEntry, ...]
    watch_port: _Number | None = None
    """While this port is down the bucket is not chosen."""
    weight: Annotated[int, Field(strict=True, ge=1, lt=1 << 16)] = 1


class GroupEntry(_Entry):
    """A group entry."""

    id: _Number
    type: _GroupName
    buckets: tuple[BucketEntry, ...]


class MeterEntry(_Entry):
    """A meter that drops: in packets per second, or in kilobits per second."""

    id: _Number
    rate_pps: _Number | None = None
    burst_packets: _Number | None = None
    rate_kbps: _Number | None = None
    burst_kbit: _Number | None = None

    @model_validator(mode="after")
    def _is_one(self) -> MeterEntry:
        if self.model_fields_set - {"id"} not in ({"rate_pps", "burst_packets"}, {"rate_kbps", "burst_kbit"}):
            raise ValueError("a meter has rate_pps and burst_packets, or rate_kbps and burst_kbit")
        return self


class SwitchEntry(_Entry):
    """All rules of one switch."""

    id: str
    flows: tuple[FlowEntry, ...] = ()
    groups: tuple[GroupEntry, ...] = ()
    meters: tuple[MeterEntry, ...] = ()


class RulesFile(_Entry):
    """The rules of switches."""

    switches: tuple[SwitchEntry, ...]


class PathEntry(_Entry):
    """The path of one pair, or one of those that it is split over."""

    source: str
    target: str
    label: _Label
    links: tuple[str, ...]
    """Directed links from source to target, ``NODE:PORT``, access links included."""
    rate_bps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    share: float = 1.0
    job: str = ""


class PlanFile(_Entry):
    """A plan as ``GET /api/v1/plan`` gives it; all but ``paths`` may be left out."""

    paths: tuple[PathEntry, ...]
    epoch: int | None = None
    fabric_version: int | None = None
    objective: str | None = None
    share: float | None = None
    value: float | None = None
    bound: float | None = None
    gap: float | None = None
    worst_link_utilisation: float | None = None
    max_utilisation: float | None = None
    engine: str | None = None
    reason: str | None = None


def rules_to_json(rules: RuleSet) -> dict[str, Any]:
    """Rules as the content of a file; the same rules give the same file."""
    return {"switches": [switch_to_json(name, rules[name]) for name in sorted(rules)]}


def switch_to_json(name: str, rules: SwitchRules) -> dict[str, Any]:
    """One switch of it."""
    return {
        "id": name,
        "flows": [_flow_to_json(flow) for flow in in_order(rules.flows)],
        "groups": [_group_to_json(group) for group in sorted(rules.groups, key=lambda group: group.id)],
        "meters": [_meter_to_json(meter) for meter in sorted(rules.meters, key=lambda meter: meter.id)],
    }


def in_order(flows: Iterable[FlowRule]) -> list[FlowRule]:
    """Flows as a packet meets them: by table, highest priority first."""
    return sorted(flows, key=lambda flow: (flow.table, -flow.priority, str(flow.match), repr(flow.actions)))


def rules_of(file: RulesFile, where: str) -> RuleSet:
    """The rules that a file states.

    Parameters
    ----------
    where : str
        How errors call it.

    Raises
    ------
    InputError
        A switch, or an id on it, is there twice.
    """
    rules: dict[str, SwitchRules] = {}
    for switch in file.switches:
        if switch.id in rules:
            raise InputError(f"{where}: switch {switch.id!r} is here twice; remove one")
        kinds: tuple[tuple[str, Sequence[GroupEntry | MeterEntry]], ...] = (
            ("group", switch.groups), ("meter", switch.meters),
        )  # fmt: skip
        for kind, entries in kinds:
            ids = [entry.id for entry in entries]
            if twice := sorted({number for number in ids if ids.count(number) > 1}):
                raise InputError(f"{where}: {kind} {twice[0]} of switch {switch.id!r} is here twice; remove one")
        rules[switch.id] = SwitchRules(
            frozenset(map(_flow_of, switch.flows)),
            frozenset(map(_group_of, switch.groups)),
            frozenset(map(_meter_of, switch.meters)),
        )
    return rules


def read_rules(path: str | Path) -> RuleSet:
    """Read a rules file.

    Raises
    ------
    InputError
        The file cannot be read or holds no rules; the message names file and key.
    """
    return rules_of(validate(RulesFile, read_document(path)), str(path))


def read_plan(path: str | Path) -> tuple[list[LabelledPath], list[float]]:
    """Read the paths of a plan, and what each carries in bits per second.

    Raises
    ------
    InputError
        The file cannot be read or holds no plan; the message names file and key.
    """
    return plan_of(validate(PlanFile, read_document(path)).paths, str(path))


def plan_of(paths: Iterable[PathEntry], where: str) -> tuple[list[LabelledPath], list[float]]:
    """Paths and rates; raises `InputError` where a link has no name as links do."""
    labelled, rates_bps = [], []
    for path in paths:
        try:
            links = tuple(map(LinkId.parse, path.links))
        except InputError as error:
            raise InputError(f"{where}: path {path.source} → {path.target}: {error}") from None
        labelled.append(LabelledPath(path.source, path.target, links, path.label, path.share))
        rates_bps.append(path.rate_bps)
    return labelled, rates_bps


def _flow_to_json(flow: FlowRule) -> dict[str, Any]:
    content: dict[str, Any] = {
        "table": flow.table.name.lower(),
        "priority": flow.priority,
        "match": {name: _plain(value) for name in _MATCHED if (value := getattr(flow.match, name)) is not None},
    }
    if flow.meter_id is not None:
        content["meter"] = flow.meter_id
    content["actions"] = list(map(_action_to_json, flow.actions))
    if flow.goto is not None:
        content["goto"] = flow.goto.name.lower()
    content["role"] = flow.role.name.lower()
    return content


_MATCHED = tuple(field.name for field in fields(Match) if field.init)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Masked) else value


def _action_to_json(action: Action) -> dict[str, Any]:
    match action:
        case Output(port):
            return {"output": _NAMED_PORTS.get(port, port)}
        case ToGroup(group_id):
            return {"group": group_id}
        case PushLabel(label):
            return {"push_label": label}
        case SetLabel(label):
            return {"set_label": label}
        case PopLabel(eth_type):
            return {"pop_label": eth_type}


def _group_to_json(group: Group) -> dict[str, Any]:
    return {
        "id": group.id,
        "type": group.type.name.lower().replace("_", "-"),
        "buckets": [
            {
                "actions": list(map(_action_to_json, bucket.actions)),
                "watch_port": bucket.watch_port,
                "weight": bucket.weight,
            }
            for bucket in group.buckets
        ],
    }


def _meter_to_json(meter: AnyMeter) -> dict[str, Any]:
    return {field.name: getattr(meter, field.name) for field in fields(meter) if field.init}


def _flow_of(entry: FlowEntry) -> FlowRule:
    table = Table[entry.table.upper()]
    return FlowRule(
        table,
        entry.priority,
        _match_of(entry.match),
        tuple(map(_action_of, entry.actions)),
        None if entry.goto is None else Table[entry.goto.upper()],
        entry.meter,
        Role[(entry.role or entry.table).upper()],
    )


def _match_of(entry: MatchEntry) -> Match:
    wanted: Mapping[str, Any] = {name: _masked(getattr(entry, name)) for name in entry.model_fields_set}
    return Match(**wanted)


def _masked(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("0x"):
        number, _, mask = value.partition("/")
        return Masked(int(number, 16), int(mask, 16))
    return value


def _action_of(entry: ActionEntry) -> Action:
    match entry:
        case ActionEntry(output=int(port)):
            return Output(port)
        case ActionEntry(output=str(name)):
            return Output(_PORTS_BY_NAME[name])
        case ActionEntry(group=int(group_id)):
            return ToGroup(group_id)
        case ActionEntry(push_label=int(label)):
            return PushLabel(label)
        case ActionEntry(set_label=int(label)):
            return SetLabel(label)
    return PopLabel(entry.pop_label or 0)


def _group_of(entry: GroupEntry) -> Group:
    buckets = (
        Bucket(tuple(map(_action_of, bucket.actions)), bucket.watch_port, bucket.weight) for bucket in entry.buckets
    )
    return Group(entry.id, GroupType[entry.type.upper().replace("-", "_")], tuple(buckets))


def _meter_of(entry: MeterEntry) -> AnyMeter:
    if entry.rate_kbps is not None and entry.burst_kbit is not None:
        return RateCap(entry.id, entry.rate_kbps, entry.burst_kbit)
    return Meter(entry.id, entry.rate_pps or 0, entry.burst_packets or 0)
