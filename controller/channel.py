"""The OpenFlow listener: accepts switches, holds each connection to the rules, and knows who is connected.

An application (a subclass of `framework.App`, run by `framework.run`) makes a `ChannelServer` and starts
it in its ``start``; then it is told by the framework's events, in handlers marked by
``framework.set_ev_cls``:

* ``ofp_event.EventOFPStateChange`` in phase `framework.MAIN`: ``event.datapath`` is a `Connection` whose
  handshake is over (``id``, ``peer``, ``port_descriptions``); in phase `framework.DEAD`: it is closed
  (``close_reason``). Each MAIN is followed by exactly one DEAD, and no other connection is announced.
* ``ofp_event.EventOFPPacketIn``, ``EventOFPPortStatus`` and ``EventOFPErrorMsg`` (an error that answers no
  request and no batch) in phase MAIN: ``event.msg``, with ``event.msg.datapath``.

Handlers run one after another and must not wait for a switch: `Connection.send_msg` never waits, but
`Connection.request` and `Connection.send_batch` do and belong into a task of `framework.spawn`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from controller import framework
from controller.connection import ChannelLimits, Connection
from controller.framing import Violation
from controller.pending import BatchResult, NoAnswer, Refusal, RequestRefused
from topologies.errors import HeddleError, InputError

__all__ = [
    "BatchResult",
    "ChannelLimits",
    "ChannelServer",
    "Connection",
    "NoAnswer",
    "Refusal",
    "RequestRefused",
]

log = logging.getLogger(__name__)

_BACKLOG = 256
_RETRY_S = 0.1


class ChannelServer:
    """Listens for switches.

    Parameters
    ----------
    address : str
        Numeric IPv4 or IPv6 address to listen on.
    port : int
        TCP port; 0 takes a free one, which `port` then says.

    Attributes
    ----------
    address, port : str, int
        Where it listens.
    counts : Counter of str
        Since start: ``accepted``, ``up``, and by kind why connections ended or messages were not read
        (``unread``, ``unasked-reply``).

    Raises
    ------
    InputError
        The address is none.
    HeddleError
        Nothing can listen there: the port is in use, or the address is not this machine's.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 6653, limits: ChannelLimits | None = None) -> None:
        self._limits = limits if limits is not None else ChannelLimits()
        self._listener = _listen(address, port)
        self.address, self.port = self._listener.getsockname()[:2]
        self.counts: Counter[str] = Counter()
        self._switches: dict[int, Connection] = {}
        # In order of arrival.
        self._half_open: dict[Connection, None] = {}
        self._accepting: framework.Task | None = None

    @property
    def switches(self) -> Mapping[int, Connection]:
        """Connected switches by dpid."""
        return MappingProxyType(self._switches)

    def start(self) -> None:
        """Begin to accept; in the OpenFlow thread."""
        log.info("listening for switches on %s:%d", self.address, self.port)
        self._accepting = framework.spawn(self._accept_loop)

    def close(self) -> None:
        """Stop listening and close every connection."""
        if self._accepting is not None:
            self._accepting.cancel()
        self._listener.close()
        for connection in (*self._switches.values(), *self._half_open):
            connection.close("the controller stops")

    def _accept_loop(self) -> None:
        listener = framework.green_socket(self._listener)
        while True:
            try:
                sock, peer = listener.accept()
            except OSError as error:
                # Out of descriptors, or the peer gave up: neither may end the listening.
                log.warning("a switch could not be accepted: %s", error)
                framework.sleep(_RETRY_S)
                continue
            self.counts["accepted"] += 1
            if len(self._switches) + len(self._half_open) >= self._limits.max_connections:
                self.counts["too-many"] += 1
                sock.close()
                continue
            if len(self._half_open) >= self._limits.max_half_open:
                # A handshake takes milliseconds, so the oldest is the one least likely to be a switch.
                oldest = next(iter(self._half_open))
                oldest.close("too many handshakes are under way", "half-open")
                self._half_open.pop(oldest, None)
            try:
                connection = Connection(sock, peer, self._limits, self)
            except OSError:
                self.counts["broken"] += 1
                sock.close()
                continue
            self._half_open[connection] = None
            framework.spawn(connection.serve)

    def handshake_over(self, connection: Connection) -> None:
        """Take a connection among the connected switches.

        Raises
        ------
        Violation
            Its dpid is connected already: whoever came first stays.
        """
        dpid = connection.id
        if dpid is None:
            raise Violation("handshake", "has no dpid")
        known = self._switches.get(dpid)
        if known is not None:
            raise Violation("duplicate", f"has the dpid of a switch that is connected from {known.peer}")
        self._half_open.pop(connection, None)
        self._switches[dpid] = connection
        self.counts["up"] += 1

    def closed(self, connection: Connection) -> None:
        """Forget a connection that is over."""
        self._half_open.pop(connection, None)
        if connection.id is not None and self._switches.get(connection.id) is connection:
            del self._switches[connection.id]

    def count(self, kind: str) -> None:
        """Count what happened to a connection."""
        self.counts[kind] += 1


def _listen(address: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError) as error:
        raise InputError(
            f"{address}:{port} is no address to listen on; give an IP address and a port of 0 to 65535"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError as error:
        with contextlib.suppress(OSError):
            listener.close()
        raise HeddleError(
            f"cannot listen for switches on {address}:{port} ({error.strerror}); "
            f"stop what uses it or choose another address with --openflow"
        ) from error
    return listener
