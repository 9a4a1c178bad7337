"""``heddle switches``: the switches of a running daemon."""

from __future__ import annotations

from controller.client import DEFAULT_URL, Client
from heddle.output import NOTHING, print_json, print_table


def show_switches(url: str | None, *, as_json: bool) -> None:
    """Print the switches."""
    with Client(url or DEFAULT_URL) as client:
        switches = client.switches()
    if as_json:
        print_json(switches)
        return
    rows = [
        (
            switch.id,
            switch.dpid,
            "up" if switch.connected else "down",
            switch.address or NOTHING,
            str(switch.flows),
            str(switch.groups),
            str(switch.meters),
        )
        for switch in switches
    ]
    columns = ("switch", "dpid", "state", "address", "flows>", "groups>", "meters>")
    print_table(columns, rows, "No switch has connected.")
