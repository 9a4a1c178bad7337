"""Random OpenFlow 1.3 messages of every kind that a switch may send, and the ways to break each of their lengths.

An independent witness for whatever reads messages: written from the structures of OpenFlow 1.3.5, whose section numbers
are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from controller import testing_bodies as bodies
from controller.testing_nicira import foreign_flow
from controller.testing_structures import EXPERIMENTER_CLASS, FOREIGN, ONF, LengthField, Writer, match

_VERSION = 0x04
_HELLO, _MULTIPART_REPLY = 0, 19
_BUNDLE_CONTROL = 2300
_NO_BUFFER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Sample:
    """A valid message.

    Attributes
    ----------
    name : str
        Its kind, one of `KINDS`.
    lengths : tuple of LengthField
        Every length field in it; the first is the header's.
    """

    name: str
    message: bytes
    lengths: tuple[LengthField, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a message of a kind is made: its type, its shortest length, and what writes its body."""

    type: int
    least: int
    body: Callable[[Writer], None]


@dataclass(frozen=True, slots=True)
class _Multipart:
    """How a multipart reply is made; a body of many entries may be empty, and go on in a further message."""

    type: int
    least: int
    entry: Callable[[Writer], None]
    many: bool = True


def _nothing(writer: Writer) -> None:
    """No body."""


def _hello(writer: Writer) -> None:
    """Elements (section 7.5.1), one of them with a bitmap of versions that has 1.3."""
    random = writer.random
    bitmap_at = random.randint(0, 2)
    for place in range(max(random.randint(0, 3), bitmap_at + 1)):
        if place == bitmap_at:
            with writer.measured("hello-element", 8) as start:
                writer.pack("HHI", 1, 0, writer.bits(7) | 1 << _VERSION)
                writer.data += bytes(4 * random.randint(0, 2))
        else:
            with writer.measured("hello-element", 4) as start:
                writer.pack("HH", random.randint(2, 0xFFFF), 0)
                writer.data += random.randbytes(random.randint(0, 12))
        writer.pad(start)


def _error(writer: Writer) -> None:
    """An error of a known kind, or an experimenter's (section 7.4.4), with the start of the message at fault."""
    if writer.random.random() < 0.2:
        writer.pack("HHI", EXPERIMENTER_CLASS, writer.bits(16), FOREIGN)
    else:
        writer.pack("HH", writer.random.randint(0, 13), writer.random.randint(0, 15))
    writer.data += writer.random.randbytes(writer.random.randint(0, 96))


def _echo(writer: Writer) -> None:
    writer.data += writer.random.randbytes(writer.random.randint(0, 64))


def _experimenter(writer: Writer) -> None:
    """An unknown experimenter's message, or the answer to a bundle's (section 7.5.4, EXT-230)."""
    if writer.random.random() < 0.5:
        writer.pack("IIIHH", ONF, _BUNDLE_CONTROL, writer.bits(32), writer.random.choice((1, 3, 5, 7)), writer.bits(2))
    else:
        writer.pack("II", FOREIGN, writer.bits(32))
        writer.data += writer.random.randbytes(writer.random.randint(0, 64))


def _features(writer: Writer) -> None:
    writer.pack("QIBB2xII", writer.bits(64), writer.bits(16), writer.random.randint(1, 254), 0, writer.bits(9), 0)


def _config(writer: Writer) -> None:
    writer.pack("HH", writer.bits(2), writer.bits(16))


def _packet_in(writer: Writer) -> None:
    """A packet (section 7.4.1): whole, or its start where the switch keeps the rest."""
    frame = writer.random.randbytes(writer.random.randint(14, 200))
    kept = writer.random.random() < 0.3
    buffer, total = (writer.bits(31), len(frame) + writer.bits(10)) if kept else (_NO_BUFFER, len(frame))
    writer.pack("IHBBQ", buffer, total, writer.random.randint(0, 2), writer.bits(7), writer.bits(64))
    match(writer, in_port=True)
    writer.pack("2x")
    writer.data += frame


def _flow_removed(writer: Writer) -> None:
    writer.pack("QHBB", writer.bits(64), writer.bits(16), writer.random.randint(0, 3), writer.bits(7))
    writer.pack("IIHHQQ", writer.bits(32), writer.bits(29), writer.bits(16), writer.bits(16), writer.bits(40), 0)
    match(writer)


def _port_status(writer: Writer) -> None:
    writer.pack("B7x", writer.random.randint(0, 2))
    bodies.port(writer)


def _queues(writer: Writer) -> None:
    writer.pack("I4x", writer.bits(16))
    for _ in range(writer.random.randint(0, 4)):
        bodies.queue(writer)


def _role(writer: Writer) -> None:
    writer.pack("I4xQ", writer.random.randint(0, 3), writer.bits(64))


def _async(writer: Writer) -> None:
    writer.pack("6I", *[writer.bits(3) for _ in range(6)])


_PLAIN = {
    "hello": _Kind(_HELLO, 8, _hello),
    "error": _Kind(1, 12, _error),
    "echo-request": _Kind(2, 8, _echo),
    "echo-reply": _Kind(3, 8, _echo),
    "experimenter": _Kind(4, 16, _experimenter),
    "features": _Kind(6, 32, _features),
    "config": _Kind(8, 12, _config),
    "packet-in": _Kind(10, 34, _packet_in),
    "flow-removed": _Kind(11, 56, _flow_removed),
    "port-status": _Kind(12, 80, _port_status),
    "barrier": _Kind(21, 8, _nothing),
    "queues": _Kind(23, 16, _queues),
    "role": _Kind(25, 24, _role),
    "async": _Kind(27, 32, _async),
}
_MULTIPART = {
    "multipart-description": _Multipart(0, 16 + 1056, bodies.description, many=False),
    "multipart-flow": _Multipart(1, 16, bodies.flow),
    "multipart-flow-nicira": _Multipart(1, 16, foreign_flow),
    "multipart-aggregate": _Multipart(2, 16 + 24, bodies.aggregate, many=False),
    "multipart-table": _Multipart(3, 16, bodies.table),
    "multipart-port": _Multipart(4, 16, bodies.port_counters),
    "multipart-queue": _Multipart(5, 16, bodies.queue_counters),
    "multipart-group": _Multipart(6, 16, bodies.group_counters),
    "multipart-group-description": _Multipart(7, 16, bodies.group),
    "multipart-group-features": _Multipart(8, 16 + 40, bodies.group_features, many=False),
    "multipart-meter": _Multipart(9, 16, bodies.meter_counters),
    "multipart-meter-config": _Multipart(10, 16, bodies.meter),
    "multipart-meter-features": _Multipart(11, 16 + 16, bodies.meter_features, many=False),
    "multipart-table-features": _Multipart(12, 16, bodies.table_features),
    "multipart-port-description": _Multipart(13, 16, bodies.port),
    "multipart-experimenter": _Multipart(0xFFFF, 16 + 8, bodies.experimental, many=False),
}
KINDS = (*_PLAIN, *_MULTIPART)
"""Names of all kinds of messages."""
FRAGMENTED = tuple(name for name, kind in _MULTIPART.items() if kind.many)
"""Names of the kinds that may come in several parts."""


def _sample(name: str, random: Random, kind: int, least: int, body: Callable[[Writer], None], xid: int) -> Sample:
    writer = Writer(random)
    with writer.measured("header", least):
        writer.pack("BBHI", _VERSION, kind, 0, xid)
        body(writer)
    return Sample(name, bytes(writer.data), writer.lengths())


def _part(name: str, random: Random, xid: int, more: bool) -> Sample:
    kind = _MULTIPART[name]

    def body(writer: Writer) -> None:
        writer.pack("HH4x", kind.type, more)
        for _ in range(random.randint(1 if more else 0, 4) if kind.many else 1):
            kind.entry(writer)

    return _sample(name, random, _MULTIPART_REPLY, kind.least, body, xid)


def sample(name: str, random: Random) -> Sample:
    """A random valid message of a kind.

    Parameters
    ----------
    name : str
        One of `KINDS`.
    """
    xid = random.getrandbits(32)
    if name in _MULTIPART:
        return _part(name, random, xid, more=False)
    kind = _PLAIN[name]
    return _sample(name, random, kind.type, kind.least, kind.body, xid)


def parts(name: str, random: Random, count: int) -> tuple[Sample, ...]:
    """A multipart reply in several messages: one xid, and all but the last say that more follows (section 7.3.5).

    Parameters
    ----------
    name : str
        One of `FRAGMENTED`.
    """
    xid = random.getrandbits(32)
    return tuple(_part(name, random, xid, more=place < count - 1) for place in range(count))


def broken(good: Sample) -> Iterator[tuple[str, bytes]]:
    """Messages that are wrong in one place each.

    Yields
    ------
    tuple of str and bytes
        What is wrong, as ``action at 72: short``, and the message. Each length field is once 0, once below the
        smallest legal value, once just over what its container has left, and once as large as it can be; and the header
        once says each other version of OpenFlow, 1.0 to 1.5. A HELLO may say a higher one, so it says lower ones only.
    """
    for field in good.lengths:
        largest = (1 << 8 * field.width_bytes) - 1
        values = {"zero": 0, "short": field.least - 1, "over": min(field.most + 1, largest), "largest": largest}
        for label, value in values.items():
            data = bytearray(good.message)
            data[field.offset : field.offset + field.width_bytes] = value.to_bytes(field.width_bytes)
            yield f"{field.name} at {field.offset}: {label}", bytes(data)
    for version in range(1, _VERSION if good.message[1] == _HELLO else 7):
        if version != _VERSION:
            yield f"version 0x{version:02x}", bytes((version, *good.message[1:]))
