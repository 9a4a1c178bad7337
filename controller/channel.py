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
import re
import resource
import socket
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from controller import framework
from controller.backoff import Backoff
from controller.connection import Connection
from controller.framing import Violation
from controller.limits import ChannelLimits
from controller.packetqueue import PacketQueue
from controller.pending import BatchResult, NoAnswer, Refusal, RequestRefused
from controller.places import Places
from controller.sendqueue import Budget
from controller.tls import TlsIdentity, TlsSocket
from controller.trust import SwitchTrust
from controller.turns import Turns
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
_OTHER_DESCRIPTORS = 256
"""Files and sockets that the rest of the daemon needs."""
_WATCH_S = 0.25
_TURN_S = 0.002
"""How long packets are handed on before other tasks get a turn."""
_SAY_SHED_S = 1.0

_OFFENCES = frozenset({
    "auxiliary", "duplicate", "handshake", "hello", "length", "malformed", "ports", "reply", "tls", "type", "untrusted",
    "version",
})  # fmt: skip
"""What only a peer that is wrong or hostile does; the rest happens to honest ones too."""
_COMMON = frozenset({"closed", "closed-by-switch", "broken", "backed-off"})
"""Ends of connections that tell nothing new where the switch was never up."""

_DIGITS = re.compile(r"[0-9a-fA-F]*[0-9][0-9a-fA-F]*")
_SOURCE_LENGTH = 80

Observer = Callable[[str, str, str], None]


class ChannelServer:
    """Listens for switches.

    Parameters
    ----------
    address : str
        Numeric IPv4 or IPv6 address to listen on.
    port : int
        TCP port; 0 takes a free one, which `port` then says.
    observer : callable, optional
        Told of each peer that broke a rule: kind, sentence, and the peer's address; by default they are logged.
    tls : TlsIdentity, optional
        Switches connect by TLS; without it, in the clear.
    trust : SwitchTrust, optional
        Which dpids may connect, with which certificates; by default all with any.
    known : set of int
        Dpids that are declared or allowed by name: others leave half of the connections to them.

    Attributes
    ----------
    address, port : str, int
        Where it listens.
    counts : Counter of str
        Since start: ``accepted``, ``up``, by kind why connections ended or messages were not read (``unread``,
        ``unasked-reply``), packets that came faster than their turn (``packet-shed``) or from no port
        (``packet-portless``), and connections refused to peers that keep breaking rules (``backed-off``).

    Raises
    ------
    InputError
        The address is none.
    HeddleError
        Nothing can listen there: the port is in use, or the address is not this machine's.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 6653,
        limits: ChannelLimits | None = None,
        observer: Observer | None = None,
        *,
        tls: TlsIdentity | None = None,
        trust: SwitchTrust | None = None,
        known: AbstractSet[int] = frozenset(),
    ) -> None:
        self._limits = limits if limits is not None else ChannelLimits()
        self._places = Places(min(self._limits.max_connections, _descriptors() - _OTHER_DESCRIPTORS), known)
        self._observer = observer or _log
        self._tls = tls
        self._trust = trust or SwitchTrust()
        self._listener = _listen(address, port)
        self.address, self.port = self._listener.getsockname()[:2]
        self.counts: Counter[str] = Counter()
        self._switches: dict[int, Connection] = {}
        # In order of arrival.
        self._half_open: dict[Connection, None] = {}
        self._budget = Budget(self._limits.max_queued_bytes_in_all)
        self._turns = Turns()
        self._backoff = Backoff()
        self._packets: PacketQueue[Connection] = PacketQueue()
        self._port_news: dict[Connection, None] = {}
        self._something_came = framework.Event()
        self._watched_s = self._shed_said_s = 0.0
        self._tasks: list[framework.Task] = []

    @property
    def switches(self) -> Mapping[int, Connection]:
        """Connected switches by dpid."""
        return MappingProxyType(self._switches)

    def start(self) -> None:
        """Begin to accept; in the OpenFlow thread."""
        how = self._tls.describe() if self._tls is not None else "without TLS"
        log.info("listening for switches on %s:%d %s", self.address, self.port, how)
        self._watched_s = framework.now_s()
        self._tasks = [
            framework.spawn(self._accept_loop),
            framework.spawn(self._turns.serve),
            framework.spawn(self._hand_on_loop),
            framework.every(_WATCH_S, self._watch),
        ]

    def close(self) -> None:
        """Stop listening and close every connection."""
        for task in self._tasks:
            task.cancel()
        self._turns.close()
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
            # While more of them wait, accepting does not: those accepted before get their turn first.
            framework.sleep(0)
            refused = self._refused(peer[0])
            if refused is not None:
                self.counts[refused] += 1
                if refused == "too-many":
                    sentence = f"{peer[0]} was refused: {self._places.total} connections are open, as many as may be"
                    self._observer("channel-too-many", sentence, peer[0])
                sock.close()
                continue
            if len(self._half_open) >= self._limits.max_half_open:
                self._make_room()
            try:
                switch = TlsSocket(sock, self._tls) if self._tls is not None else sock
                connection = Connection(switch, peer, self._limits, self, self._budget, self._turns)
            except Exception as error:
                # The framework's part fails in ways of its own where the application has stopped.
                log.debug("a switch could not be accepted: %s", error)
                self.counts["broken"] += 1
                sock.close()
                continue
            self._half_open[connection] = None
            framework.spawn(connection.serve)

    def _refused(self, host: str) -> str | None:
        """Why nobody at this address may connect now; None where they may."""
        if len(self._switches) + len(self._half_open) >= self._places.total:
            return "too-many"
        now_s = framework.now_s()
        if self._backoff.remaining_s(host, now_s) <= 0:
            return None
        # Where switches share an address, one that breaks rules must not keep the others out for good.
        at_home = sum(connection.address[0] == host for connection in self._switches.values())
        return None if at_home > 1 and self._backoff.admits_shared(host, now_s) else "backed-off"

    def _make_room(self) -> None:
        """Close the oldest handshake of the address that has most under way: a handshake takes milliseconds."""
        crowded = Counter(connection.address[0] for connection in self._half_open).most_common(1)[0][0]
        oldest = next(connection for connection in self._half_open if connection.address[0] == crowded)
        oldest.close("too many handshakes are under way", "half-open")
        self._half_open.pop(oldest, None)

    def _watch(self) -> None:
        """Look for handshakes that do not end and switches that are silent.

        What the daemon itself missed since it last looked is not held against them.
        """
        now_s = framework.now_s()
        late_s = now_s - self._watched_s - _WATCH_S
        stalled_s = late_s if late_s > _WATCH_S else 0.0
        self._watched_s = now_s
        for connection in (*self._half_open, *self._switches.values()):
            connection.watch(now_s, stalled_s)

    def _hand_on_loop(self) -> None:
        """Give the application ports' news and packets, as much as a turn allows, each port its part."""
        turn_ends_s = 0.0
        while True:
            if not self._port_news and not self._packets:
                self._something_came.clear()
                self._something_came.wait()
            if self._port_news:
                connection = next(iter(self._port_news))
                del self._port_news[connection]
                self._hand_on(connection, connection.deliver_port_news)
            if self._packets:
                connection, message = self._packets.take()
                self._hand_on(connection, connection.deliver_packet, message)
            if framework.now_s() >= turn_ends_s:
                framework.sleep(0)
                turn_ends_s = framework.now_s() + _TURN_S

    def _hand_on(self, connection: Connection, deliver: Callable[..., None], *message: bytes) -> None:
        try:
            deliver(*message)
        except Violation as violation:
            connection.close(f"it {violation}", violation.kind)
        except Exception:
            # One switch's message must not end what serves them all.
            log.exception("a message of %s could not be handed on", connection)
            connection.close("an internal error; see the log", "internal")

    def admit(self, connection: Connection) -> None:
        """Let a connection that knows its dpid go on.

        Raises
        ------
        Violation
            It may not connect, or not with its certificate, or broke rules too often lately.
        """
        if connection.id is not None:
            self._trust.check(connection.id, connection.fingerprint)
        wait_s = self._backoff.remaining_s((connection.address[0], connection.id), framework.now_s())
        if wait_s > 0:
            raise Violation("backed-off", f"broke rules too often and has to wait for {wait_s:.1f} s")

    def packet_came(self, connection: Connection, port: int, message: bytes, *, probe: bool) -> None:
        """Queue a packet for its turn."""
        if port not in connection.port_descriptions:
            self.counts["packet-portless"] += 1
        elif self._packets.add(connection, port, message, probe=probe):
            self._something_came.set()
        else:
            self.counts["packet-shed"] += 1
            now_s = framework.now_s()
            if now_s - self._shed_said_s >= _SAY_SHED_S:
                self._shed_said_s = now_s
                kind = "probes" if probe else "packets"
                sentence = f"port {port} of {connection} sends more {kind} than its part; some are dropped"
                self._observer("channel-packet-shed", sentence, f"{connection.id}:{port}")

    def port_news(self, connection: Connection) -> None:
        """Queue a connection that has news of its ports."""
        self._port_news[connection] = None
        self._something_came.set()

    def handshake_over(self, connection: Connection) -> None:
        """Take a connection among the connected switches.

        Raises
        ------
        Violation
            Its dpid is connected already (whoever came first stays), or no place is left for it.
        """
        dpid = connection.id
        if dpid is None:
            raise Violation("handshake", "has no dpid")
        known = self._switches.get(dpid)
        if known is not None:
            raise Violation("duplicate", f"has the dpid of a switch that is connected from {known.peer}")
        connected = ((other, switch.address[0]) for other, switch in self._switches.items())
        refusal = self._places.refusal(dpid, connection.address[0], connected)
        if refusal is not None:
            raise Violation("too-many", refusal)
        self._half_open.pop(connection, None)
        self._switches[dpid] = connection
        self.counts["up"] += 1

    def ending(self, connection: Connection, kind: str, reason: str) -> None:
        """Count, tell and hold against the peer why a connection ends."""
        self.counts[kind] += 1
        host = connection.address[0]
        if kind in _OFFENCES:
            now_s = framework.now_s()
            wait_s = self._backoff.offended(host, now_s)
            # Whoever takes another's dpid must not bring the wait upon that one.
            if connection.id is not None and kind not in ("duplicate", "untrusted"):
                wait_s = max(wait_s, self._backoff.offended((host, connection.id), now_s))
            if wait_s > 0:
                reason += f"; it has to wait for {wait_s:g} s"
        if kind in _COMMON:
            log.debug("%s is disconnected: %s", connection, reason)
            return
        if connection.was_up:
            sentence = f"{connection} is disconnected: {reason}"
        else:
            claimed = f" that claims dpid {connection.id:016x}" if connection.id is not None else ""
            sentence = f"a connection from {connection.peer}{claimed} was refused: {reason}"
        # Another reason is news, another port or number in it is not.
        self._observer(f"channel-{kind}", sentence, f"{host}: {_DIGITS.sub('#', reason)[:_SOURCE_LENGTH]}")

    def closed(self, connection: Connection) -> None:
        """Forget a connection that is over."""
        self._half_open.pop(connection, None)
        self._packets.forget(connection)
        self._port_news.pop(connection, None)
        if connection.id is not None and self._switches.get(connection.id) is connection:
            del self._switches[connection.id]

    def count(self, kind: str) -> None:
        """Count what happened to a connection."""
        self.counts[kind] += 1


def _descriptors() -> int:
    """How many descriptors this process may have, after asking for as many as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else sys.maxsize


def _log(kind: str, sentence: str, _peer: str) -> None:
    log.warning("%s: %s", kind, sentence)


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
