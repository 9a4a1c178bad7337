"""What somebody with ``ovs-ofctl`` may do to the rules of a switch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.dataplane.switchrules import Held, ofctl
from dataplane.echo import ECHO_LABEL
from dataplane.rules import COOKIE_TAG, METER_ID_BASE, Role
from mininet_scenarios.cluster import Cluster

FOREIGN_FLOW = "cookie=0xbeef, table=2, priority=7,ip,nw_dst=198.51.100.7 actions=drop"
"""A flow of somebody else's, for an address of a test network (RFC 5737)."""
_COOKIE = re.compile(r"^cookie=0x([0-9a-f]+), ")
_LABEL = re.compile(r"\bmpls_label=(\d+)\b.* actions=")
_PUSHED = re.compile(r" actions=.*\bset_field:(\d+)->mpls_label\b")
_GROUP_USED = re.compile(r" actions=group:(\d+)$")
_GROUP = re.compile(r"group_id=(\d+),type=(\w+)")


@dataclass(frozen=True, slots=True)
class Tampering:
    """One thing that somebody may do.

    Attributes
    ----------
    find : callable
        What to do it to, given what a switch holds: arguments of ``ovs-ofctl`` behind the switch, none where the switch
        has nothing of the kind.
    """

    what: str
    command: tuple[str, ...]
    find: Callable[[Held], Iterator[str]]

    def carry_out(self, cluster: Cluster, switch: str, argument: str) -> None:
        """Do it."""
        command, *options = self.command
        ofctl(cluster, command, switch, argument, options=options)


def role_of(flow: str) -> Role | None:
    """What a flow, as Open vSwitch prints it, is for; None where it is not ours."""
    found = _COOKIE.search(flow)
    cookie = int(found[1], 16) if found is not None else 0
    return Role(cookie >> 40 & 0xFF) if cookie >> 48 == COOKIE_TAG else None


def label_forwarded_on(flow: str) -> int | None:
    """The label of a planned path whose packets a flow forwards; None where it does something else."""
    found = _LABEL.search(flow) if role_of(flow) is Role.TRANSIT else None
    return int(found[1]) if found is not None and int(found[1]) != ECHO_LABEL else None


def label_pushed(flow: str) -> int | None:
    """The label that a flow puts on packets from hosts; None where it puts none."""
    found = _PUSHED.search(flow) if role_of(flow) is Role.CLASSIFY else None
    return int(found[1]) if found is not None else None


def _key(flow: str) -> str:
    """Table, priority and match, as ``ovs-ofctl --strict`` takes them."""
    return _COOKIE.sub("", flow).partition(" actions=")[0]


def _planned(there: Held) -> Iterator[str]:
    return (_key(flow) for flow in there.flows if label_forwarded_on(flow) is not None)


def _marking(there: Held) -> Iterator[str]:
    return (f"{_key(flow)} actions=drop" for flow in there.flows if label_pushed(flow) is not None)


def _default(there: Held) -> Iterator[str]:
    return (_key(flow) for flow in there.flows if role_of(flow) is Role.DEFAULT and "nw_dst" in flow)


def _groups(there: Held) -> Iterator[str]:
    """Groups of default routing, which every switch on the way has."""
    used = {found[1] for flow in there.flows if (found := _GROUP_USED.search(flow)) is not None}
    return (f"group_id={number}" for number in used)


def _emptied_groups(there: Held) -> Iterator[str]:
    types = {found[1]: found[2] for group in there.groups if (found := _GROUP.search(group)) is not None}
    for group in _groups(there):
        number = group.partition("=")[2]
        yield f"group_id={number},type={types[number]}"


def _slowed_meters(there: Held) -> Iterator[str]:
    for meter in there.meters:
        number = int(meter.split(maxsplit=1)[0])
        if number > METER_ID_BASE:
            yield f"meter={number},pktps,burst,band=type=drop,rate=7,burst_size=7"


def _meters(there: Held) -> Iterator[str]:
    return (argument.partition(",")[0] for argument in _slowed_meters(there))


TAMPERINGS = (
    Tampering("a planned flow deleted", ("del-flows", "--strict"), _planned),
    Tampering("a planned flow altered", ("mod-flows", "--strict"), _marking),
    Tampering("a default flow deleted", ("del-flows", "--strict"), _default),
    Tampering("a group deleted, its flows with it", ("del-groups",), _groups),
    Tampering("a group altered", ("mod-group",), _emptied_groups),
    Tampering("a meter deleted, its flows with it", ("del-meter",), _meters),
    Tampering("a meter altered", ("mod-meter",), _slowed_meters),
)
