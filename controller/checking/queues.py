"""The queues of a port and their properties (sections 7.2.2 and 7.3.6)."""

from __future__ import annotations

import struct

from controller.checking.faults import TYPE_LENGTH, check_room, check_size, malformed

_REPLY_BYTES = 16
_QUEUE = struct.Struct("!8xH6x")
_PROPERTY_BYTES = 16
_RATES = (1, 2)
_EXPERIMENTER = 0xFFFF
# The parsers copy the rest of it for every byte.
_LONGEST_EXPERIMENTER = 4096


def check_queues(message: bytes) -> None:
    """Walk a QUEUE_GET_CONFIG_REPLY."""
    check_room(message, "queues", 0, _REPLY_BYTES, len(message))
    offset = _REPLY_BYTES
    while offset < len(message):
        check_room(message, "queue", offset, _QUEUE.size, len(message))
        (size,) = _QUEUE.unpack_from(message, offset)
        queue_end = check_size(message, "queue", offset, size, _QUEUE.size, len(message))
        offset += _QUEUE.size
        while offset < queue_end:
            offset = _check_property(message, offset, queue_end)


def _check_property(message: bytes, offset: int, end: int) -> int:
    check_room(message, "queue property", offset, _PROPERTY_BYTES, end)
    kind, size = TYPE_LENGTH.unpack_from(message, offset)
    if kind not in _RATES and kind != _EXPERIMENTER:
        raise malformed(message, f"unknown queue property {kind}", offset)
    longest = _LONGEST_EXPERIMENTER if kind == _EXPERIMENTER else _PROPERTY_BYTES
    if size > longest:
        raise malformed(message, f"queue property of {size} bytes", offset)
    return check_size(message, "queue property", offset, size, _PROPERTY_BYTES, end)
