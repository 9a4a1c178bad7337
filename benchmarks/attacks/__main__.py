"""Carry the attacks out, print every number with its limit, and return 4 where one is missed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from benchmarks.attacks import (
    arp_takeover,
    discovery_probes,
    mac_flood,
    published,
    rogue_peers,
    silence,
    valid_messages,
)
from benchmarks.attacks.figures import Figure

ROWS: dict[str, Callable[[str], Iterator[Figure]]] = {
    "mac-flood": mac_flood.row,
    "lldp-forged": discovery_probes.forged_row,
    "lldp-replayed": discovery_probes.replayed_row,
    "lldp-relayed": discovery_probes.relayed_row,
    "arp-takeover": arp_takeover.row,
    "duplicate-dpid": rogue_peers.duplicate_row,
    "rogue-storm": rogue_peers.storm_row,
    "published": published.row,
    "silent-link": silence.link_row,
    "fin": silence.fin_row,
    "silent-peer": silence.peer_row,
    "valid-messages": valid_messages.row,
}


def main() -> int:
    """Measure, print, and return 4 where a limit is missed."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    options.add_argument("--framework", choices=["ryu", "os-ken"], default="ryu")
    options.add_argument("--row", action="append", choices=list(ROWS), help="only this one; may be given again")
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = options.parse_args()
    ok = True
    for name in arguments.row or ROWS:
        for figure in ROWS[name](arguments.framework):
            ok = ok and figure.ok
            line = json.dumps({"framework": arguments.framework, **asdict(figure)}) if arguments.json else str(figure)
            print(line, flush=True)
    return 0 if ok else 4


if __name__ == "__main__":
    sys.exit(main())
