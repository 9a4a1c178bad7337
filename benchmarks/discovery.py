"""How long the daemon takes to know a k=4 fat-tree, and to notice that a link is gone or silent, on real switches.

Run as root: ``python -m benchmarks.discovery [--framework ryu|os-ken] [--links 10] [--json]``.
Known: from the last switch's handshake to the snapshot with all switches, hosts and links (limit 5 s). Gone: from
the command that takes a port down to the first API answer without the link (limit 0.5 s). Silent: the same from the
commands that let both ends of a link drop all that they send while their ports stay up (limit 1.5 s).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mininet_scenarios.cluster import Cluster
from mininet_scenarios.daemon import Daemon, free_address
from mininet_scenarios.wiring import interface
from topologies.fabric import LinkId, NodeKind
from topologies.fat_tree import fat_tree

KNOWN_LIMIT_S, GONE_LIMIT_S, SILENT_LIMIT_S = 5.0, 0.5, 1.5
_PATIENCE_S = 60.0


def main() -> int:
    """Measure, print, and return 4 where a limit is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--framework", choices=["ryu", "os-ken"], default="ryu")
    options.add_argument("--links", type=int, default=10, help="how many links to try, one after another")
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    fabric = fat_tree(4, capacity_bps=1e8, delay_s=1e-5)
    openflow = free_address()
    with Cluster(fabric, openflow) as cluster, tempfile.TemporaryDirectory() as directory:
        environment = cluster.run.environment | {"HEDDLE_FRAMEWORK": arguments.framework}
        with Daemon(Path(directory), fabric, openflow, environment=environment) as daemon:
            daemon.wait_ready()
            events = daemon.client.events()
            last_up_s = max(event.at_s for event in events if event.kind == "switch-up")
            known_s = next(event.at_s for event in events if event.kind == "settled") - last_up_s
            between = [
                link.id
                for link in fabric.links
                if all(fabric.node_by_id[end].kind is NodeKind.SWITCH for end in (link.source, link.target))
            ]
            chosen = between[:: max(1, len(between) // arguments.links)][: arguments.links]
            gone_s = [_seconds_gone(daemon, link, cluster.set_link) for link in chosen]
            silent_s = [_seconds_gone(daemon, link, partial(_set_speech, cluster)) for link in chosen]
    result = {
        "framework": arguments.framework,
        "known_s": round(known_s, 3),
        "known_limit_s": KNOWN_LIMIT_S,
        "gone_worst_s": round(max(gone_s), 3),
        "gone_median_s": round(sorted(gone_s)[len(gone_s) // 2], 3),
        "gone_limit_s": GONE_LIMIT_S,
        "silent_worst_s": round(max(silent_s), 3),
        "silent_median_s": round(sorted(silent_s)[len(silent_s) // 2], 3),
        "silent_limit_s": SILENT_LIMIT_S,
        "links": len(chosen),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>16}  {value}")
    kept = known_s <= KNOWN_LIMIT_S and max(gone_s) <= GONE_LIMIT_S and max(silent_s) <= SILENT_LIMIT_S
    return 0 if kept else 4


def _seconds_gone(daemon: Daemon, link: LinkId, turn: Callable[..., None]) -> float:
    """How long a link stays in the view, from the command that turns it off; it is on again, and back, at the end."""
    begun_s = time.monotonic()
    turn(link, up=False)
    while link in daemon.client.fabric().link_by_id:
        if time.monotonic() - begun_s > _PATIENCE_S:
            raise SystemExit(f"{link} never left the view")
    seconds = time.monotonic() - begun_s
    turn(link, up=True)
    while link not in daemon.client.fabric().link_by_id:
        if time.monotonic() - begun_s > 2 * _PATIENCE_S:
            raise SystemExit(f"{link} never came back")
    return seconds


def _set_speech(cluster: Cluster, link: LinkId, *, up: bool) -> None:
    """Let both ends of a link drop all that they send, or none: no frame fits into a queue of one byte."""
    limit = cluster.shaping.queue_bytes if up else 1
    ends = (link, cluster.fabric.link_by_id[link].reverse_id)
    for end in ends:
        change = f"tc qdisc change dev {interface(end)} parent 1:1 handle 2: bfifo limit {limit}"
        subprocess.run(["ip", "netns", "exec", cluster.run.namespace, *change.split()], check=True)


if __name__ == "__main__":
    sys.exit(main())
