"""Learned hosts that fell silent are asked, and forgotten once they do not answer."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from controller.arp import probe
from controller.buckets import Buckets
from controller.discovery import Change, PortId
from controller.hostcheck import Place
from controller.hosts import Host, HostTable

AGE_S = 300.0
"""A host that has not spoken for so long is asked; ARP between known hosts stays in the switches."""
PROBES, INTERVAL_S = 3, 5.0
DOUBT_INTERVAL_S = 0.5
"""For hosts in whose place there may be another one by now: who waits for it is at work."""
DOUBTS_PER_S, DOUBTS_BURST, MOST_DOUBTED = 0.1, 4, 4
"""Newcomers at a port for whose sake the first few hosts there are asked: one host a port is routed."""
PROBES_PER_S, _PROBES_AT_ONCE = 30.0, 4
DOUBT_PROBES_PER_S, _DOUBT_PROBES_AT_ONCE = 15.0, 1
"""Together at most 50 in any second; neither kind keeps the other waiting."""
AWAY_S = 30.0
"""Wait before a host is looked after again whose switch is not connected."""
_MOST_A_TICK = 64


class Ageing:
    """When each learned host is due to be asked, and how often it was.

    Parameters
    ----------
    send : callable
        Sends a frame out of a port.
    place : callable
        Whether the hosts at a port can be asked.
    received_s : callable
        When a port's receive counter was last seen to have moved.
    in_use : callable
        Names of hosts on which jobs run.
    """

    def __init__(
        self,
        table: HostTable,
        send: Callable[[PortId, bytes], None],
        place: Callable[[PortId], Place],
        received_s: Callable[[PortId], float],
        in_use: Callable[[], AbstractSet[str]],
    ) -> None:
        self._table = table
        self._send = send
        self._place = place
        self._received_s = received_s
        self._in_use = in_use
        # One entry a host; an entry that is not its latest is passed over.
        self._due_s: dict[str, float] = {}
        self._queue: list[tuple[float, str]] = []
        self._doubt_queue: list[tuple[float, str]] = []
        self._asked: dict[str, tuple[int, float]] = {}
        self._doubted: set[str] = set()
        self._doubts: Buckets[PortId] = Buckets(DOUBTS_PER_S, DOUBTS_BURST)
        self._told: set[str] = set()
        self._names: AbstractSet[str] | None = None
        self._allowed: Buckets[None] = Buckets(PROBES_PER_S, _PROBES_AT_ONCE)
        self._doubts_allowed: Buckets[None] = Buckets(DOUBT_PROBES_PER_S, _DOUBT_PROBES_AT_ONCE)

    def watch(self, ip: str, due_s: float) -> None:
        """Look after a host at a time, instead of when it was due so far."""
        if self._due_s.get(ip) != due_s:
            self._due_s[ip] = due_s
            queue = self._doubt_queue if ip in self._doubted else self._queue
            heapq.heappush(queue, (due_s, ip))
            if len(queue) > 2 * len(self._due_s) + _MOST_A_TICK:
                # A port that flaps puts its hosts off each time.
                queue[:] = {entry for entry in queue if self._due_s.get(entry[1]) == entry[0]}
                heapq.heapify(queue)

    def newcomer(self, ip: str, at: PortId, now_s: float) -> None:
        """Somebody has come to a port: ask those who were there first whether they still are."""
        others = [host for host in self._table.at(at)[:MOST_DOUBTED] if host.ip != ip]
        if not others or not self._doubts.take(at, now_s):
            return
        for host in others:
            if host.ip not in self._asked:
                self._doubted.add(host.ip)
                self.watch(host.ip, now_s)

    def forget(self, ip: str) -> None:
        """A host is no more."""
        self._due_s.pop(ip, None)
        self._rest(ip)
        self._told.discard(ip)

    def tick(self, now_s: float) -> list[Change]:
        """Ask who is due, as far as the rate allows, and forget who stayed silent."""
        changes: list[Change] = []
        self._names = None
        for queue in (self._doubt_queue, self._queue):
            self._serve(queue, now_s, changes)
        return changes

    def _serve(self, queue: list[tuple[float, str]], now_s: float, changes: list[Change]) -> None:
        for _ in range(_MOST_A_TICK):
            if not queue or queue[0][0] > now_s:
                break
            due_s, ip = queue[0]
            host = self._table.find(ip)
            if self._due_s.get(ip) != due_s:
                heapq.heappop(queue)
            elif host is None or host.at is None or self._table.is_declared(host):
                heapq.heappop(queue)
                self.forget(ip)
            else:
                next_s = self._look_after(host, host.at, now_s, changes)
                if next_s is None:
                    break
                heapq.heappop(queue)
                if self._table.find(ip) is None:
                    self.forget(ip)
                else:
                    self.watch(ip, next_s)

    def _look_after(self, host: Host, at: PortId, now_s: float, changes: list[Change]) -> float | None:
        """Do what is due for a host; when it is due again, or None where the rate does not allow it now."""
        asked, began_s = self._asked.get(host.ip, (0, now_s))
        spoke_s = self._table.spoke_s(host.ip)
        fresh = not asked and host.certain and host.ip not in self._doubted and now_s - spoke_s < AGE_S
        if fresh or spoke_s >= began_s:
            self._rest(host.ip)
            self._told.discard(host.ip)
            return spoke_s + AGE_S
        place = self._place(at)
        if place in (Place.AWAY, Place.UNSEEN):
            self._rest(host.ip)
            return now_s + AWAY_S
        if place is Place.NOT_YET:
            return now_s + INTERVAL_S
        if place is Place.ASKABLE and asked < PROBES:
            allowed = self._doubts_allowed if host.ip in self._doubted else self._allowed
            if not allowed.take(None, now_s):
                return None
            self._send(at, probe(host.ip, host.mac))
            self._asked[host.ip] = (asked + 1, began_s)
            return now_s + (DOUBT_INTERVAL_S if host.ip in self._doubted else INTERVAL_S)
        self._rest(host.ip)
        if self._table.is_alone(host) and self._received_s(at) >= began_s:
            return now_s + AGE_S
        return self._found_silent(host, now_s, changes)

    def _found_silent(self, host: Host, now_s: float, changes: list[Change]) -> float:
        if self._names is None:
            self._names = self._in_use()
        if host.name not in self._names:
            self._table.forget(host)
            changes.append(Change(False, "host-aged", f"host {host.name} at {host.at} is silent, forgotten", host.at))
        elif host.ip not in self._told:
            self._told.add(host.ip)
            message = f"host {host.name} at {host.at} is silent, kept as a job runs on it"
            changes.append(Change(False, "host-silent", message, host.at))
        return now_s + AGE_S

    def _rest(self, ip: str) -> None:
        self._asked.pop(ip, None)
        self._doubted.discard(ip)
