"""Instructions of flows and buckets of groups, with the actions in them (sections 7.2.4 and 7.3.4.2)."""

from __future__ import annotations

from controller.checking.actions import check_actions
from controller.checking.faults import TYPE_LENGTH, U16, check_room, check_size, malformed

_WITH_ACTIONS = (3, 4)
_ACTIONS_AT = 8
# Go to table, write metadata, clear actions, meter. The parsers know no experimenter's instructions.
_SIZES = {1: 8, 2: 24, 5: 8, 6: 8}

_BUCKET_BYTES = 16


def check_instructions(message: bytes, offset: int, end: int) -> None:
    """Walk instructions that fill a range of the message."""
    size_of, read = _SIZES.get, TYPE_LENGTH.unpack_from
    while offset < end:
        check_room(message, "instruction", offset, TYPE_LENGTH.size, end)
        kind, size = read(message, offset)
        if size_of(kind) != size or size > end - offset:
            _check_rare_instruction(message, offset, kind, size, end)
        offset += size


def _check_rare_instruction(message: bytes, offset: int, kind: int, size: int, end: int) -> None:
    if kind not in _SIZES and kind not in _WITH_ACTIONS:
        raise malformed(message, f"unknown instruction of type {kind}", offset)
    if kind in _SIZES or size % 8:
        raise malformed(message, f"instruction of {size} bytes", offset)
    check_actions(message, offset + _ACTIONS_AT, check_size(message, "instruction", offset, size, _ACTIONS_AT, end))


def check_buckets(message: bytes, offset: int, end: int) -> None:
    """Walk buckets that fill a range of the message."""
    while offset < end:
        check_room(message, "bucket", offset, _BUCKET_BYTES, end)
        (size,) = U16.unpack_from(message, offset)
        bucket_end = check_size(message, "bucket", offset, size, _BUCKET_BYTES, end)
        check_actions(message, offset + _BUCKET_BYTES, bucket_end)
        offset = bucket_end
