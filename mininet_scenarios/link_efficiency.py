"""What one TCP flow gets of a link, alone on the fabric: the yardstick for everything measured beside it."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path

from mininet_scenarios.cluster import Cluster
from topologies.errors import HeddleError

_PROGRAM = Path(__file__).with_name("tcp_probe.py")
_PROBE_S = 3.0
_PATIENCE_S = 60.0


def link_efficiency(cluster: Cluster, source: str, target: str) -> float:
    """Goodput of one TCP flow over the capacity of the sender's link.

    Parameters
    ----------
    source, target : str
        Hosts, best of two pods.

    Returns
    -------
    float
        Bytes that the receiving program got per second, times 8, over the capacity; headers make it
        0.993 at best at 9,000 bytes.

    Raises
    ------
    HeddleError
        The flow did not get through.
    """
    capacity_bps = cluster.fabric.access_link(source).capacity_bps or 0.0
    size_bytes = int(capacity_bps * _PROBE_S / 8)
    address = cluster.fabric.node_by_id[target].ip or ""
    receiver = cluster.start_in(target, sys.executable, str(_PROGRAM), "receive", stdout=subprocess.PIPE)
    try:
        port = json.loads(_line(receiver))["port"]
        sender = cluster.start_in(source, sys.executable, str(_PROGRAM), "send", address, str(port), str(size_bytes))
        try:
            # Only a sender that got all of it off lets the receiver speak: else it would wait for ever.
            if sender.wait(_PATIENCE_S):
                raise ValueError("the sender failed")
            result = json.loads(_line(receiver))
        finally:
            sender.kill()
            sender.wait()
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        raise HeddleError(
            f"a TCP flow from {source} to {target} did not get through within {_PATIENCE_S:g} s; see the daemon's log"
        ) from error
    finally:
        receiver.kill()
        receiver.communicate()
    return float(result["bytes"] * 8 / result["seconds"] / capacity_bps)


def _line(process: subprocess.Popen[bytes]) -> bytes:
    if process.stdout is None:
        raise HeddleError("the receiver's output is not captured")
    if not select.select([process.stdout], [], [], _PATIENCE_S)[0]:
        raise subprocess.TimeoutExpired(process.args, _PATIENCE_S)
    return bytes(process.stdout.readline())
