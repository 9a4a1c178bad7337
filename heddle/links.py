"""``heddle links``: the directed links of a running daemon and their loads."""

from __future__ import annotations

from controller.client import DEFAULT_URL, Client
from heddle.output import duration, percent, print_json, print_table, rate


def show_links(url: str | None, *, as_json: bool) -> None:
    """Print the links."""
    with Client(url or DEFAULT_URL) as client:
        links = client.links()
    if as_json:
        print_json(links)
        return
    rows = [
        (
            link.id,
            f"{link.target}:{link.target_port}",
            rate(link.capacity_bps) + (" (assumed)" if link.capacity_assumed else ""),
            duration(link.delay_s),
            rate(link.load_bps),
            percent(link.utilisation),
            "damped" if link.damped else "",
        )
        for link in links
    ]
    print_table(("link", "to", "capacity>", "delay>", "load>", "used>", ""), rows, "No link is known.")
