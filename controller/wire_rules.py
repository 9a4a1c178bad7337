"""Matches, actions, flows, groups and meters: from our values to the framework's objects and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from controller.framework import ofproto as ofp
from controller.framework import ofproto_parser as parser
from dataplane.rules import (
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    GROUP_ID_BASE,
    GROUP_ID_END,
    METER_ID_BASE,
    METER_ID_END,
    PORT_CONTROLLER,
    Action,
    AnyMeter,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Match,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    RateCap,
    Role,
    SetLabel,
    Table,
    ToGroup,
)

METER_FLAGS: int = ofp.OFPMF_PKTPS | ofp.OFPMF_BURST
RATE_CAP_FLAGS: int = ofp.OFPMF_KBPS | ofp.OFPMF_BURST

_FIELDS = tuple(field.name for field in fields(Match))


def encode_match(match: Match) -> Any:
    """Our fields have the names of the OXM fields (OpenFlow 1.3.5, section 7.2.3.7)."""
    return parser.OFPMatch(**{name: value for name in _FIELDS if (value := getattr(match, name)) is not None})


def encode_actions(actions: tuple[Action, ...]) -> list[Any]:
    """The framework's actions, in order; pushing a label is two of them (section 5.12)."""
    encoded: list[Any] = []
    for action in actions:
        match action:
            case Output(port):
                encoded.append(parser.OFPActionOutput(port, ofp.OFPCML_NO_BUFFER))
            case ToGroup(group_id):
                encoded.append(parser.OFPActionGroup(group_id))
            case PushLabel(label):
                encoded.append(parser.OFPActionPushMpls(ETH_TYPE_MPLS))
                encoded.append(parser.OFPActionSetField(mpls_label=label))
            case SetLabel(label):
                encoded.append(parser.OFPActionSetField(mpls_label=label))
            case PopLabel(eth_type):
                encoded.append(parser.OFPActionPopMpls(eth_type))
    return encoded


class _NotOurs(Exception):
    """A construct that we never send."""


def decode_flow(stats: Any) -> FlowRule | None:
    """A flow entry as our rule; None where it says something that no rule of ours can say."""
    try:
        flow = _flow(stats)
    except (_NotOurs, ValueError, TypeError):
        return None
    # The cookie holds a hash of the content: one that differs was changed by somebody else.
    return flow if flow.cookie == stats.cookie else None


def _flow(stats: Any) -> FlowRule:
    if stats.idle_timeout or stats.hard_timeout:
        raise _NotOurs
    actions: tuple[Action, ...] = ()
    goto: Table | None = None
    meter_id: int | None = None
    for instruction in stats.instructions:
        if isinstance(instruction, parser.OFPInstructionActions) and instruction.type == ofp.OFPIT_APPLY_ACTIONS:
            actions = _actions(instruction.actions)
        elif isinstance(instruction, parser.OFPInstructionGotoTable):
            goto = Table(instruction.table_id)
        elif isinstance(instruction, parser.OFPInstructionMeter):
            meter_id = instruction.meter_id
        else:
            raise _NotOurs
    match = Match(**dict(stats.match.items()))
    role = Role(stats.cookie >> 40 & 0xFF)
    return FlowRule(Table(stats.table_id), stats.priority, match, actions, goto, meter_id, role)


def _actions(encoded: list[Any]) -> tuple[Action, ...]:
    actions: list[Action] = []
    pushed = False
    for action in encoded:
        if pushed:
            if not isinstance(action, parser.OFPActionSetField) or action.key != "mpls_label":
                raise _NotOurs
            actions.append(PushLabel(action.value))
            pushed = False
        elif isinstance(action, parser.OFPActionOutput):
            if action.port == PORT_CONTROLLER and action.max_len != ofp.OFPCML_NO_BUFFER:
                raise _NotOurs
            actions.append(Output(action.port))
        elif isinstance(action, parser.OFPActionGroup):
            actions.append(ToGroup(action.group_id))
        elif isinstance(action, parser.OFPActionPopMpls) and action.ethertype == ETH_TYPE_IPV4:
            actions.append(PopLabel())
        elif isinstance(action, parser.OFPActionPushMpls) and action.ethertype == ETH_TYPE_MPLS:
            pushed = True
        else:
            raise _NotOurs
    if pushed:
        raise _NotOurs
    return tuple(actions)


def decode_group(stats: Any) -> Group | None:
    """A group entry as ours; None where its id or its content is not."""
    if not GROUP_ID_BASE <= stats.group_id < GROUP_ID_END:
        return None
    try:
        kind = GroupType(stats.type)
        buckets = tuple(
            Bucket(
                _actions(bucket.actions),
                None if bucket.watch_port == ofp.OFPP_ANY else bucket.watch_port,
                bucket.weight if kind is GroupType.SELECT else 1,
            )
            for bucket in stats.buckets
        )
    except (_NotOurs, ValueError):
        return None
    return Group(stats.group_id, kind, buckets)


def decode_meter(stats: Any) -> AnyMeter | None:
    """A meter entry as ours; None where its id or its content is not."""
    if not METER_ID_BASE <= stats.meter_id < METER_ID_END:
        return None
    if len(stats.bands) != 1 or not isinstance(stats.bands[0], parser.OFPMeterBandDrop):
        return None
    units = stats.flags & (METER_FLAGS | RATE_CAP_FLAGS)
    if units not in (METER_FLAGS, RATE_CAP_FLAGS):
        return None
    kind = Meter if units == METER_FLAGS else RateCap
    return kind(stats.meter_id, stats.bands[0].rate, stats.bands[0].burst_size)
