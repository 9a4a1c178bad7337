"""Whether a link that loses its probes still carries anything: receive counters of its two ends, read while in doubt.

Congestion drops probes, and so does a switch that has no time for them; neither stops a port's receive counter. So a
link is silent only where two readings of each end, both asked for since the doubt arose, show the same count although
the other end sent a probe in between. A switch that does not answer gives no reading, and without one there is no
verdict: a stalled switch is no evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.ports import PortId

READ_S = 0.3
"""Time between two questions about one port."""
CROSS_S = 0.1
"""What a probe is given from the daemon through the other switch and over the link into the counter."""


@dataclass(slots=True)
class _End:
    since_s: float
    asked_s: float | None = None
    # The first of the readings that show this count, and the first probe sent to this end since.
    rx_packets: int | None = None
    read_s: float = 0.0
    probed_s: float | None = None
    still: bool = False


class SilenceWatch:
    """Ends of suspect links and what their counters say."""

    def __init__(self) -> None:
        self._ends: dict[PortId, _End] = {}

    def __contains__(self, port: PortId) -> bool:
        return port in self._ends

    def doubt(self, port: PortId, now_s: float) -> None:
        """A port's link is suspect, newly or still."""
        self._ends.setdefault(port, _End(now_s))

    def trust(self, port: PortId) -> None:
        """A port's link is suspect no more."""
        self._ends.pop(port, None)

    def probed(self, port: PortId, now_s: float) -> None:
        """The other end has sent a probe to this port."""
        end = self._ends.get(port)
        if end is not None and end.probed_s is None:
            end.probed_s = now_s

    def readings_due(self, now_s: float) -> list[PortId]:
        """Ports whose counters are to be read now."""
        due = []
        for port, end in self._ends.items():
            if end.asked_s is not None and now_s - end.asked_s < READ_S:
                continue
            # A second reading says nothing before something had to arrive.
            if end.rx_packets is None or (end.probed_s is not None and now_s - end.probed_s >= CROSS_S):
                end.asked_s = now_s
                due.append(port)
        return due

    def read(self, port: PortId, rx_packets: int, asked_s: float, now_s: float) -> None:
        """A port's receive counter, and when the switch was asked for it."""
        end = self._ends.get(port)
        if end is None or asked_s < end.since_s:
            return
        if rx_packets != end.rx_packets:
            end.rx_packets, end.read_s, end.probed_s, end.still = rx_packets, now_s, None, False
        elif end.probed_s is not None and asked_s - end.probed_s >= CROSS_S:
            end.still = True

    def is_still(self, port: PortId) -> bool:
        """Whether nothing arrived at a port between two readings although it had to."""
        end = self._ends.get(port)
        return end is not None and end.still
