"""Ids of rate caps that keep their meaning while rules change: no meter passes from one pair to another.

A cap's id is a hash of its content, and the next free one where two agree. So the same cap may have another id once a
pair is gone that was before it, and an id another cap. Were a meter given over, or changed in place, two pairs would
share it for as long as an update lasts, and one that is undone would leave it as it was to be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TypeAlias

from dataplane.operations import Rest, resting
from dataplane.rules import METER_ID_END, RATE_CAP_ID_BASE, AnyMeter, FlowRule, RateCap, SwitchRules

_Content: TypeAlias = tuple[tuple[str | None, str | None], int, int]
"""The pair, its rate and its burst."""


def keep_caps(old: SwitchRules, new: SwitchRules, rest: Rest) -> SwitchRules:
    """The new rules, with the old ids for caps that stay, and for others ids that mean nothing in the old rules."""
    if old is new:
        return new
    before, after = _caps(old, rest), _caps(new, rest)
    known = {content: meter_id for meter_id, content in before.items()}
    taken = {meter.id for meter in (*old.meters, *new.meters)}
    names: dict[int, int] = {}
    for meter_id, content in sorted(after.items()):
        if content in known:
            names[meter_id] = known[content]
        elif meter_id in before:
            names[meter_id] = _free_id(meter_id, taken)
            taken.add(names[meter_id])
    names = {meter_id: name for meter_id, name in names.items() if meter_id != name}
    if not names:
        return new

    def named(meter: AnyMeter) -> AnyMeter:
        return replace(meter, id=names[meter.id]) if meter.id in names else meter

    def renamed(flow: FlowRule) -> FlowRule:
        return replace(flow, meter_id=names[flow.meter_id]) if flow.meter_id in names else flow

    return replace(
        new, flows=frozenset(map(renamed, resting(new.flows, rest))), meters=frozenset(map(named, new.meters))
    )


def _caps(rules: SwitchRules, rest: Rest) -> dict[int, _Content]:
    """What each cap is for; one that no flow uses is for nobody."""
    caps = {meter.id: meter for meter in rules.meters if isinstance(meter, RateCap)}
    flows: Iterable[FlowRule] = resting(rules.flows, rest) if caps else ()
    pairs = {flow.meter_id: (flow.match.ipv4_src, flow.match.ipv4_dst) for flow in flows if flow.meter_id in caps}
    return {id_: (pairs.get(id_, (None, None)), cap.rate_kbps, cap.burst_kbit) for id_, cap in caps.items()}


def _free_id(meter_id: int, taken: Collection[int]) -> int:
    while meter_id in taken:
        meter_id = meter_id + 1 if meter_id + 1 < METER_ID_END else RATE_CAP_ID_BASE
    return meter_id
