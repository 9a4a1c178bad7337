"""What a planned pair's packets meet at their first switch: the label of their path, by a split, under a rate cap."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from dataplane.planned import LabelledPath
from dataplane.rules import (
    ETH_TYPE_IPV4,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    METER_ID_END,
    RATE_CAP_ID_BASE,
    Bucket,
    FlowRule,
    GroupType,
    Masked,
    Match,
    Output,
    PushLabel,
    RateCap,
    Role,
    Table,
)
from dataplane.splits import FIRST_BIT, SplitRefused, deal_buckets, deal_ports
from dataplane.spread import GroupTable, named
from solver.routing import Path
from topologies.errors import InputError
from topologies.fabric import Fabric, Node

_SPLIT, _PAIR = 120, 100
_SAME = 1e-6
_BURST_S = 0.05
"""Longest burst above a cap. A queue is not filled by it, and TCP does not see a loss in each window."""
_LEAST_BURST_KBIT = 300
"""Four frames of 9,000 bytes: a bucket that holds less lets no frame through while it fills."""


class CapTable:
    """The rate caps of one switch, each under an id that follows its content."""

    def __init__(self) -> None:
        self._caps: dict[int, tuple[RateCap, tuple[str, str]]] = {}

    def use(self, pair: tuple[str, str], rate_bps: float) -> int:
        """Take a pair's cap in, and say which meter it is."""
        rate_kbps = max(1, round(rate_bps / 1000))
        content = (*pair, rate_kbps)
        digest = hashlib.blake2b(repr(content).encode(), digest_size=4).digest()
        count = METER_ID_END - RATE_CAP_ID_BASE
        meter_id = RATE_CAP_ID_BASE + int.from_bytes(digest) % count
        while meter_id in self._caps and self._caps[meter_id][1] != pair:
            meter_id = meter_id + 1 if meter_id + 1 < METER_ID_END else RATE_CAP_ID_BASE
        burst_kbit = max(_LEAST_BURST_KBIT, round(rate_kbps * _BURST_S))
        self._caps[meter_id] = (RateCap(meter_id, rate_kbps, burst_kbit), pair)
        return meter_id

    def drop(self, meter_id: int) -> None:
        """Forget one that no rule needs any more."""
        del self._caps[meter_id]

    def meters(self) -> frozenset[RateCap]:
        """All that were taken in."""
        return frozenset(cap for cap, _ in self._caps.values())


def ingress_rules(
    fabric: Fabric, paths: Sequence[LabelledPath], groups: GroupTable, caps: CapTable
) -> Iterator[FlowRule]:
    """The rules of a pair's first switch that mark its packets, or send them to a host at the same switch.

    Parameters
    ----------
    paths : sequence of LabelledPath
        All of the pair.

    Raises
    ------
    InputError
        The paths do not make one split, or the pair's flows cannot be split like this.
    """
    first = paths[0]
    ends = fabric.node_by_id[first.source], fabric.node_by_id[first.target]
    meter_id = None
    if first.rate_cap_bps is not None:
        meter_id = caps.use((ends[0].ip or "", ends[1].ip or ""), first.rate_cap_bps)
    if len(paths) == 1:
        yield _rule(ends, first, meter_id)
        return
    _check_split(paths)
    # What is neither TCP nor UDP, and fragments, have no ports: they take the widest path.
    paths = sorted(paths, key=lambda path: _place(path.links, path.share))
    yield _rule(ends, paths[0], meter_id)
    shares = tuple(path.share for path in paths)
    try:
        yield from _by_ports(ends, paths, IP_PROTO_UDP, meter_id)
    except SplitRefused as refused:
        raise InputError(f"the pair {first.source} → {first.target}: {refused}") from None
    buckets = deal_buckets(shares, first.flows)
    if buckets is not None and len({path.links[1] for path in paths}) > 1:
        yield _by_hash(ends, paths, buckets, groups, meter_id)
    else:
        yield from _by_ports(ends, paths, IP_PROTO_TCP, meter_id)


def widest_first(parts: Iterable[tuple[Path, float]]) -> list[tuple[Path, float]]:
    """Paths with their shares, in the order in which ports are dealt to them."""
    return sorted(parts, key=lambda part: _place(*part))


def _place(links: Path, share: float) -> tuple[float, Path]:
    return (-round(share, 9), links)


def _by_ports(
    ends: tuple[Node, Node], paths: Sequence[LabelledPath], ip_proto: int, meter_id: int | None
) -> Iterator[FlowRule]:
    """Rules for the ports of all paths but the first, which has what is left."""
    dealt = deal_ports(tuple(path.share for path in paths), paths[0].flows, FIRST_BIT[ip_proto])
    for path, blocks in zip(paths[1:], dealt.blocks[1:], strict=True):
        for block in blocks:
            yield _rule(ends, path, meter_id, ip_proto, block)


def _by_hash(
    ends: tuple[Node, Node], paths: Sequence[LabelledPath], buckets: Sequence[int], groups: GroupTable,
    meter_id: int | None,
) -> FlowRule:  # fmt: skip
    """One rule for all TCP. A bucket watches the first link of its path, so that the others stand in for it."""
    group = named(
        GroupType.SELECT,
        tuple(
            Bucket((PushLabel(path.label), Output(path.links[1].port)), watch_port=path.links[1].port)
            for path, count in zip(paths, buckets, strict=True)
            for _ in range(count)
        ),
    )
    match = Match(eth_type=ETH_TYPE_IPV4, ipv4_src=ends[0].ip, ipv4_dst=ends[1].ip, ip_proto=IP_PROTO_TCP)
    return FlowRule(Table.CLASSIFY, _SPLIT, match, (groups.use(group),), meter_id=meter_id, role=Role.CLASSIFY)


def _rule(
    ends: tuple[Node, Node],
    path: LabelledPath,
    meter_id: int | None,
    ip_proto: int | None = None,
    ports: Masked | None = None,
) -> FlowRule:
    # Within one switch nothing needs a label.
    label, port = (path.label, None) if len(path.links) > 2 else (None, path.links[1].port)
    return _marking(ends[0].ip, ends[1].ip, label, port, meter_id, ip_proto, ports)


@lru_cache(maxsize=65_536)
def _marking(
    source_ip: str | None,
    target_ip: str | None,
    label: int | None,
    port: int | None,
    meter_id: int | None,
    ip_proto: int | None,
    ports: Masked | None,
) -> FlowRule:
    match = Match(
        eth_type=ETH_TYPE_IPV4,
        ipv4_src=source_ip,
        ipv4_dst=target_ip,
        ip_proto=ip_proto,
        tcp_src=ports if ip_proto == IP_PROTO_TCP else None,
        udp_src=ports if ip_proto == IP_PROTO_UDP else None,
    )
    # Rules of two plans are side by side during an update: those that overlap must not have one priority.
    priority = _PAIR if ports is None else _SPLIT + ports.mask.bit_count()
    if label is None:
        return FlowRule(Table.CLASSIFY, priority, match, (Output(port or 0),), None, meter_id, Role.CLASSIFY)
    return FlowRule(Table.CLASSIFY, priority, match, (PushLabel(label),), Table.TRANSIT, meter_id, Role.CLASSIFY)


def _check_split(paths: Sequence[LabelledPath]) -> None:
    pair = f"{paths[0].source} → {paths[0].target}"
    total = sum(path.share for path in paths)
    if abs(total - 1) > _SAME or any(path.share <= 0 for path in paths):
        raise InputError(f"the shares of the pair {pair} are not above 0 and 1 together, but {total:g}")
    if len({path.links for path in paths}) < len(paths):
        raise InputError(f"the pair {pair} has one path twice")
    if len({(path.flows, path.rate_cap_bps) for path in paths}) > 1:
        raise InputError(f"the paths of the pair {pair} differ in its flows or its rate cap")
