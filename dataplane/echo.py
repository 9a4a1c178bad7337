"""The rule by which a switch returns what its neighbours send it to see whether it lives, without its controller.

As in the echo function of BFD (RFC 5880, section 6.4): the frame goes through the other side's data plane and comes
back, so it tells a dead switch from one whose channel alone is lost. It is a probe of the sending port under a label;
what comes back is the probe itself, which that port's guard sends up. Hosts send no labels.
"""

from __future__ import annotations

import struct

from dataplane.rules import (
    ETH_TYPE_LLDP,
    ETH_TYPE_MPLS,
    PORT_IN_PORT,
    FlowRule,
    Match,
    Output,
    PopLabel,
    Role,
    SwitchRules,
    Table,
)

ECHO_LABEL = 14
"""The label of operation and maintenance (RFC 3429), which no path has."""
_ABOVE_PATHS = 200
ECHO_RULE = FlowRule(
    Table.TRANSIT,
    _ABOVE_PATHS,
    Match(eth_type=ETH_TYPE_MPLS, mpls_label=ECHO_LABEL),
    (PopLabel(ETH_TYPE_LLDP), Output(PORT_IN_PORT)),
    role=Role.TRANSIT,
)

_ETH_TYPE_AT = 12
# Ethernet type, then label, bottom of stack and time to live (RFC 3032, section 2.1).
_HEADER = struct.pack("!HI", ETH_TYPE_MPLS, ECHO_LABEL << 12 | 1 << 8 | 255)


def echo_frame(probe: bytes) -> bytes:
    """An LLDP frame under the label: what the other side returns is that frame."""
    return probe[:_ETH_TYPE_AT] + _HEADER + probe[_ETH_TYPE_AT + 2 :]


def returning_ports(rules: SwitchRules) -> frozenset[int]:
    """The ports at which a switch with these rules returns what it is sent to see whether it lives."""
    if ECHO_RULE not in rules.flows:
        return frozenset()
    return frozenset(
        flow.match.in_port
        for flow in rules.flows
        if flow.table is Table.GUARD
        and flow.goto is Table.TRANSIT
        and flow.match.eth_type == ETH_TYPE_MPLS
        and flow.match.in_port is not None
    )
