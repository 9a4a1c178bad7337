"""The ports of one switch as it describes them, and what is new of them that the application has not heard yet."""

from __future__ import annotations

from typing import Any

from controller.framework import ofproto
from controller.framing import Violation


class PortBook:
    """What one connection knows of its switch's ports.

    Attributes
    ----------
    descriptions : dict of int to OFPPort
        All ports, by number.
    """

    def __init__(self, max_ports: int) -> None:
        self._max_ports = max_ports
        self._news: dict[int, tuple[Any, ...]] = {}
        self.descriptions: dict[int, Any] = {}

    def described(self, port: Any) -> None:
        """The switch described a port; raises `Violation` where there are too many."""
        self.descriptions[port.port_no] = port
        if len(self.descriptions) > self._max_ports:
            raise Violation("ports", f"has more than {self._max_ports} ports")

    def changed(self, status: Any) -> None:
        """A port appeared, changed or went; raises `Violation` where there are too many."""
        if status.reason == ofproto.OFPPR_DELETE:
            self.descriptions.pop(status.desc.port_no, None)
        else:
            self.described(status.desc)

    def add_news(self, status: Any) -> None:
        """Keep a status until it is taken.

        Of a port that changes faster than the application listens, the latest one is kept, and that it was down.
        """
        number = status.desc.port_no
        lost = [old for old in self._news.get(number, ()) if _is_lost(old)]
        self._news[number] = (*lost[:1], status)

    @property
    def has_news(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._news)

    def take_news(self) -> tuple[Any, ...]:
        """The statuses of one port, those of the port that has waited longest."""
        return self._news.pop(next(iter(self._news)))


def _is_lost(status: Any) -> bool:
    """Whether a port's status says that it is gone or has no link."""
    down = status.desc.state & ofproto.OFPPS_LINK_DOWN or status.desc.config & ofproto.OFPPC_PORT_DOWN
    return bool(status.reason == ofproto.OFPPR_DELETE or down)
