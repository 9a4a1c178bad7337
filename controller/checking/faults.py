"""The sentence that a malformed message is refused with, and the few checks that all structures share."""

from __future__ import annotations

import struct

from controller.framing import MessageType, Violation

U16 = struct.Struct("!H")
U32 = struct.Struct("!I")
TYPE_LENGTH = struct.Struct("!HH")

LONGEST_SLICED = 16 << 10
"""Bytes of a structure that the framework's parsers walk by copying its rest at every element.

Their work grows with the square of its length: 64 KiB of single bytes cost 2 GB of copying.
"""

_TYPE_AT = 1


def malformed(message: bytes, fault: str, offset: int) -> Violation:
    """What is wrong at which byte of a message."""
    kind = message[_TYPE_AT] if len(message) > _TYPE_AT else -1
    name = MessageType(kind).name if kind in MessageType.__members__.values() else f"message of type {kind}"
    return Violation("malformed", f"sent a malformed {name}: {fault} at byte {offset}", offset)


def check_room(message: bytes, what: str, offset: int, smallest: int, end: int) -> None:
    """Raise where less than the smallest structure of its kind is left."""
    if end - offset < smallest:
        raise malformed(message, f"{what} cut off after {end - offset} of {smallest} bytes", offset)


def check_size(message: bytes, what: str, offset: int, size: int, smallest: int, end: int) -> int:
    """The end of a structure that names its own size; raises where that is too small or reaches too far."""
    if size < smallest or size > end - offset:
        raise malformed(message, f"{what} of {size} bytes", offset)
    return offset + size
