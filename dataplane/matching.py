"""Which packets a rule matches, and which two rules can match the same one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias

from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    MATCH_FIELDS,
    FlowRule,
    Masked,
    Match,
)
from topologies.errors import HeddleError

FIELDS = MATCH_FIELDS
"""Their places in it are what a `Headers` is indexed by."""

Headers: TypeAlias = tuple[Any, ...]
"""A packet as the match fields see it, None where it has no such field."""

Masks: TypeAlias = tuple[tuple[int, int | None], ...]
"""Places of fields, each with the mask under which it counts; None: all of it does."""

PREREQUISITES: dict[str, tuple[str, int]] = {
    "ipv4_src": ("eth_type", ETH_TYPE_IPV4),
    "ipv4_dst": ("eth_type", ETH_TYPE_IPV4),
    "arp_spa": ("eth_type", ETH_TYPE_ARP),
    "arp_sha": ("eth_type", ETH_TYPE_ARP),
    "arp_tpa": ("eth_type", ETH_TYPE_ARP),
    "mpls_label": ("eth_type", ETH_TYPE_MPLS),
    "ip_proto": ("eth_type", ETH_TYPE_IPV4),
    "tcp_src": ("ip_proto", IP_PROTO_TCP),
    "tcp_dst": ("ip_proto", IP_PROTO_TCP),
    "udp_src": ("ip_proto", IP_PROTO_UDP),
    "udp_dst": ("ip_proto", IP_PROTO_UDP),
}
"""What a rule must match on beside a field (OpenFlow 1.3.5, section 7.2.3)."""

_NEEDED = {
    FIELDS.index(name): (FIELDS.index(needed), value, f"{name} needs {needed}=0x{value:04x}")
    for name, (needed, value) in PREREQUISITES.items()
}
_ADDRESSES = frozenset(FIELDS.index(name) for name in ("ipv4_src", "ipv4_dst", "arp_tpa"))
_ADDRESS_BITS, _ALL_PORTS = 32, 0xFFFF

match_values: Callable[[Match], Headers] = attrgetter(*FIELDS)
"""The values that a match wants, by place."""


class RuleError(HeddleError):
    """Rules that a switch would refuse, or whose meaning it may choose; the message names switch and rule."""


@lru_cache(maxsize=65_536)
def prefix_range(prefix: str) -> tuple[int, int]:
    """The first address of a prefix, or of a single address, as a number, and how many there are.

    Raises
    ------
    ValueError
        It is no address, and no prefix of 1 to 31 bits with all bits behind it 0.
    """
    address, slash, length = prefix.partition("/")
    value = int(IPv4Address(address))
    if not slash:
        return value, 1
    if length not in _LENGTHS:
        raise ValueError(f"{prefix} has no length from 1 to 31")
    size = 1 << (_ADDRESS_BITS - int(length))
    if value % size:
        raise ValueError(f"{prefix} has bits set behind the prefix")
    return value, size


_LENGTHS = frozenset(str(length) for length in range(1, _ADDRESS_BITS))


def masks_of(match: Match) -> Masks:
    """The fields that a match looks at, and how much of each.

    Raises
    ------
    ValueError
        A field lacks what must be matched on beside it, or a prefix or mask is not in the form that switches report.
    """
    values = match_values(match)
    masks = []
    for place, value in enumerate(values):
        if value is None:
            continue
        if place in _NEEDED:
            needed, wanted, complaint = _NEEDED[place]
            if values[needed] != wanted:
                raise ValueError(complaint)
        masks.append((place, _mask(place, value)))
    return tuple(masks)


def _mask(place: int, value: Any) -> int | None:
    if place in _ADDRESSES:
        size = prefix_range(value)[1]
        return None if size == 1 else (1 << _ADDRESS_BITS) - size
    if isinstance(value, Masked):
        if not 0 < value.mask < _ALL_PORTS or value.value & ~value.mask:
            raise ValueError(f"{value} is not the form of some ports; write a single port as a number")
        return value.mask
    return None


def under(value: Any, mask: int | None) -> Any:
    """What counts, under a mask, of a header's field or of what a match wants of it."""
    if mask is None or value is None:
        return value
    if isinstance(value, str):
        return prefix_range(value)[0] & mask
    return (value.value if isinstance(value, Masked) else value) & mask


def projection(masks: Masks) -> Callable[[Headers], Any]:
    """A function from headers, or what a match wants that is at least as narrow, to what counts of them."""
    if not masks:
        return lambda _: ()
    if all(mask is None for _, mask in masks):
        return itemgetter(*(place for place, _ in masks))
    return lambda headers: tuple(under(headers[place], mask) for place, mask in masks)


class Shape:
    """Rules of one table with the same priority that look at the same fields under the same masks.

    Attributes
    ----------
    rules : dict
        By what ``key`` makes of the headers that they match.
    """

    def __init__(self, priority: int, masks: Masks) -> None:
        self.priority = priority
        self.masks = masks
        self.key = projection(masks)
        self.rules: dict[Any, FlowRule] = {}

    def copy(self) -> Shape:
        """One with the same rules, to be changed apart."""
        copied = Shape(self.priority, self.masks)
        copied.rules = dict(self.rules)
        return copied

    @property
    def names(self) -> frozenset[str]:
        """The fields."""
        return frozenset(FIELDS[place] for place, _ in self.masks)


def refuse_ambiguity(switch: str, shapes: Sequence[Shape]) -> None:
    """Two rules of one priority must not match one packet: a switch may choose either (OpenFlow 1.3.5, section 5.3).

    Raises
    ------
    RuleError
        It names both.
    """
    for index, shape in enumerate(shapes):
        for other in shapes[index + 1 :]:
            if other.priority == shape.priority:
                _refuse_common(switch, shape, other)


def _refuse_common(switch: str, one: Shape, other: Shape) -> None:
    theirs = dict(other.masks)
    shared = [(place, _narrower(mask, theirs[place])) for place, mask in one.masks if place in theirs]
    project = projection(tuple(shared))
    seen = {project(match_values(rule.match)): rule for rule in one.rules.values()}
    for rule in other.rules.values():
        clash = seen.get(project(match_values(rule.match)))
        if clash is not None:
            raise RuleError(f"{switch} has two rules of one priority for one packet: {clash} and {rule}")


def _narrower(one: int | None, other: int | None) -> int | None:
    """The bits that both of two masks look at."""
    if one is None or other is None:
        return other if one is None else one
    return one & other
