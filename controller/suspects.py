"""Asks switches for the counters of ports whose links may be lost, one question at a time each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from controller.ports import PortId
from controller.runtime import Runtime, Switch
from topologies.errors import HeddleError

log = logging.getLogger(__name__)


class Suspects:
    """Questions under way.

    Parameters
    ----------
    answered : callable
        Takes a port, its count of received packets, when its switch was asked, and when it had answered.
    """

    def __init__(self, runtime: Runtime, answered: Callable[[PortId, int, float, float], None]) -> None:
        self._runtime = runtime
        self._answered = answered
        self._being_read: set[int] = set()

    def ask(self, switch: Switch, ports: Sequence[int]) -> None:
        """Read the counters of a switch's ports, unless it still owes an answer."""
        if switch.dpid not in self._being_read:
            self._being_read.add(switch.dpid)
            self._runtime.spawn(lambda: self._read(switch, ports))

    def _read(self, switch: Switch, ports: Sequence[int]) -> None:
        asked_s = self._runtime.now_s()
        try:
            counters = switch.read_counters(ports)
        except HeddleError as error:
            log.debug("no counters from %s: %s", switch.address, error)
            return
        finally:
            self._being_read.discard(switch.dpid)
        for counter in counters:
            self._answered(PortId(switch.dpid, counter.port), counter.rx_packets, asked_s, self._runtime.now_s())
