"""A host speaks for 20,000 others: the table stays bounded, newcomers are found, and nobody else notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from benchmarks.attacks.figures import Figure, at_most, told
from benchmarks.attacks.stage import PATIENCE_S, Stage, seconds_until, stage
from benchmarks.attacks.watch import Watch, cpu_share, load, pings

FLOODER, NEWCOMER, THIRD = "h4", "h8", "h3"
BYSTANDERS = (("h2", "h6"), ("h3", "h6"))
SENDERS = 20_000
LEARNED_LIMIT_S = 1.0
HOSTS_PER_PORT = 64
_LOOK_S = 1.0
_IDLE_MARGIN = 0.05
"""Share of a core above the level before the flood that still counts as idle."""


def row(framework: str) -> Iterator[Figure]:
    """Flood an undeclared fabric, where every host has to be found by its ARP."""
    with stage(framework, declared=False) as made:
        made.acquaint("h2", "h6", "h3")
        yield from attack(made)


def attack(
    made: Stage, per_second: float = 10_000.0, seconds: float = 20.0, *, afterwards: bool = True
) -> Iterator[Figure]:
    """Flood from one port, bring a silent host up meanwhile, and look at everybody else.

    Parameters
    ----------
    per_second : float
        What the host sends; its port's meter lets a part of that pass.
    afterwards : bool
        Whether to look too at how soon the daemon is idle again.
    """
    name, pid, senders = "mac-flood", made.daemon.pid, min(SENDERS, round(per_second * seconds))
    with pings(made, *BYSTANDERS) as control:
        idle = cpu_share(pid, seconds / 2)
    before = load(pid)
    with Watch(made) as watch:
        with pings(made, *BYSTANDERS) as result:
            flood = made.start_script(
                FLOODER, "flood", made.device(FLOODER), str(senders), str(per_second), str(seconds)
            )
            time.sleep(seconds / 4)
            learned_s, reached_s = _newcomer(made)
            sent = int(flood.communicate(timeout=PATIENCE_S + seconds)[0])
        after = load(pid)
        came_up = sum(count for kind, count in watch.counted().items() if kind.startswith(("host-", "arp-", "packet-")))
    yield told(name, "frames sent", sent, f"{per_second:g}/s, {senders} senders")
    yield told(name, "hosts' frames judged by the daemon", came_up)
    yield at_most(name, "newcomer learned, s", learned_s, LEARNED_LIMIT_S)
    yield at_most(name, "newcomer reached by a third host, s", reached_s, LEARNED_LIMIT_S)
    yield at_most(name, "hosts at one port", watch.most_hosts_at_a_port, HOSTS_PER_PORT)
    yield at_most(name, "links, switches lost or invented", watch.losses() + len(watch.invented_links), 0)
    yield at_most(
        name, "pings lost", result[1], control[1], f"of {result[0]}; control run {control[1]} of {control[0]}"
    )
    yield told(name, "memory gained, MB", (after.rss_bytes - before.rss_bytes) / 1e6)
    yield told(name, "API answer, worst, s", watch.api_worst_s, f"{len(watch.api_s)} answers, {watch.unanswered} none")
    yield told(name, "CPU idle before, share of a core", idle)
    yield told(name, "CPU during, share of a core", (after.cpu_s - before.cpu_s) / seconds)
    if afterwards:
        quiet_s = seconds_until(lambda: cpu_share(pid, _LOOK_S) <= idle + _IDLE_MARGIN, 30.0)
        at_last = cpu_share(pid, 2 * _LOOK_S)
        yield at_most(name, "CPU after, share of a core", at_last, idle + _IDLE_MARGIN, f"quiet after {quiet_s:.1f} s")


def _newcomer(made: Stage) -> tuple[float, float]:
    """Seconds from a silent host's first ARP until the controller knows it, and until a third host reaches it."""
    learned: list[float] = []
    begun_s = time.monotonic()
    ip = made.ip(NEWCOMER)
    looking = threading.Thread(
        target=lambda: learned.append(seconds_until(lambda: any(host.ip == ip for host in made.client.hosts()), 30.0))
    )
    looking.start()
    first = made.cluster.start_in(NEWCOMER, "ping", "-n", "-q", "-c", "3", "-i", "0.2", made.ip(THIRD), stdout=-3)
    reached_s = float("inf")
    while time.monotonic() - begun_s < 30.0:
        if made.reaches(THIRD, ip, 0.2):
            reached_s = time.monotonic() - begun_s
            break
    looking.join()
    first.wait(PATIENCE_S)
    return learned[0], reached_s
