"""``heddle links``: the directed links of a running daemon, their loads, and which are kept clear."""

from __future__ import annotations

from collections.abc import Sequence

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
            " ".join(word for word, holds in (("damped", link.damped), ("cordoned", link.cordoned)) if holds),
        )
        for link in links
    ]
    print_table(("link", "to", "capacity>", "delay>", "load>", "used>", ""), rows, "No link is known.")


def change_cordons(
    url: str | None, *, cordon: Sequence[str] = (), uncordon: Sequence[str] = (), as_json: bool = False
) -> None:
    """Keep cables clear, or use them again, and print all that are cordoned then."""
    with Client(url or DEFAULT_URL) as client:
        cordoned = client.change_cordons(cordon, uncordon)
    if as_json:
        print_json({"cordoned": list(cordoned)})
    else:
        print(f"cordoned: {' '.join(cordoned)}" if cordoned else "No link is cordoned.")
