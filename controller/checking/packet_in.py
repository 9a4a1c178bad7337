"""Where a packet came in and where it starts, without building anything: the one message that hosts can cause."""

from __future__ import annotations

import struct
from typing import NamedTuple

from controller.checking.faults import U32, malformed
from controller.checking.oxm import check_match

_MATCH_AT = 24
_PAD_BYTES = 2
_HEAD = 0x040A
_IN_PORT = 0x80000004

# Version and type, length; type and length of the match, its first field and the value of that.
_USUAL = struct.Struct("!HH4x16xIII4x2x")
_USUAL_MATCH = 0x0001000C


class PacketInPlace(NamedTuple):
    """What a PACKET_IN says before its frame.

    Attributes
    ----------
    in_port : int
        The port at which the frame came in.
    data_offset : int
        Byte of the message at which the frame starts.
    """

    in_port: int
    data_offset: int


def check_packet_in(message: bytes) -> PacketInPlace:
    """Check a PACKET_IN (section 7.4.1) and find the port and the frame.

    Raises
    ------
    Violation
        The match does not fit, has a malformed field, or does not name the port.
    """
    size = len(message)
    if size >= _USUAL.size:
        head, length, match, field, in_port = _USUAL.unpack_from(message)
        if match == _USUAL_MATCH and field == _IN_PORT and head == _HEAD and length == size:
            return PacketInPlace(in_port, _USUAL.size)
    return _check_unusual(message)


def _check_unusual(message: bytes) -> PacketInPlace:
    """Check a packet whose match is not the port alone."""
    size = len(message)
    if size < _MATCH_AT or message[:2] != b"\x04\x0a" or int.from_bytes(message[2:4]) != size:
        raise malformed(message, f"header that does not fit its {size} bytes", 0)
    match_end = check_match(message, _MATCH_AT, size)
    if size - match_end < _PAD_BYTES:
        raise malformed(message, "packet without its padding", match_end)
    offset = _MATCH_AT + 4
    fields_end = _MATCH_AT + int.from_bytes(message[_MATCH_AT + 2 : _MATCH_AT + 4])
    while offset < fields_end:
        (field,) = U32.unpack_from(message, offset)
        if field == _IN_PORT:
            return PacketInPlace(U32.unpack_from(message, offset + 4)[0], match_end + _PAD_BYTES)
        offset += 4 + (field & 0xFF)
    raise malformed(message, "match without the port", _MATCH_AT)
