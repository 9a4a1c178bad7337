"""Load on links from successive readings of port counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controller.discovery import PortId

LEAST_S = 0.5
"""Readings come each second. Those that waited together say little of the time between them: divided by it, a link of
10 Mbit/s carried 19 Gbit/s."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes that a port had received and sent by a moment of the monotonic clock."""

    at_s: float
    rx_bytes: int
    tx_bytes: int


class Rates(NamedTuple):
    """What came in at a port and went out of it, bits per second."""

    received_bps: float
    sent_bps: float


class LoadMeter:
    """The last two readings of each port, and the rates between them."""

    def __init__(self) -> None:
        self._last: dict[PortId, Reading] = {}
        self._rates_bps: dict[PortId, Rates] = {}

    def read(self, port: PortId, reading: Reading) -> None:
        """Take a reading; one that runs backwards (a restarted switch) starts anew, one that comes too soon is left."""
        last = self._last.get(port)
        if last is None:
            self._last[port] = reading
            return
        if reading.rx_bytes < last.rx_bytes or reading.tx_bytes < last.tx_bytes:
            self._last[port] = reading
            self._rates_bps.pop(port, None)
            return
        seconds = reading.at_s - last.at_s
        if seconds < LEAST_S:
            return
        self._last[port] = reading
        self._rates_bps[port] = Rates(
            (reading.rx_bytes - last.rx_bytes) * 8 / seconds,
            (reading.tx_bytes - last.tx_bytes) * 8 / seconds,
        )

    def forget(self, port: PortId) -> None:
        """Drop what is known of a port that is no more."""
        self._last.pop(port, None)
        self._rates_bps.pop(port, None)

    def rates_bps(self) -> Mapping[PortId, Rates]:
        """Rates at the ports that were read twice, as they are now."""
        return dict(self._rates_bps)

    def sent_bps(self, port: PortId) -> float | None:
        """Rate that went out of a port, bit/s; None before two readings."""
        rates = self._rates_bps.get(port)
        return rates.sent_bps if rates is not None else None
