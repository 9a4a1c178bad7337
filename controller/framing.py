"""What a switch may say, and when: checks on bytes, made before the framework's parser sees any of them.

Section numbers are those of OpenFlow 1.3.5.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from topologies.errors import HeddleError

OFP_VERSION = 0x04
HEADER_BYTES = 8
_TLS_HANDSHAKE = 0x16
"""Where a version of OpenFlow is expected, the first byte of a TLS client (RFC 8446 section 5.1)."""

_NEWEST_VERSION = 0x0F
"""OpenFlow 1.5 is 0x06; what says more than this is something else."""

_HEADER = struct.Struct("!BBHI")
_HELLO_ELEMENT = struct.Struct("!HH")
_VERSION_BITMAP = 1


class Violation(HeddleError):
    """A switch broke a rule of the channel; its connection is closed.

    Attributes
    ----------
    kind : str
        The rule, as a counter is named.
    offset : int or None
        Byte of the message at which it was broken, where one is to blame.
    """

    def __init__(self, kind: str, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.offset = offset


class MessageType(IntEnum):
    """Messages of section 7.1 that a switch sends, and the requests that wait for an answer."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REPLY = 6
    GET_CONFIG_REQUEST = 7
    GET_CONFIG_REPLY = 8
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    QUEUE_GET_CONFIG_REQUEST = 22
    QUEUE_GET_CONFIG_REPLY = 23
    ROLE_REQUEST = 24
    ROLE_REPLY = 25
    GET_ASYNC_REQUEST = 26
    GET_ASYNC_REPLY = 27


class Phase(IntEnum):
    """What the handshake waits for."""

    HELLO = 0
    FEATURES = 1
    PORTS = 2
    UP = 3


class Header(NamedTuple):
    """The first 8 bytes of a message (section 7.1.1)."""

    version: int
    type: int
    length: int
    xid: int


_T = MessageType
_ALWAYS = {_T.ERROR, _T.ECHO_REQUEST, _T.ECHO_REPLY}
_REPLIES = {
    _T.MULTIPART_REPLY, _T.BARRIER_REPLY, _T.GET_CONFIG_REPLY, _T.QUEUE_GET_CONFIG_REPLY, _T.ROLE_REPLY,
    _T.GET_ASYNC_REPLY,
}  # fmt: skip
_READ = {
    Phase.HELLO: {_T.HELLO},
    Phase.FEATURES: _ALWAYS | {_T.FEATURES_REPLY},
    Phase.PORTS: _ALWAYS | {_T.MULTIPART_REPLY, _T.PORT_STATUS},
    Phase.UP: _ALWAYS | _REPLIES | {_T.PORT_STATUS, _T.PACKET_IN},
}
# A switch that still has rules from an earlier connection reports packets and ports as soon as it is
# connected, so these are no violation early; experimenter messages and removals nobody here asked for.
_UNREAD = {
    Phase.HELLO: set[MessageType](),
    Phase.FEATURES: {_T.PACKET_IN, _T.PORT_STATUS, _T.FLOW_REMOVED, _T.EXPERIMENTER},
    Phase.PORTS: {_T.PACKET_IN, _T.FLOW_REMOVED, _T.EXPERIMENTER},
    Phase.UP: {_T.FLOW_REMOVED, _T.EXPERIMENTER},
}
# A packet is a frame of at most 9,018 bytes with its match; errors and echoes carry a message or a few bytes of ours.
_LENGTHS = {
    _T.ERROR: (12, 4 << 10),
    _T.ECHO_REQUEST: (8, 4 << 10),
    _T.ECHO_REPLY: (8, 4 << 10),
    _T.EXPERIMENTER: (16, 0xFFFF),
    _T.FEATURES_REPLY: (32, 32),
    _T.GET_CONFIG_REPLY: (12, 12),
    _T.PACKET_IN: (34, 16 << 10),
    _T.FLOW_REMOVED: (56, 16 << 10),
    _T.PORT_STATUS: (80, 80),
    _T.MULTIPART_REPLY: (16, 0xFFFF),
    _T.BARRIER_REPLY: (8, 8),
    _T.QUEUE_GET_CONFIG_REPLY: (16, 0xFFFF),
    _T.ROLE_REPLY: (24, 24),
    _T.GET_ASYNC_REPLY: (32, 32),
}
_WHEN = {
    Phase.HELLO: "before a HELLO",
    Phase.FEATURES: "before its features are known",
    Phase.PORTS: "before its ports are known",
    Phase.UP: "in the direction of the controller",
}
# By phase and type: whether the message is read, its shortest and its longest length.
_RULES: dict[Phase, dict[int, tuple[bool, int, int]]] = {
    phase: {kind: (kind in _READ[phase], *_LENGTHS.get(kind, (HEADER_BYTES, 0xFFFF))) for kind in read | _UNREAD[phase]}
    for phase, read in _READ.items()
}


def read_header(buffer: bytes | bytearray, offset: int = 0) -> Header:
    """The header at an offset of a buffer that holds at least 8 bytes from there."""
    return Header(*_HEADER.unpack_from(buffer, offset))


def check_header(header: Header, phase: Phase, max_bytes: int) -> bool:
    """Whether a message is to be read (True) or passed over (False).

    Parameters
    ----------
    max_bytes : int
        Longest message accepted, whatever its type; some types have a tighter bound of their own.

    Raises
    ------
    Violation
        The version, the type at this point, or the length is not acceptable.
    """
    version, kind, length, _ = header
    if phase is Phase.HELLO and not 0 < version <= _NEWEST_VERSION:
        if version == _TLS_HANDSHAKE:
            raise Violation("type", "begins TLS, which is not set up here; set openflow_tls (docs/tls.md)", 0)
        first = _HEADER.pack(*header).hex(" ")
        raise Violation(
            "version", f"does not speak OpenFlow (its first bytes: {first}); something else connects here", 0
        )
    if version != OFP_VERSION and (phase is not Phase.HELLO or version < OFP_VERSION):
        raise Violation(
            "version", f"sent a message of OpenFlow version 0x{version:02x} at byte 0; set it to OpenFlow 1.3", 0
        )
    rule = _RULES[phase].get(kind)
    if rule is None:
        sentence = f"sent a message of type {kind} at byte 1, which has no place {_WHEN[phase]}"
        raise Violation("type", sentence, 1)
    read, shortest, longest = rule
    if not shortest <= length <= longest or length > max_bytes:
        name, longest = MessageType(kind).name, min(longest, max_bytes)
        raise Violation("length", f"sent a {name} of {length} bytes, not of {shortest} to {longest}, at byte 2", 2)
    return read


def check_hello(message: bytes) -> None:
    """Check a HELLO and that it lets both sides speak OpenFlow 1.3 (sections 6.3.1 and 7.5.1).

    A bitmap of versions decides where there is one, the header's version elsewhere.

    Raises
    ------
    Violation
        An element's length does not fit, or OpenFlow 1.3 is not offered.
    """
    version, _, length, _ = read_header(message)
    offered = version == OFP_VERSION
    offset = HEADER_BYTES
    while offset < length:
        if length - offset < _HELLO_ELEMENT.size:
            raise Violation("hello", f"sent a HELLO with a truncated element at byte {offset}", offset)
        kind, size = _HELLO_ELEMENT.unpack_from(message, offset)
        if size < _HELLO_ELEMENT.size or size > length - offset:
            raise Violation("hello", f"sent a HELLO with an element of {size} bytes at byte {offset}", offset)
        if kind == _VERSION_BITMAP:
            if size < 8 or size % 4:
                raise Violation("hello", f"sent a HELLO with a version bitmap of {size} bytes at byte {offset}", offset)
            (word,) = struct.unpack_from("!I", message, offset + 4)
            offered = bool(word >> OFP_VERSION & 1)
        offset += (size + 7) // 8 * 8
    if not offered:
        raise Violation("version", "does not offer OpenFlow 1.3 in its HELLO; set it to OpenFlow 1.3")


def multipart(message: bytes) -> tuple[int, bool]:
    """Type of a multipart reply, and whether more parts follow (section 7.3.5)."""
    kind, flags = struct.unpack_from("!HH", message, HEADER_BYTES)
    return kind, bool(flags & 1)
