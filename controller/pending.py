"""Requests under way on one connection: who waits for which transaction id, and what came for it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from controller import framework
from controller.framing import HEADER_BYTES, Header, MessageType, Violation, multipart
from topologies.errors import HeddleError

_ANSWER_TO = {
    MessageType.GET_CONFIG_REQUEST: MessageType.GET_CONFIG_REPLY,
    MessageType.MULTIPART_REQUEST: MessageType.MULTIPART_REPLY,
    MessageType.BARRIER_REQUEST: MessageType.BARRIER_REPLY,
    MessageType.QUEUE_GET_CONFIG_REQUEST: MessageType.QUEUE_GET_CONFIG_REPLY,
    MessageType.ROLE_REQUEST: MessageType.ROLE_REPLY,
    MessageType.GET_ASYNC_REQUEST: MessageType.GET_ASYNC_REPLY,
}
ANSWERS = frozenset(_ANSWER_TO.values()) | {MessageType.EXPERIMENTER}
"""Types of messages that answer a request; of experimenters' those about bundles alone."""

_FLOW_STATS, _PORT_STATS, _GROUP_DESC, _PORT_DESC = 1, 4, 7, 13

_MAX_REFUSALS = 100
"""Errors of a batch that are kept: who reads them needs the first, and a switch can send any number."""
_MAX_LATE = 16
"""Requests given up whose answers may still come without being held against the switch."""
_UNASKED_BYTES = 256 << 10
_UNASKED_BYTES_PER_S = 64 << 10


class NoAnswer(HeddleError):
    """The switch did not answer in time, or is gone."""


class RequestRefused(HeddleError):
    """The switch answered a request with an error.

    Attributes
    ----------
    error : OFPErrorMsg
    """

    def __init__(self, message: str, error: Any) -> None:
        super().__init__(message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which message of a batch the switch answered with which error (the framework's object)."""

    position: int
    error: Any


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch, once the switch has confirmed it; no errors: all is in force.

    Attributes
    ----------
    errors : tuple of Refusal
        The first hundred.
    """

    errors: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class AnswerLimit:
    """Longest answer to one request, over all its parts, and how many flows, groups, … or ports it may list."""

    bytes: int
    elements: int


def answer_limits(
    flow_bytes: int, group_bytes: int, other_bytes: int, elements: int, ports: int
) -> Mapping[int | None, AnswerLimit]:
    """The limits of answers by the type of a multipart reply; under None, those of every other answer."""
    return {
        _FLOW_STATS: AnswerLimit(flow_bytes, elements),
        _GROUP_DESC: AnswerLimit(group_bytes, elements),
        _PORT_STATS: AnswerLimit(other_bytes, ports),
        _PORT_DESC: AnswerLimit(other_bytes, ports),
        None: AnswerLimit(other_bytes, elements),
    }


@dataclass(slots=True)
class Waiter:
    """Somebody waits for the answer to one request.

    Attributes
    ----------
    begins : bytes
        What every part of the answer has behind its header.
    as_bytes : bool
        Whether the parts are wanted as they came, not as the framework's objects.
    """

    expected: MessageType
    begins: bytes
    limit: AnswerLimit
    each: Callable[[Any], None]
    as_bytes: bool = False
    over: framework.Event = field(default_factory=framework.Event)
    received_bytes: int = 0
    elements: int = 0
    error: Any = None

    def came(self, kind: int, message: bytes) -> None:
        """Count a part; raises `Violation` where the answer is too long, or is not what was asked."""
        self.received_bytes += len(message)
        if self.received_bytes > self.limit.bytes:
            raise Violation("reply", f"answered a request with more than {self.limit.bytes} bytes")
        if not message.startswith(self.begins, HEADER_BYTES):
            raise Violation("reply", f"answered a request with a {MessageType(kind).name} of another type")


@dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """Messages of a batch that the switch may still answer with errors."""

    xids: range
    position: int
    refusals: list[Refusal]


class Pending:
    """The waiters of a connection by transaction id.

    Parameters
    ----------
    limits : mapping of int or None to AnswerLimit
        As `answer_limits` makes them.
    """

    def __init__(self, limits: Mapping[int | None, AnswerLimit]) -> None:
        self._limits = limits
        self._waiters: dict[int, Waiter] = {}
        # Given up: an answer that comes too late is honest, and is bounded as it was before.
        self._late: dict[int, Waiter] = {}
        self._batches: list[_Watched] = []
        self._unasked_bytes = 0.0
        self._unasked_s = framework.now_s()

    def add(self, xid: int, message: Any, each: Callable[[Any], None], *, as_bytes: bool = False) -> Waiter:
        """Wait for the answer to a request that is about to be sent; each part of it is handed over as it comes."""
        answer = _ANSWER_TO.get(message.cls_msg_type)
        if answer is None:
            raise ValueError(f"{type(message).__name__} is no request with an answer; send it by send_msg")
        kind = message.type if answer is MessageType.MULTIPART_REPLY else None
        begins = struct.pack("!H", kind) if kind is not None else b""
        waiter = Waiter(answer, begins, self._limits.get(kind, self._limits[None]), each, as_bytes)
        self._waiters[xid] = waiter
        return waiter

    def expect(self, xid: int, answer: MessageType, begins: bytes) -> Waiter:
        """Wait for an answer of one part, of which nobody needs to know more than that it came."""
        waiter = Waiter(answer, begins, self._limits[None], lambda _: None, as_bytes=True)
        self._waiters[xid] = waiter
        return waiter

    def forget(self, xid: int) -> None:
        """Stop waiting."""
        waiter = self._waiters.pop(xid, None)
        if waiter is not None and not waiter.over.is_set():
            self._late[xid] = waiter
            if len(self._late) > _MAX_LATE:
                del self._late[next(iter(self._late))]

    @contextmanager
    def watch(self, first_xid: int, count: int, position: int, refusals: list[Refusal]) -> Iterator[None]:
        """Collect the errors that answer messages with consecutive ids, of which the first has a place in its batch."""
        watched = _Watched(range(first_xid, first_xid + count), position, refusals)
        self._batches.append(watched)
        try:
            yield
        finally:
            self._batches.remove(watched)

    def expects(self, header: Header, message: bytes) -> bool:
        """Whether somebody waits for this reply, of which no more than the header was read.

        What nobody waits for is not worth parsing; it is checked all the same, so it may not come in any number.

        Raises
        ------
        Violation
            The answer grows beyond all bounds or is not what was asked, or too much comes that nobody asked for.
        """
        _, kind, _, xid = header
        waiter = self._waiters.get(xid)
        if waiter is not None and waiter.expected == kind and not waiter.over.is_set():
            waiter.came(kind, message)
            return True
        late = self._late.get(xid)
        if late is not None and late.expected == kind:
            late.came(kind, message)
            if kind != MessageType.MULTIPART_REPLY or not multipart(message)[1]:
                del self._late[xid]
        else:
            self._unasked(len(message))
        return False

    def _unasked(self, size_bytes: int) -> None:
        now_s = framework.now_s()
        left = self._unasked_bytes - (now_s - self._unasked_s) * _UNASKED_BYTES_PER_S
        self._unasked_bytes, self._unasked_s = max(0.0, left) + size_bytes, now_s
        if self._unasked_bytes > _UNASKED_BYTES:
            raise Violation("reply", f"sent more than {_UNASKED_BYTES} bytes of replies that nobody asked for")

    def listed(self, xid: int, elements: int) -> None:
        """Count what a part of an expected answer lists, before it is parsed.

        Raises
        ------
        Violation
            Too many by now.
        """
        waiter = self._waiters[xid]
        waiter.elements += elements
        if waiter.elements > waiter.limit.elements:
            raise Violation("reply", f"answered a request with more than {waiter.limit.elements} elements")

    def wants_bytes(self, xid: int) -> bool:
        """Whether an expected reply is wanted as it came."""
        return self._waiters[xid].as_bytes

    def reply(self, xid: int, message: Any, more: bool) -> None:
        """A reply that was expected, or a part of it."""
        waiter = self._waiters[xid]
        waiter.each(message)
        if not more:
            waiter.over.set()

    def error(self, xid: int, message: Any) -> bool:
        """An error came in; False where it answers nothing that anybody waits for."""
        if xid in self._waiters:
            self._waiters[xid].error = message
            self._waiters[xid].over.set()
            return True
        for watched in self._batches:
            if xid in watched.xids:
                if len(watched.refusals) < _MAX_REFUSALS:
                    watched.refusals.append(Refusal(watched.position + xid - watched.xids.start, message))
                return True
        return False

    def fail_all(self) -> None:
        """The connection is closed: nothing will be answered any more."""
        for waiter in self._waiters.values():
            waiter.over.set()
