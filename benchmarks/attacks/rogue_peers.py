"""Peers that are no switches, or not the ones they say: the real ones do not notice."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator

from benchmarks.attacks.figures import Figure, at_least, at_most, told
from benchmarks.attacks.peers import FakeSwitch, connect, message, repeat
from benchmarks.attacks.stage import Stage, seconds_until, stage
from benchmarks.attacks.watch import Watch, load, pings

SOURCE = "127.0.9.9"
PAIRS = (("h2", "h6"), ("h3", "h6"))
_GIVEN_BACK_S = 10.0


def duplicate_row(framework: str) -> Iterator[Figure]:
    """A connected switch's dpid from elsewhere."""
    with stage(framework, declared=True) as made:
        made.acquaint("h2", "h6", "h3")
        yield from duplicate(made)


def storm_row(framework: str) -> Iterator[Figure]:
    """Silent, slow and hasty peers."""
    with stage(framework, declared=True) as made:
        made.acquaint("h2", "h6", "h3")
        yield from storm(made)


def duplicate(made: Stage, attempts: int = 20, pause_s: float = 0.5) -> Iterator[Figure]:
    """Come up with a leaf's dpid, again and again."""
    name, dpid = "duplicate-dpid", made.fabric.node_by_id["l1"].dpid or 0
    refused = 0
    with Watch(made) as watch:
        with pings(made, *PAIRS) as result:
            for _ in range(attempts):
                fake = FakeSwitch(made.openflow, dpid, SOURCE)
                refused += fake.closed.wait(5.0) and not fake.up.is_set()
                fake.close()
                time.sleep(pause_s)
        addresses = {switch.id: switch.address or "" for switch in made.client.switches()}
        events = [event for event in made.client.events() if SOURCE in event.message]
        counted = {kind: count for kind, count in watch.counted().items() if "duplicate" in kind}
    yield at_least(name, "attempts refused", refused, attempts)
    yield at_most(name, "the real switch was replaced", float(SOURCE in addresses[made.name("l1")]), 0)
    yield at_most(name, "links or switches lost", watch.losses(), 0, ", ".join(sorted(watch.down_switches)))
    yield at_most(name, "pings lost", result[1], 0, f"of {result[0]}")
    yield at_least(name, "events that name the peer", len(events), 1, ", ".join(sorted({e.kind for e in events})))
    yield at_least(name, "counted", sum(counted.values()), 1, str(counted))


def storm(
    made: Stage, silent: int = 200, slow: int = 20, per_second: float = 100.0, seconds: float = 30.0
) -> Iterator[Figure]:
    """Peers that say nothing, handshakes of a byte a second, and connections that end at once.

    Whoever is turned away comes again, so that there are always as many as asked for.
    """
    name, pid = "rogue-storm", made.daemon.pid
    before, over = load(pid), threading.Event()
    hasty = itertools.count()
    crowds = (_Crowd(made.openflow, "127.0.9.1", silent, b""), _Crowd(made.openflow, "127.0.9.2", slow, message(0)))
    with Watch(made) as watch:
        with pings(made, *PAIRS) as result:
            threads = [repeat(crowd.turn, 1.0, over) for crowd in crowds]
            # From many addresses, so that none of them is made to wait for its own haste.
            threads.append(
                repeat(lambda: connect(made.openflow, f"127.0.9.{3 + next(hasty) % 200}").close(), 1 / per_second, over)
            )
            time.sleep(seconds)
            during = load(pid)
        over.set()
        for thread in threads:
            thread.join()
        for crowd in crowds:
            crowd.close()

        def given_back() -> bool:
            now = load(pid)
            return now.threads <= before.threads and now.descriptors <= before.descriptors

        back_s = seconds_until(given_back, 3 * _GIVEN_BACK_S)
        counted = watch.counted()
    after = load(pid)
    connections = next(hasty) + sum(crowd.connections for crowd in crowds)
    yield told(name, "connections made", connections, f"{silent} silent and {slow} slow ones at any time")
    yield at_most(name, "links or switches lost", watch.losses(), 0, ", ".join(sorted(watch.down_switches)))
    yield at_most(name, "pings lost", result[1], 0, f"of {result[0]}")
    yield at_most(name, "all given back, s", back_s, _GIVEN_BACK_S, f"{before} → {after}")
    yield told(name, "threads, most", watch.most_threads, f"before {before.threads}")
    yield told(name, "descriptors, most", watch.most_descriptors, f"before {before.descriptors}")
    yield told(name, "memory gained, MB", (after.rss_bytes - before.rss_bytes) / 1e6)
    yield told(name, "CPU during, share of a core", (during.cpu_s - before.cpu_s) / seconds)
    yield told(name, "API answer, worst, s", watch.api_worst_s, f"{len(watch.api_s)} answers, {watch.unanswered} none")
    yield told(name, "counted", counted.total(), str(dict(counted)))


class _Crowd:
    """Connections that are made again whenever the controller ends one; at each turn, each sends a byte.

    Attributes
    ----------
    connections : int
        How many were made in all.
    """

    def __init__(self, address: tuple[str, int], source: str, size: int, says: bytes) -> None:
        self._address, self._source, self._says = address, source, says
        self._sockets: list[socket.socket | None] = [None] * size
        self._said = 0
        self.connections = 0

    def turn(self) -> None:
        """Replace those that are over, and let each say its next byte."""
        for place, sock in enumerate(self._sockets):
            if sock is None or _is_over(sock):
                if sock is not None:
                    sock.close()
                self._sockets[place] = connect(self._address, self._source)
                self.connections += 1
            elif self._says:
                with contextlib.suppress(OSError):
                    sock.sendall(self._says[self._said % len(self._says)].to_bytes())
        self._said += 1

    def close(self) -> None:
        """Close all."""
        for sock in self._sockets:
            if sock is not None:
                sock.close()


def _is_over(sock: socket.socket) -> bool:
    """Whether the controller closed a connection; what it said on it is thrown away."""
    try:
        while received := sock.recv(4096, socket.MSG_DONTWAIT):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not received
