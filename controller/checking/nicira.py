"""Nicira's actions, which other people's rules in an Open vSwitch hold.

Their layouts are those of Open vSwitch, ``lib/ofp-actions.c``. The framework's parsers know these by subtype and keep
others as bytes; what would make them fail or walk for ever is refused here.
"""

from __future__ import annotations

import struct

from controller.checking.faults import LONGEST_SLICED, TYPE_LENGTH, U16, U32, malformed
from controller.checking.oxm import check_field, check_field_name, check_short_field_name

NICIRA = 0x00002320

_SUBTYPE_AT = 8
_BODY_AT = 10
_SMALLEST = 16

_REG_MOVE, _REG_LOAD, _SET_TUNNEL64, _MULTIPATH, _BUNDLE, _BUNDLE_LOAD = 6, 7, 9, 10, 12, 13
_OUTPUT_REG, _LEARN, _DEC_TTL_CNT_IDS, _STACK_PUSH, _STACK_POP, _SAMPLE = 15, 16, 21, 27, 28, 29
_OUTPUT_REG2, _REG_LOAD2, _CT, _NAT, _CONTROLLER2, _SAMPLE2 = 32, 33, 35, 36, 37, 38

# Bytes without what varies, where these are more than 16.
_SMALLEST_BY_SUBTYPE = {
    _REG_MOVE: 24,
    _REG_LOAD: 24,
    _SET_TUNNEL64: 24,
    _MULTIPATH: 32,
    _BUNDLE: 32,
    _BUNDLE_LOAD: 32,
    _OUTPUT_REG: 24,
    _LEARN: 32,
    _STACK_PUSH: 24,
    _STACK_POP: 24,
    _SAMPLE: 24,
    _OUTPUT_REG2: 24,
    _CT: 24,
    _SAMPLE2: 32,
}
# Where 4 bytes name a field; in the second table, 0 stands for no field.
_FIELD_NAMES_AT = {_MULTIPATH: 28, _OUTPUT_REG: 12, _OUTPUT_REG2: 14, _STACK_PUSH: 12, _STACK_POP: 12}
_OPTIONAL_FIELD_NAMES_AT = {_BUNDLE: 24, _BUNDLE_LOAD: 24, _CT: 12}

_CT_ACTIONS_AT = 24
_BUNDLE_COUNT_AT, _BUNDLE_PORTS_AT = 20, 32
_TTL_COUNT_AT, _TTL_IDS_AT = 10, 16
_NAT_RANGES_AT, _NAT_BYTES_AT = 14, 16
_NAT_RANGE_BYTES = (4, 4, 16, 16, 2, 2)
_LEARN_SPECS_AT = 32
_LEARN_DESTINATION_BYTES = (6, 6, 0)
_CONTROLLER2_PROPERTIES_AT = 16
_CONTROLLER2_USERDATA = 3
# Longest content of a property without its padding: maximum length, controller, reason, pause.
_CONTROLLER2_LARGEST = {0: 8, 1: 8, 2: 8, 4: 8}

_COUNT = struct.Struct("!H")


def check_nicira_action(message: bytes, offset: int, size: int) -> int | None:
    """Check an action whose size is known to be a multiple of 8 and to fit.

    Returns
    -------
    int or None
        Where the actions start that it holds, up to its end; None where it can hold none.
    """
    if size < _SMALLEST:
        raise malformed(message, f"Nicira action of {size} bytes", offset)
    end = offset + size
    (subtype,) = U16.unpack_from(message, offset + _SUBTYPE_AT)
    if size < _SMALLEST_BY_SUBTYPE.get(subtype, _SMALLEST):
        raise malformed(message, f"Nicira action {subtype} of {size} bytes", offset)
    if subtype in (_LEARN, _CT, _CONTROLLER2) and size > LONGEST_SLICED:
        raise malformed(message, f"Nicira action {subtype} of {size} bytes, more than is read", offset)
    if subtype in _FIELD_NAMES_AT:
        check_short_field_name(message, offset + _FIELD_NAMES_AT[subtype])
    elif subtype in _OPTIONAL_FIELD_NAMES_AT:
        name_at = offset + _OPTIONAL_FIELD_NAMES_AT[subtype]
        if U32.unpack_from(message, name_at) != (0,):
            check_short_field_name(message, name_at)
    elif subtype == _REG_MOVE:
        check_field_name(message, check_field_name(message, offset + 16, end), end)
    elif subtype == _REG_LOAD2:
        check_field(message, offset + _BODY_AT, end, maskable=True)
    elif subtype == _LEARN:
        _check_learn(message, offset, end)
    elif subtype == _NAT:
        (ranges,) = _COUNT.unpack_from(message, offset + _NAT_RANGES_AT)
        taken = sum(each for bit, each in enumerate(_NAT_RANGE_BYTES) if ranges >> bit & 1)
        _check_taken(message, offset, subtype, size, _NAT_BYTES_AT + taken)
    elif subtype == _CONTROLLER2:
        _check_controller2(message, offset, end)
    elif subtype == _DEC_TTL_CNT_IDS:
        (count,) = _COUNT.unpack_from(message, offset + _TTL_COUNT_AT)
        _check_taken(message, offset, subtype, size, _TTL_IDS_AT + 2 * count)
    if subtype in (_BUNDLE, _BUNDLE_LOAD):
        (count,) = _COUNT.unpack_from(message, offset + _BUNDLE_COUNT_AT)
        _check_taken(message, offset, subtype, size, _BUNDLE_PORTS_AT + 2 * count)
    return offset + _CT_ACTIONS_AT if subtype == _CT else None


def _check_taken(message: bytes, offset: int, subtype: int, size: int, taken: int) -> None:
    if taken > size:
        raise malformed(message, f"Nicira action {subtype} of {size} bytes for content of {taken}", offset)


def _check_learn(message: bytes, start: int, end: int) -> None:
    """Walk the specs: 2 bytes of kinds and bits, then source and destination; a zero ends them."""
    offset = start + _LEARN_SPECS_AT
    while end - offset >= U16.size:
        (head,) = U16.unpack_from(message, offset)
        if head == 0:
            if end - offset >= 8 or any(message[offset:end]):
                raise malformed(message, "bytes behind the specs of a Nicira learn action", offset)
            return
        immediate, destination, bits = head >> 13 & 1, head >> 11 & 3, head & 0x3FF
        if destination >= len(_LEARN_DESTINATION_BYTES) or bits == 0:
            raise malformed(message, f"unknown spec 0x{head:04x} of a Nicira learn action", offset)
        source_bytes = (bits + 15) // 16 * 2 if immediate else 6
        source_at, destination_at = offset + 2, offset + 2 + source_bytes
        spec_end = destination_at + _LEARN_DESTINATION_BYTES[destination]
        if spec_end > end:
            raise malformed(message, "spec of a Nicira learn action cut off", offset)
        if not immediate:
            check_short_field_name(message, source_at)
        if destination_at < spec_end:
            check_short_field_name(message, destination_at)
        offset = spec_end


def _check_controller2(message: bytes, start: int, end: int) -> None:
    """Walk the properties, each padded to 8 bytes."""
    offset = start + _CONTROLLER2_PROPERTIES_AT
    while offset < end:
        kind, size = TYPE_LENGTH.unpack_from(message, offset)
        longest = end - offset if kind == _CONTROLLER2_USERDATA else _CONTROLLER2_LARGEST.get(kind)
        if longest is None:
            raise malformed(message, f"unknown property {kind} of a Nicira controller action", offset)
        # The framework takes user data without content for 4 bytes and would go on in its padding.
        if size > longest or size < (5 if kind == _CONTROLLER2_USERDATA else 4):
            raise malformed(message, f"property of {size} bytes of a Nicira controller action", offset)
        offset += (size + 7) // 8 * 8
