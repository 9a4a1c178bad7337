"""Proves that a split pair's flows take its paths in the shares planned, from the rules of its ingress alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dataplane.fates import Unreadable
from dataplane.flowspace import portions
from dataplane.matching import prefix_range
from dataplane.network import VerificationError
from dataplane.planned import LabelledPath
from dataplane.reading import SwitchReading
from dataplane.rules import IP_PROTO_TCP, IP_PROTO_UDP, Action, FlowRule, Group, PushLabel, Table, ToGroup
from dataplane.splits import TOLERANCE
from topologies.fabric import Fabric

_SAME = 1e-6
_PROTOCOLS = {IP_PROTO_TCP: "TCP", IP_PROTO_UDP: "UDP"}


def check_shares(fabric: Fabric, readings: Mapping[str, SwitchReading], paths: Sequence[LabelledPath]) -> None:
    """Prove that of all ports of TCP and of UDP, each path of a split pair gets its share.

    A select group counts by the weights of its buckets. Pairs whose shares are not known (they do not add up to 1)
    are left out.

    Raises
    ------
    VerificationError
        A path gets more or less than `dataplane.splits.TOLERANCE` allows.
    """
    pairs: dict[tuple[str, str], list[LabelledPath]] = {}
    for path in paths:
        pairs.setdefault((path.source, path.target), []).append(path)
    for (source, target), together in pairs.items():
        if len(together) < 2 or abs(sum(path.share for path in together) - 1) > _SAME:
            continue
        reading = readings[together[0].links[1].node]
        ends = fabric.node_by_id[source].ip or "", fabric.node_by_id[target].ip or ""
        groups = {group.id: group for group in reading.rules.groups}
        for ip_proto, name in _PROTOCOLS.items():
            parts: dict[int, float] = {}
            for rule, portion in portions(_rules_of(reading, *ends), ip_proto):
                for label, part in _labels(rule.actions, groups):
                    parts[label] = parts.get(label, 0.0) + portion * part
            for path in together:
                part = parts.get(path.label, 0.0)
                if abs(part - path.share) > (TOLERANCE + _SAME) * path.share:
                    raise VerificationError(
                        f"of {name} {source} → {target}, {100 * part:.3g} % take the path with label {path.label}, "
                        f"{100 * path.share:.3g} % are planned"
                    )


def _rules_of(reading: SwitchReading, source: str, target: str) -> Sequence[FlowRule]:
    """The classify rules for packets of a pair, highest first."""
    try:
        return reading.planned_from(source).get(target, ())
    except Unreadable:
        rules = (rule for rule in reading.rules.flows if rule.table is Table.CLASSIFY)
        meant = (rule for rule in rules if _has(rule.match.ipv4_src, source) and _has(rule.match.ipv4_dst, target))
        return sorted(meant, key=lambda rule: -rule.priority)


def _has(prefix: str | None, address: str) -> bool:
    if prefix is None:
        return True
    start, size = prefix_range(prefix)
    return start <= prefix_range(address)[0] < start + size


def _labels(actions: Sequence[Action], groups: Mapping[int, Group]) -> Iterator[tuple[int, float]]:
    """The labels that actions push first, each with the part of the packets that get it."""
    match actions[:1]:
        case (PushLabel(label),):
            yield label, 1.0
        case (ToGroup(group_id),) if group_id in groups:
            buckets = groups[group_id].buckets
            weight = sum(bucket.weight for bucket in buckets)
            for bucket in buckets:
                yield from ((label, part * bucket.weight / weight) for label, part in _labels(bucket.actions, {}))
