"""One switch's connection: the framework's ``Datapath`` with every wait and every size bounded.

The framework's own events, message classes and `send_msg` stay as they are. All methods belong to the
OpenFlow thread.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from controller import bundles, framework
from controller.batches import Batches, Message
from controller.checking import check_message, check_packet_in, hide_nicira_actions
from controller.framework import CONFIG, DEAD, MAIN, ofp_event, ofproto, ofproto_parser
from controller.framing import (
    HEADER_BYTES,
    Header,
    MessageType,
    Phase,
    Violation,
    check_header,
    check_hello,
    multipart,
    read_header,
)
from controller.limits import ChannelLimits
from controller.liveness import Liveness
from controller.pending import ANSWERS, BatchResult, NoAnswer, Pending, RequestRefused, Waiter, answer_limits
from controller.portbook import PortBook
from controller.sendqueue import CHUNK_BYTES, Budget, SendQueue
from controller.tls import TlsSocket
from controller.turns import TURN_S, Account, Turns

log = logging.getLogger(__name__)

T = TypeVar("T")

_ETH_TYPE_LLDP = b"\x88\xcc"


class Registry(Protocol):
    """What a connection tells the server that accepted it."""

    def admit(self, connection: Connection) -> None:
        """A connection knows its dpid; raises `Violation` where it may not come up."""
        ...

    def handshake_over(self, connection: Connection) -> None:
        """A connection comes up; raises `Violation` where its dpid is connected."""
        ...

    def packet_came(self, connection: Connection, port: int, message: bytes, *, probe: bool) -> None:
        """A packet came up; `Connection.deliver_packet` is called when it is its turn."""
        ...

    def port_news(self, connection: Connection) -> None:
        """A port changed; `Connection.deliver_port_news` is called soon."""
        ...

    def ending(self, connection: Connection, kind: str, reason: str) -> None:
        """A connection is closed now, for a reason."""
        ...

    def closed(self, connection: Connection) -> None:
        """A connection is over."""
        ...

    def count(self, kind: str) -> None:
        """Something happened that is worth a counter."""
        ...


class Connection(framework.Datapath):
    """A connected switch.

    Attributes
    ----------
    id : int or None
        The dpid, once the handshake is over.
    peer : str
        Address and port of the switch's end.
    fingerprint : str or None
        Of the certificate that the switch has shown: SHA-256, in hexadecimal digits; None without TLS.
    port_descriptions : mapping of int to OFPPort
        All ports, kept up to date.
    close_reason : str or None
        Why it was closed; None while it is open.
    was_up : bool
        Whether its handshake came to its end.
    """

    def __init__(
        self,
        sock: Any,
        address: tuple[Any, ...],
        limits: ChannelLimits,
        registry: Registry,
        budget: Budget,
        turns: Turns,
    ) -> None:
        self._limits = limits
        self._registry = registry
        self._phase = Phase.HELLO
        self._turns = turns
        self._account = Account()
        self._turn_began_s = 0.0
        self._pending = Pending(
            answer_limits(
                limits.max_flow_reply_bytes,
                limits.max_group_reply_bytes,
                limits.max_reply_bytes,
                limits.max_reply_elements,
                limits.max_ports,
            )
        )
        self._batches = Batches(self, self._pending)
        now_s = framework.now_s()
        self._up_by_s = now_s + limits.handshake_timeout_s
        self._liveness = Liveness(limits.echo_after_s, limits.silent_after_s, limits.max_echo_s, now_s)
        self._delivering = 0
        self._queueing = False
        self._ports_xid: int | None = None
        self.was_up = False
        self.peer = f"{address[0]}:{address[1]}"
        self.fingerprint: str | None = None
        self._port_book = PortBook(limits.max_ports)
        self.port_descriptions: Mapping[int, Any] = self._port_book.descriptions
        self.close_reason: str | None = None
        super().__init__(sock, address)
        # Last: it takes a part of the budget, which only `close` gives back.
        self._queue = SendQueue(limits.max_queued_messages, limits.max_queued_bytes, budget)
        self.set_version(framework.OFP_VERSION)
        self.socket.settimeout(None)

    def __str__(self) -> str:
        return f"switch {self.id:016x} at {self.peer}" if self.id is not None else f"switch at {self.peer}"

    # ── life ─────────────────────────────────────────────────────────────────────────────────────

    def serve(self) -> None:
        """Run the connection from HELLO to its end."""
        sender = framework.spawn(self._send_loop)
        try:
            if isinstance(self.socket, TlsSocket):
                self.fingerprint = self.socket.handshake()
            versions = [ofproto_parser.OFPHelloElemVersionBitmap(versions=[framework.OFP_VERSION])]
            self.send_msg(ofproto_parser.OFPHello(self, versions))
            self._receive_loop()
            self.close("the switch closed the connection", "closed-by-switch")
        except Violation as violation:
            if violation.kind == "version":
                self._say_incompatible(str(violation))
            self.close(f"it {violation}", violation.kind)
        except OSError as error:
            self.close(f"the connection broke: {error}", "broken")
        finally:
            # Nothing else may end a connection, but whatever does must not leave it registered.
            self.close("an internal error; see the log", "internal")
            # Announced first: the same switch may be back, and up, as soon as its dpid is free.
            if self.was_up:
                self._announce(DEAD)
            self._registry.closed(self)
            # It ends by itself, as its queue and its socket do. A task that is killed stays in memory with all that it
            # knew until a full collection, which in a storm of connections stops everything for 0.1 to 0.4 s.
            sender.wait()
            self.socket.close()

    def close(self, reason: str = "closed by the controller", kind: str = "closed") -> None:
        """Close the connection, without waiting; the end is announced from the connection's own task.

        Parameters
        ----------
        reason : str
            For people; goes to the log and into ``close_reason``.
        kind : str
            For the counters.
        """
        if self.close_reason is not None:
            return
        self.close_reason = reason
        self.state = DEAD
        self.is_active = False
        self._registry.ending(self, kind, reason)
        self._queue.close()
        self._pending.fail_all()
        # Wakes the tasks that wait for this socket.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def _say_incompatible(self, reason: str) -> None:
        """What section 6.3.1 asks for before such a connection ends."""
        self.send_msg(
            ofproto_parser.OFPErrorMsg(
                self, ofproto.OFPET_HELLO_FAILED, ofproto.OFPHFC_INCOMPATIBLE, f"the switch {reason}".encode()
            )
        )
        # Gives the sending task its turn.
        framework.sleep(0)

    def watch(self, now_s: float, stalled_s: float) -> None:
        """End a handshake that takes too long, ask a quiet switch whether it lives, and drop a silent one.

        Called some times a second.

        Parameters
        ----------
        stalled_s : float
            How long the daemon itself was busy since the last call: nothing could be heard then.
        """
        if self.close_reason is not None:
            return
        if self._phase is not Phase.UP:
            self._up_by_s += stalled_s
            if now_s >= self._up_by_s:
                self.close(f"no handshake within {self._limits.handshake_timeout_s:g} s", "handshake-timeout")
            return
        # While the application or the other connections keep this one's task waiting, silence is our own doing.
        kept_waiting = self._delivering or self._queueing
        self._liveness.excuse(max(stalled_s, now_s - self._liveness.heard_s) if kept_waiting else stalled_s)
        fault = self._liveness.fault(now_s)
        if fault is not None:
            self.close(fault, "silent")
        elif self._liveness.ask_now(now_s):
            self.send_msg(ofproto_parser.OFPEchoRequest(self))

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def send(self, buf: bytes | bytearray, close_socket: bool = False) -> bool:
        """Queue bytes, never waiting; `send_msg` ends here. False where the connection is closed.

        A switch that reads too slowly for its queue is disconnected.
        """
        if self.close_reason is not None:
            return False
        if not self._queue.add(bytes(buf)):
            self.close(f"it does not read: {self._queue}", "send-queue")
            return False
        if close_socket:
            self.close()
        return True

    def send_msg(self, msg: Any, close_socket: bool = False) -> bool:
        """Serialise and queue one of the framework's messages, never waiting."""
        if msg.xid is None:
            self.set_xid(msg)
        msg.serialize()
        return self.send(msg.buf, close_socket)

    def _send_loop(self) -> None:
        try:
            while chunk := self._queue.take():
                self.socket.sendall(chunk)
                # A socket with room lets its writer go on and on.
                framework.sleep(0)
        except OSError as error:
            self.close(f"the connection broke: {error}", "broken")

    # ── asking ───────────────────────────────────────────────────────────────────────────────────

    def request(
        self,
        message: Any,
        timeout_s: float = 5.0,
        each: Callable[[Any], None] | None = None,
        *,
        as_bytes: bool = False,
    ) -> list[Any]:
        """Send a request and wait for the answer; in a green task, not in a handler.

        Parameters
        ----------
        each : callable, optional
            Takes each reply as it comes, so that a long answer is never held whole. It is called where the
            connection's bytes are read, and must not wait, but for `rest`.
        as_bytes : bool
            Replies are wanted as the bytes that came, once they were checked, and not as the framework's objects.

        Returns
        -------
        list
            The reply messages: one, or the parts of a multipart reply; empty where `each` took them.

        Raises
        ------
        NoAnswer
            Not in time, or the connection is closed.
        RequestRefused
            The switch answered with an error.
        """
        xid = self.set_xid(message)
        replies: list[Any] = []
        waiter = self._pending.add(xid, message, each or replies.append, as_bytes=as_bytes)
        self._wait_for(xid, waiter, self.send_msg(message), timeout_s, f"a {type(message).__name__}")
        return replies

    def exchange(self, message: bytes, answer: MessageType, begins: bytes, timeout_s: float, what: str) -> None:
        """Send a request that is written already, its transaction id included, and wait for its one answer.

        Parameters
        ----------
        begins : bytes
            What the answer must have behind its header.
        what : str
            For people: what is asked for.

        Raises
        ------
        NoAnswer
            Not in time, or the connection is closed.
        RequestRefused
            The switch answered with an error.
        """
        xid = read_header(message).xid
        waiter = self._pending.expect(xid, answer, begins)
        self._wait_for(xid, waiter, self.send(message), timeout_s, what)

    def _wait_for(self, xid: int, waiter: Waiter, sent: bool, timeout_s: float, what: str) -> None:
        try:
            if sent and not waiter.over.wait(timeout_s):
                raise NoAnswer(f"{self} did not answer {what} within {timeout_s:g} s")
        finally:
            self._pending.forget(xid)
        if waiter.error is not None:
            raise RequestRefused(f"{self} refused {what}", waiter.error)
        if self.close_reason is not None:
            raise NoAnswer(f"{self} is disconnected: {self.close_reason}")

    def take_xids(self, count: int) -> int:
        """The first of so many transaction ids in a row that nothing else will bear."""
        if self.xid + count > ofproto.MAX_XID:
            self.xid = 0
        self.xid += count
        return self.xid - count + 1

    def send_batch(
        self,
        items: Sequence[T],
        encode: Callable[[T], Message],
        timeout_s: float = 10.0,
        *,
        bundled: bool = True,
    ) -> BatchResult:
        """Send messages in order and wait until they are carried out; in a green task, not in a handler.

        Where the switch makes bundles (`controller.batches`), those about flows and groups go in bundles. What is
        refused ends the batch: of its bundle nothing is carried out, and of what comes behind it nothing is sent, while
        all before it is in force. Elsewhere, and where there is but one message, they go plainly between barriers, and
        what is refused keeps nothing else from being carried out.

        Parameters
        ----------
        items : sequence
            What is to be sent; encoded one by one as the switch takes them.
        timeout_s : float
            For the batch, and a little more for each message that the switch has confirmed.
        bundled : bool
            Whether bundles may be used.

        Raises
        ------
        NoAnswer
            Not in time, or the connection is closed; what was carried out is not known.
        """
        return self._batches.send(items, encode, timeout_s, bundled=bundled)

    def wait_for_room(self, most_bytes: int, timeout_s: float) -> bool:
        """Wait until no more than so many bytes wait to be sent; False where that took too long."""
        return self._queue.wait_for_room(most_bytes, timeout_s)

    def makes_no_bundles(self) -> None:
        """Said once, when it is found out: the switch takes its messages plainly."""
        log.info("%s makes no bundles; its rules go plainly, between barriers", self)
        self._registry.count("unbundled")

    # ── receiving ────────────────────────────────────────────────────────────────────────────────

    def _receive_loop(self) -> None:
        buffer = bytearray()
        while self.is_active and (received := self.socket.recv(CHUNK_BYTES)):
            self._liveness.heard_s = framework.now_s()
            buffer += received
            self._take_turn()
            try:
                start = 0
                while self.is_active and len(buffer) - start >= HEADER_BYTES:
                    header = read_header(buffer, start)
                    hello = self._phase is Phase.HELLO
                    largest = self._limits.max_hello_bytes if hello else self._limits.max_message_bytes
                    wanted = check_header(header, self._phase, largest)
                    if len(buffer) - start < header.length:
                        break
                    message = bytes(buffer[start : start + header.length])
                    start += header.length
                    self._received(header, message, wanted)
                    self.rest()
                del buffer[:start]
            finally:
                self._turns.give(self._account, self._turn_began_s)

    def rest(self) -> None:
        """Let others work where this connection's turn is over; only where its bytes are read."""
        if framework.now_s() - self._turn_began_s >= TURN_S:
            self._turns.give(self._account, self._turn_began_s)
            self._take_turn()

    def _take_turn(self) -> None:
        self._queueing = True
        self._turn_began_s = self._turns.take(self._account)
        self._queueing = False

    def _received(self, header: Header, message: bytes, wanted: bool) -> None:
        if header.type == MessageType.PACKET_IN:
            port, frame_at = check_packet_in(message)
            if wanted:
                probe = message[frame_at + 12 : frame_at + 14] == _ETH_TYPE_LLDP
                self._registry.packet_came(self, port, message, probe=probe)
            else:
                self._registry.count("unread")
            return
        if header.type == MessageType.EXPERIMENTER:
            wanted = self._phase is Phase.UP and bundles.is_control(message)
        # First, so that what nobody asked for is not walked in any number.
        answers = wanted and self._phase is Phase.UP and header.type in ANSWERS
        awaited = answers and self._pending.expects(header, message)
        if header.type == MessageType.MULTIPART_REPLY:
            message = hide_nicira_actions(message)
        elements = check_message(message) if header.type != MessageType.HELLO else 0
        if not wanted:
            self._registry.count("unread")
            return
        kind = MessageType(header.type)
        if kind is MessageType.ECHO_REQUEST:
            reply = ofproto_parser.OFPEchoReply(self, message[HEADER_BYTES:])
            reply.set_xid(header.xid)
            self.send_msg(reply)
        elif kind is MessageType.ECHO_REPLY:
            self._liveness.answered()
        elif kind is MessageType.HELLO:
            check_hello(message)
            self._phase = Phase.FEATURES
            self.set_state(CONFIG)
            self.send_msg(ofproto_parser.OFPFeaturesRequest(self))
        elif kind is MessageType.FEATURES_REPLY:
            self._features_came(self._parse(header, message))
        elif kind is MessageType.ERROR:
            self._error_came(header, message)
        elif kind is MessageType.PORT_STATUS:
            self._port_changed(self._parse(header, message))
        elif self._phase is Phase.PORTS:
            self._ports_came(header, message)
        else:
            self._reply_came(header, message, elements, awaited=awaited)

    def deliver_packet(self, message: bytes) -> None:
        """Hand a packet that was checked before to the application."""
        if self.close_reason is None:
            self._deliver(self._parse(read_header(message), message))

    def deliver_port_news(self) -> None:
        """Hand the application what is new of one port."""
        if self.close_reason is None and self._port_book.has_news:
            for status in self._port_book.take_news():
                self._deliver(status)
            if self._port_book.has_news:
                self._registry.port_news(self)

    def _parse(self, header: Header, message: bytes) -> Any:
        try:
            return ofproto_parser.msg_parser(self, *header, message)
        except Exception as error:
            # The parser fails in many ways on what is malformed, and none of them may reach other switches.
            name = MessageType(header.type).name
            raise Violation("malformed", f"sent a malformed {name} ({type(error).__name__}: {error})") from error

    def _features_came(self, features: Any) -> None:
        if features.auxiliary_id:
            raise Violation("auxiliary", "opened an auxiliary connection, which is not supported")
        if not features.datapath_id:
            raise Violation("handshake", "has dpid 0; give it another one")
        self.id = features.datapath_id
        self._registry.admit(self)
        self._phase = Phase.PORTS
        self._deliver(features)
        request = ofproto_parser.OFPPortDescStatsRequest(self, 0)
        self._ports_xid = self.set_xid(request)
        self.send_msg(request)

    def _ports_came(self, header: Header, message: bytes) -> None:
        kind, more = multipart(message)
        if header.xid != self._ports_xid or kind != ofproto.OFPMP_PORT_DESC:
            raise Violation("reply", "answered the request for its ports with something else")
        for port in self._parse(header, message).body:
            self._port_book.described(port)
        if not more:
            self._registry.handshake_over(self)
            self._phase = Phase.UP
            self.was_up = True
            log.info("%s is connected with %d ports", self, len(self.port_descriptions))
            self.state = MAIN
            self._announce(MAIN)

    def _port_changed(self, status: Any) -> None:
        self._port_book.changed(status)
        if self._phase is Phase.UP:
            self._port_book.add_news(status)
            self._registry.port_news(self)

    def _error_came(self, header: Header, message: bytes) -> None:
        error = self._parse(header, message)
        if self._phase is not Phase.UP:
            raise Violation("handshake", f"answered the handshake with error type {error.type}, code {error.code}")
        if not self._pending.error(header.xid, error):
            self._deliver(error)

    def _reply_came(self, header: Header, message: bytes, elements: int, *, awaited: bool) -> None:
        if not awaited:
            self._registry.count("unasked-reply")
            return
        self._pending.listed(header.xid, elements)
        more = header.type == MessageType.MULTIPART_REPLY and multipart(message)[1]
        if self._pending.wants_bytes(header.xid):
            self._pending.reply(header.xid, message, more)
            return
        parsed = self._parse(header, message)
        self._pending.reply(header.xid, parsed, more)
        self._deliver(parsed)

    # ── events ───────────────────────────────────────────────────────────────────────────────────

    def _announce(self, state: str) -> None:
        event = ofp_event.EventOFPStateChange(self)
        event.state = state
        self._send_event(event, state)

    def _deliver(self, message: Any) -> None:
        self._send_event(ofp_event.ofp_msg_to_ev(message), self.state)

    def _send_event(self, event: Any, state: str | None) -> None:
        # Waits where the application's queue is full, so that the switch is slowed down and not the daemon.
        self._delivering += 1
        try:
            self.ofp_brick.send_event_to_observers(event, state)
        finally:
            self._delivering -= 1
