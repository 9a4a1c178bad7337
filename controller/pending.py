"""Requests under way on one connection: who waits for which transaction id, and what came for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller import framework
from controller.framing import MessageType, Violation, multipart
from topologies.errors import HeddleError

_ANSWERS = {
    MessageType.GET_CONFIG_REQUEST: MessageType.GET_CONFIG_REPLY,
    MessageType.MULTIPART_REQUEST: MessageType.MULTIPART_REPLY,
    MessageType.BARRIER_REQUEST: MessageType.BARRIER_REPLY,
    MessageType.QUEUE_GET_CONFIG_REQUEST: MessageType.QUEUE_GET_CONFIG_REPLY,
    MessageType.ROLE_REQUEST: MessageType.ROLE_REPLY,
    MessageType.GET_ASYNC_REQUEST: MessageType.GET_ASYNC_REPLY,
}

_PORT_STATS, _PORT_DESC = 4, 13
_OF_PORTS = frozenset({_PORT_STATS, _PORT_DESC})


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
    """A message of a batch and the error that the switch answered it with (both the framework's objects)."""

    message: Any
    error: Any


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch, once the switch has answered its barrier; no errors: all is in force."""

    errors: tuple[Refusal, ...]


@dataclass(slots=True)
class Waiter:
    """Somebody waits for the answer to one request."""

    expected: MessageType
    multipart_type: int | None
    max_elements: int
    each: Callable[[Any], None]
    over: framework.Event = field(default_factory=framework.Event)
    received_bytes: int = 0
    elements: int = 0
    error: Any = None


class Pending:
    """The waiters of a connection by transaction id.

    Parameters
    ----------
    max_reply_bytes, max_reply_elements, max_ports : int
        Longest answer to one request, over all its parts, and how many flows, groups, … or ports it may list.
    """

    def __init__(self, max_reply_bytes: int, max_reply_elements: int, max_ports: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._max_reply_elements = max_reply_elements
        self._max_ports = max_ports
        self._waiters: dict[int, Waiter] = {}
        self._batches: dict[int, tuple[Any, list[Refusal]]] = {}

    def add(self, xid: int, message: Any, each: Callable[[Any], None]) -> Waiter:
        """Wait for the answer to a request that is about to be sent; each part of it is handed over as it comes."""
        answer = _ANSWERS.get(message.cls_msg_type)
        if answer is None:
            raise ValueError(f"{type(message).__name__} is no request with an answer; send it by send_msg")
        kind = message.type if answer is MessageType.MULTIPART_REPLY else None
        most = self._max_ports if kind in _OF_PORTS else self._max_reply_elements
        waiter = Waiter(answer, kind, most, each)
        self._waiters[xid] = waiter
        return waiter

    def forget(self, xid: int) -> None:
        """Stop waiting."""
        self._waiters.pop(xid, None)

    def watch(self, xid: int, message: Any, refusals: list[Refusal]) -> None:
        """Collect the errors that answer a message."""
        self._batches[xid] = (message, refusals)

    def unwatch(self, xids: Sequence[int]) -> None:
        """Stop collecting."""
        for xid in xids:
            self._batches.pop(xid, None)

    def expects(self, kind: int, xid: int, message: bytes, elements: int) -> bool:
        """Whether somebody waits for this reply; what nobody waits for is not worth parsing.

        Raises
        ------
        Violation
            The answer grows beyond all bounds, or is not what was asked.
        """
        waiter = self._waiters.get(xid)
        if waiter is None or waiter.expected != kind:
            return False
        waiter.received_bytes += len(message)
        waiter.elements += elements
        if waiter.elements > waiter.max_elements:
            raise Violation("reply", f"answered a request with more than {waiter.max_elements} elements")
        if waiter.received_bytes > self._max_reply_bytes:
            raise Violation("reply", f"answered a request with more than {self._max_reply_bytes} bytes")
        if kind == MessageType.MULTIPART_REPLY and multipart(message)[0] != waiter.multipart_type:
            raise Violation("reply", f"answered a request of multipart type {waiter.multipart_type} with another type")
        return True

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
        if xid in self._batches:
            original, refusals = self._batches[xid]
            refusals.append(Refusal(original, message))
            return True
        return False

    def fail_all(self) -> None:
        """The connection is closed: nothing will be answered any more."""
        for waiter in self._waiters.values():
            waiter.over.set()
