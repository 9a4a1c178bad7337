"""Multipart replies: one body, or a list of entries that each name their size (section 7.3.5)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from controller.checking.faults import TYPE_LENGTH, U16, check_room, check_size, malformed
from controller.checking.instructions import check_buckets, check_instructions
from controller.checking.oxm import check_match
from controller.checking.table_features import check_table_features

_BODY_AT = 16
_MORE = 1
_KIND = struct.Struct("!8xHH4x")

# Bytes of the one body: description, aggregate, features of groups and of meters.
_SINGLE = {0: 1056, 2: 24, 8: 40, 11: 16}
# Bytes of each entry: tables, ports, queues, descriptions of ports.
_FIXED = {3: 24, 4: 112, 5: 40, 13: 64}

_EXPERIMENTER = 0xFFFF
_LONGEST_EXPERIMENTER = 4096

_FLOW_MATCH_AT = 48
_METER_SIZE = struct.Struct("!4xH")
_BAND_BYTES = 16
_BANDS = (1, 2, 0xFFFF)
_COUNTER_BYTES = 16


def check_multipart(message: bytes) -> int:
    """Walk a MULTIPART_REPLY.

    Returns
    -------
    int
        Entries in its list; 1 for a single body.
    """
    end = len(message)
    check_room(message, "header of a part", 0, _BODY_AT, end)
    kind, flags = _KIND.unpack_from(message)
    body_bytes = end - _BODY_AT
    if not body_bytes and flags & _MORE:
        raise malformed(message, "no entry though more are to follow", end)
    if kind in _SINGLE:
        if body_bytes != _SINGLE[kind]:
            raise malformed(message, f"body of {body_bytes} bytes, not of {_SINGLE[kind]},", _BODY_AT)
        return 1
    if kind in _FIXED:
        entries, rest = divmod(body_bytes, _FIXED[kind])
        if rest:
            raise malformed(message, f"entry cut off after {rest} of {_FIXED[kind]} bytes", end - rest)
        return entries
    if kind == _EXPERIMENTER:
        _check_experimenter(message, body_bytes)
        return 1
    check_entry = _ENTRIES.get(kind)
    if check_entry is None:
        raise malformed(message, f"unknown part of kind {kind}", 8)
    offset, entries = _BODY_AT, 0
    while offset < end:
        offset = check_entry(message, offset, end)
        entries += 1
    return entries


def _check_experimenter(message: bytes, body_bytes: int) -> None:
    """Check a body that only its experimenter can read.

    The framework's parsers read one at every sixteenth byte, each with a copy of all that follows.
    """
    if not 8 <= body_bytes <= _LONGEST_EXPERIMENTER or 0 < body_bytes % 16 < 8:
        raise malformed(message, f"experimenter's body of {body_bytes} bytes", _BODY_AT)


def _check_flow(message: bytes, offset: int, end: int) -> int:
    check_room(message, "flow", offset, _FLOW_MATCH_AT + 8, end)
    (size,) = U16.unpack_from(message, offset)
    flow_end = check_size(message, "flow", offset, size, _FLOW_MATCH_AT + 8, end)
    check_instructions(message, check_match(message, offset + _FLOW_MATCH_AT, flow_end), flow_end)
    return flow_end


def _check_group_description(message: bytes, offset: int, end: int) -> int:
    check_room(message, "group", offset, 8, end)
    (size,) = U16.unpack_from(message, offset)
    group_end = check_size(message, "group", offset, size, 8, end)
    check_buckets(message, offset + 8, group_end)
    return group_end


def _check_group_counters(message: bytes, offset: int, end: int) -> int:
    check_room(message, "group", offset, 40, end)
    (size,) = U16.unpack_from(message, offset)
    return _check_counters(message, "group", offset, size, end)


def _check_meter_counters(message: bytes, offset: int, end: int) -> int:
    check_room(message, "meter", offset, 40, end)
    (size,) = _METER_SIZE.unpack_from(message, offset)
    return _check_counters(message, "meter", offset, size, end)


def _check_counters(message: bytes, what: str, offset: int, size: int, end: int) -> int:
    """Check an entry of 40 bytes and whole counters, of a bucket or of a band each."""
    if (size - 40) % _COUNTER_BYTES:
        raise malformed(message, f"{what} of {size} bytes", offset)
    return check_size(message, what, offset, size, 40, end)


def _check_meter_configuration(message: bytes, offset: int, end: int) -> int:
    check_room(message, "meter", offset, 8, end)
    (size,) = U16.unpack_from(message, offset)
    meter_end = check_size(message, "meter", offset, size, 8, end)
    offset += 8
    while offset < meter_end:
        check_room(message, "meter band", offset, _BAND_BYTES, meter_end)
        kind, size = TYPE_LENGTH.unpack_from(message, offset)
        if kind not in _BANDS:
            raise malformed(message, f"unknown meter band of type {kind}", offset)
        if size != _BAND_BYTES:
            raise malformed(message, f"meter band of {size} bytes", offset)
        offset += size
    return meter_end


_ENTRIES: dict[int, Callable[[bytes, int, int], int]] = {
    1: _check_flow,
    6: _check_group_counters,
    7: _check_group_description,
    9: _check_meter_counters,
    10: _check_meter_configuration,
    12: check_table_features,
}
