"""Waits until every emulated host reaches every other, as a collective takes for granted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from mininet_scenarios.cluster import Cluster
from topologies.errors import HeddleError

PATIENCE_S = 60.0
_ONE_PING_S = 5
_PAUSE_S = 0.1


def await_reachable(cluster: Cluster, hosts: Sequence[str], patience_s: float = PATIENCE_S) -> None:
    """Ping every pair, both ways, until each was answered once.

    MPI gives up at the first connection that fails, and a neighbour that does not answer three times in three
    seconds fails it: on a machine that is busy starting ranks, that happens. Neighbours known beforehand are asked for
    nothing.

    Raises
    ------
    HeddleError
        A pair stays silent; the message names it.
    """
    silent = {host: [other for other in hosts if other != host] for host in hosts}
    deadline = time.monotonic() + patience_s
    while silent:
        pings = {host: _ping(cluster, host, others) for host, others in silent.items()}
        silent = {host: left for host, ping in pings.items() if (left := _unanswered(cluster, ping, silent[host]))}
        if silent and time.monotonic() > deadline:
            host, others = next(iter(silent.items()))
            raise HeddleError(f"{host} does not reach {others[0]} within {patience_s:g} s; see the daemon's log")
        if silent:
            time.sleep(_PAUSE_S)


def _ping(cluster: Cluster, host: str, others: Sequence[str]) -> subprocess.Popen[bytes]:
    addresses = " ".join(cluster.fabric.node_by_id[other].ip or "" for other in others)
    # One after another: every first packet of a pair goes through the switches' slow path, several times.
    script = f"for ip in {addresses}; do ping -n -q -c 1 -W {_ONE_PING_S} $ip >/dev/null || echo $ip; done"
    return cluster.start_in(host, "sh", "-c", script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _unanswered(cluster: Cluster, ping: subprocess.Popen[bytes], asked: list[str]) -> list[str]:
    said = ping.communicate()[0].decode().split()
    # The script ends with 0 whatever was answered: another code says that it never ran, or not to its end.
    if ping.returncode:
        return asked
    addresses = {node.ip: node.id for node in cluster.fabric.hosts}
    return [addresses[line] for line in said]
