"""Undeclared switches that went away: what speaks for keeping one, and how it is forgotten, a few ports at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container

from controller.discovery import Discovery, PortId
from controller.hosts import HostTable
from controller.plankeeper import PlanKeeper
from controller.service import PlanStatus
from controller.strangers import Hold, Strangers

_LOOKS_A_TICK = 8


class Departures:
    """Which undeclared switches leave, and those that are leaving.

    Parameters
    ----------
    connected : container of int
        The dpids that are connected, live.
    name : callable
        The name of a dpid.
    port_forgotten, switch_forgotten : callable
        Told of each port, and of each switch once nothing of it is left.

    Attributes
    ----------
    strangers : Strangers
        What is to be told who came and went.
    """

    def __init__(
        self,
        connected: Container[int],
        discovery: Discovery,
        hosts: HostTable,
        keeper: PlanKeeper,
        name: Callable[[int], str],
        port_forgotten: Callable[[PortId], None],
        switch_forgotten: Callable[[int], None],
    ) -> None:
        self._connected = connected
        self._discovery = discovery
        self._hosts = hosts
        self._keeper = keeper
        self._name = name
        self._port_forgotten = port_forgotten
        self._switch_forgotten = switch_forgotten
        self._leaving: deque[int] = deque()
        self._in_use: tuple[PlanStatus | None, frozenset[str]] = (None, frozenset())
        self.strangers = Strangers(self._hold)

    def begin(self, now_s: float) -> tuple[int, ...]:
        """Switches that leave from now on: away for too long, or too many."""
        due = tuple(self.strangers.due(now_s, _LOOKS_A_TICK))
        self._leaving.extend(due)
        return due

    def go_on(self, most: int) -> bool:
        """Forget about so many ports and hosts of those that leave; whether there were any."""
        left, any_went = most, False
        while left > 0 and self._leaving:
            dpid = self._leaving[0]
            if dpid in self._connected:
                # It is back, and what it has is taken from it.
                self._leaving.popleft()
                continue
            any_went = True
            for at in self._hosts.ports_of(dpid):
                left -= len(self._hosts.at(at))
                self._hosts.forget_at(at)
                if left <= 0:
                    break
            for at in self._discovery.forget_switch(dpid, max(left, 0)):
                self._port_forgotten(at)
                left -= 1
            # A switch without any ports is work too.
            left -= 1
            if not self._discovery.port_count(dpid) and not self._hosts.ports_of(dpid):
                self._leaving.popleft()
                self._discovery.forget_switch(dpid)
                self._switch_forgotten(dpid)
        return any_went

    def _hold(self, dpid: int) -> Hold:
        """What speaks for keeping an undeclared switch that is away."""
        plan = self._keeper.plan
        if self._in_use[0] is not plan:
            paths = plan.paths if plan is not None else ()
            self._in_use = plan, frozenset(link.node for path in paths for link in path.links)
        hosts = {host.name for port in self._hosts.ports_of(dpid) for host in self._hosts.at(port)}
        if self._name(dpid) in self._in_use[1] or (
            hosts and any(not hosts.isdisjoint(job.ranks) for job in self._keeper.jobs.wanted())
        ):
            return Hold.USE
        return Hold.CABLE if self._discovery.is_linked_to_connected(dpid) else Hold.NOTHING
