"""Batches of messages to one switch: in bundles where it makes them, else plainly between barriers.

However many messages there are, no more than a little is encoded ahead of what the switch has read, and other tasks get
their turn in between.
"""

from __future__ import annotations

import itertools
import logging
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from controller import bundles, framework
from controller.bundles import Step
from controller.framing import OFP_VERSION, MessageType
from controller.pending import BatchResult, NoAnswer, Pending, Refusal, RequestRefused, Waiter
from controller.turns import TURN_S

if TYPE_CHECKING:
    from controller.connection import Connection

log = logging.getLogger(__name__)

T = TypeVar("T")

_QUICK_S, _SLOW_S = 0.1, 0.5
"""What is confirmed so soon makes the next window larger, and what comes so late halves it."""
_MESSAGE_S = 0.02
"""What a batch is given for each message: hardware that takes 50 rules a second is slow, and no fault."""
_QUEUED_BYTES = 256 << 10
"""What a batch lets wait to be sent: a quick switch never runs dry, and an echo request waits behind no more."""

_HEADER = struct.Struct("!BBHI")


class Message(NamedTuple):
    """A message without its header: its type, and what comes behind."""

    type: int
    body: bytes


@dataclass(slots=True)
class Window:
    """How many messages to send before the switch must confirm them: a slow one answers nothing else meanwhile."""

    size: int
    most: int
    growth: int
    _least: int = field(init=False)

    def __post_init__(self) -> None:
        self._least = self.size

    def took(self, seconds: float) -> None:
        """Adapt to how long the switch took to confirm."""
        if seconds < _QUICK_S:
            self.size = min(self.most, self.growth * self.size)
        elif seconds > _SLOW_S:
            self.size = max(self._least, self.size // 2)


@dataclass(slots=True)
class _Batch(Generic[T]):
    """A batch under way.

    Attributes
    ----------
    done : int
        Items that the switch has confirmed, or refused.
    """

    items: Sequence[T]
    encode: Callable[[T], Message]
    deadline_s: float
    refusals: list[Refusal] = field(default_factory=list)
    done: int = 0

    def left_s(self) -> float:
        return max(0.0, self.deadline_s - framework.now_s())

    def confirmed(self, count: int) -> None:
        self.done += count
        self.deadline_s += count * _MESSAGE_S


class Batches:
    """What is sent to one switch in batches.

    A bundle holds up to 16,384 messages: a switch keeps it whole, and is busy with nothing else while it commits. The
    first one holds 64, and the next ones more, as the switch is quick. So a batch may take several, one by one.
    """

    def __init__(self, connection: Connection, pending: Pending) -> None:
        self._connection = connection
        self._pending = pending
        self._plain = Window(16, 1024, 2)
        self._bundled = Window(64, 16_384, 8)
        self._makes_bundles: bool | None = None
        self._ids = itertools.count(1)

    def send(
        self, items: Sequence[T], encode: Callable[[T], Message], timeout_s: float, *, bundled: bool = True
    ) -> BatchResult:
        """Send a batch, as `Connection.send_batch` says."""
        batch = _Batch(items, encode, framework.now_s() + timeout_s)
        while batch.done < len(items):
            # One message alone is carried out whole or not at all anyway.
            if bundled and self._makes_bundles is not False and len(items) - batch.done > 1:
                self._bundle(batch) if _takes(encode(items[batch.done])) else self._between_barriers(batch, _takes_not)
                if batch.refusals:
                    break
            else:
                self._between_barriers(batch, _any)
        return BatchResult(tuple(batch.refusals))

    def _between_barriers(self, batch: _Batch[T], belongs: Callable[[Message], bool]) -> None:
        """Send a window of messages, and wait until the switch has carried them out."""
        most = min(self._plain.size, len(batch.items) - batch.done)
        first_xid = self._connection.take_xids(most)
        with self._pending.watch(first_xid, most, batch.done, batch.refusals):
            sent = self._stream(batch, first_xid, most, belongs, _plain)
            began_s = framework.now_s()
            self._barrier(batch)
            self._plain.took(framework.now_s() - began_s)
        batch.confirmed(sent)

    def _bundle(self, batch: _Batch[T]) -> None:
        """Send messages in a bundle and commit it; nothing is done where the switch does not make bundles."""
        bundle = next(self._ids)
        xid = self._connection.take_xids(1)
        opening = self._pending.expect(xid, MessageType.EXPERIMENTER, bundles.answer(bundle, Step.OPEN))
        try:
            self._connection.send(bundles.control(xid, bundle, Step.OPEN))
            if self._makes_bundles is None:
                # A switch that neither knows bundles nor says so answers this all the same.
                self._barrier(batch)
                self._makes_bundles = opening.over.is_set() and opening.error is None
            if not self._makes_bundles or not self._committed(batch, bundle, opening):
                self._makes_bundles = False
                self._connection.makes_no_bundles()
        finally:
            self._pending.forget(xid)

    def _committed(self, batch: _Batch[T], bundle: int, opening: Waiter) -> bool:
        """Fill a bundle and commit it; False where the switch says that it does not make such bundles."""
        most = min(self._bundled.size, len(batch.items) - batch.done)
        first_xid = self._connection.take_xids(most)
        refusals: list[Refusal] = []
        with self._pending.watch(first_xid, most, batch.done, refusals):
            sent = self._stream(
                batch, first_xid, most, _takes, lambda xid, message: bundles.added(xid, bundle, *message)
            )
            began_s = framework.now_s()
            # Answered behind all that was added: what was not taken is known now, and the rest would be carried out.
            fault = self._ask(batch, bundle, Step.CLOSE)
            if fault is None and opening.error is None and not refusals:
                fault = self._ask(batch, bundle, Step.COMMIT)
            else:
                self._ask(batch, bundle, Step.DISCARD)
        errors = [refusal.error for refusal in refusals] + ([fault.error] if fault is not None else [])
        if opening.error is not None or bundles.unfit(errors):
            return False
        if errors:
            batch.refusals += refusals or [Refusal(batch.done, errors[0])]
        else:
            self._bundled.took(framework.now_s() - began_s)
            batch.confirmed(sent)
        return True

    def _stream(
        self,
        batch: _Batch[T],
        first_xid: int,
        most: int,
        belongs: Callable[[Message], bool],
        pack: Callable[[int, Message], bytes],
    ) -> int:
        """Send messages up to the first that does not belong to the others; returns how many."""
        connection, encode = self._connection, batch.encode
        chunk: list[bytes] = []
        sent = 0
        turn_ends_s = framework.now_s() + TURN_S
        for item in itertools.islice(batch.items, batch.done, batch.done + most):
            message = encode(item)
            if not belongs(message):
                break
            chunk.append(pack(first_xid + sent, message))
            sent += 1
            if framework.now_s() >= turn_ends_s:
                connection.send(b"".join(chunk))
                chunk.clear()
                framework.sleep(0)
                if not connection.wait_for_room(_QUEUED_BYTES, batch.left_s()):
                    raise NoAnswer(f"{connection} did not read its rules in time")
                turn_ends_s = framework.now_s() + TURN_S
        connection.send(b"".join(chunk))
        return sent

    def _ask(self, batch: _Batch[T], bundle: int, step: Step) -> RequestRefused | None:
        """Ask for a step of a bundle and wait for the answer; what the switch says against it."""
        xid = self._connection.take_xids(1)
        try:
            self._connection.exchange(
                bundles.control(xid, bundle, step),
                MessageType.EXPERIMENTER,
                bundles.answer(bundle, step),
                batch.left_s(),
                f"the {step.name} of a bundle",
            )
        except RequestRefused as refused:
            return refused
        return None

    def _barrier(self, batch: _Batch[T]) -> None:
        xid = self._connection.take_xids(1)
        request = _HEADER.pack(OFP_VERSION, MessageType.BARRIER_REQUEST, _HEADER.size, xid)
        self._connection.exchange(request, MessageType.BARRIER_REPLY, b"", batch.left_s(), "a barrier")


def _plain(xid: int, message: Message) -> bytes:
    return _HEADER.pack(OFP_VERSION, message.type, _HEADER.size + len(message.body), xid) + message.body


def _takes(message: Message) -> bool:
    return message.type in bundles.MESSAGES


def _takes_not(message: Message) -> bool:
    return message.type not in bundles.MESSAGES


def _any(_message: Message) -> bool:
    return True
