"""How long the daemon takes to know a k=4 fat-tree, and to notice that a link is gone, on real switches.

Run as root: ``python -m benchmarks.discovery [--framework ryu|os-ken] [--links 10] [--json]``.
Known: from the last switch's handshake to the snapshot with all switches, hosts and links (limit 5 s). Gone: from
the command that takes a port down to the first API answer without the link (limit 0.5 s).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from mininet_scenarios.cluster import Cluster
from mininet_scenarios.daemon import Daemon, free_address
from topologies.fabric import NodeKind
from topologies.fat_tree import fat_tree

KNOWN_LIMIT_S, GONE_LIMIT_S = 5.0, 0.5


def main() -> int:
    """Measure, print, and return 4 where a limit is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--framework", choices=["ryu", "os-ken"], default="ryu")
    options.add_argument("--links", type=int, default=10, help="how many links to take down, one after another")
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
            gone_s = []
            for link in between[:: max(1, len(between) // arguments.links)][: arguments.links]:
                begun_s = time.monotonic()
                cluster.set_link(link, up=False)
                while link in daemon.client.fabric().link_by_id:
                    if time.monotonic() - begun_s > 60:
                        raise SystemExit(f"{link} never left the view")
                gone_s.append(time.monotonic() - begun_s)
                cluster.set_link(link, up=True)
                while link not in daemon.client.fabric().link_by_id:
                    if time.monotonic() - begun_s > 60:
                        raise SystemExit(f"{link} never came back")
    result = {
        "framework": arguments.framework,
        "known_s": round(known_s, 3),
        "known_limit_s": KNOWN_LIMIT_S,
        "gone_worst_s": round(max(gone_s), 3),
        "gone_median_s": round(sorted(gone_s)[len(gone_s) // 2], 3),
        "gone_limit_s": GONE_LIMIT_S,
        "links": len(gone_s),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>16}  {value}")
    return 0 if known_s <= KNOWN_LIMIT_S and max(gone_s) <= GONE_LIMIT_S else 4


if __name__ == "__main__":
    sys.exit(main())
