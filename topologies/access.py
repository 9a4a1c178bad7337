"""What the access links of hosts give: the line rate between two of them."""

from __future__ import annotations

from topologies.errors import InputError
from topologies.fabric import Fabric


def line_rate_bps(fabric: Fabric, source: str, target: str) -> float:
    """What the access links of two hosts let through, bit/s.

    Raises
    ------
    InputError
        One of them is no host, is attached nowhere, or its link has no capacity.
    """
    sending = fabric.access_link(source)
    fabric.access_link(target)
    receiving = fabric.delivery_links.get(target)
    if receiving is None:
        raise InputError(f"no link leads to {target!r}; see 'heddle links'")
    for link in (sending, receiving):
        if link.capacity_bps is None:
            raise InputError(f"link {link.id} has no capacity_bps; declare it in the fabric file")
    return min(sending.capacity_bps or 0.0, receiving.capacity_bps or 0.0)
