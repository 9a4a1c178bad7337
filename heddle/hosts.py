"""``heddle hosts``: the hosts that a running daemon knows."""

from __future__ import annotations

from controller.client import DEFAULT_URL, Client
from heddle.output import NOTHING, print_json, print_table


def show_hosts(url: str | None, *, as_json: bool) -> None:
    """Print the hosts."""
    with Client(url or DEFAULT_URL) as client:
        hosts = client.hosts()
    if as_json:
        print_json(hosts)
        return
    rows = [(host.id, host.ip, host.mac, host.attached_to or NOTHING, host.learned_from) for host in hosts]
    print_table(("host", "address", "MAC", "at", "known from"), rows, "No host is known.")
