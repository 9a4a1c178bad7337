"""Match fields: single ones, their bare headers, and whole matches (section 7.2.3)."""

from __future__ import annotations

from controller.checking.faults import TYPE_LENGTH, U16, U32, check_room, check_size, malformed

_MATCH_OXM = 1
_HEADER_BYTES = 4

_BASIC = 0x8000
_NXM_0 = 0x0000
_NXM_1 = 0x0001
_PACKET_REGISTERS = 0x8001
_EXPERIMENTER = 0xFFFF

_ONF = 0x4F4E4600
_NICIRA = 0x00002320
_NICIRA_NSH = 0x005AD650

# The value's bytes by field number. What Open vSwitch sends beyond OpenFlow 1.3 is in its lib/meta-flow.h.
_PLAIN_FIELDS: dict[int, dict[int, int]] = {
    _BASIC: (
        dict(enumerate([4, 4, 8, 6, 6, 2, 2, 1, 1, 1, 1, 4, 4, 2, 2, 2, 2, 2, 2, 1]))
        | dict(enumerate([1, 2, 4, 4, 6, 6, 16, 16, 4, 1, 1, 16, 6, 6, 4, 1, 1, 3, 8, 2], start=20))
    ),
    _NXM_0: dict(enumerate([2, 6, 6, 2, 2, 1, 1, 4, 4, 2, 2, 2, 2, 1, 1, 2, 4, 4])),
    _NXM_1: (
        dict.fromkeys(range(16), 4)
        | dict(enumerate([8, 6, 6, 16, 16, 1, 1, 16, 6, 6, 1, 4, 1, 1, 1, 4, 4, 4, 2], start=16))
        | {36: 4, 37: 4, 38: 2, 39: 1}
        | dict(enumerate([2, 4, 2, 4, 16, 16, 16, 16, 16, 16, 16], start=104))
    ),
    _PACKET_REGISTERS: dict.fromkeys(range(8), 8),
}
_EXPERIMENTER_FIELDS: dict[tuple[int, int], int] = {
    (_ONF, 42): 2,
    (_ONF, 43): 4,
    (_NICIRA, 0): 4,
    **{(_NICIRA_NSH, 1 + i): size for i, size in enumerate([1, 1, 1, 4, 1, 4, 4, 4, 4, 1])},
}
# An early form of experimenter fields has field number 0 and a type of 2 bytes behind the experimenter.
_TYPED_FIELDS: dict[tuple[int, int], int] = {(_ONF, 2560): 1}

FieldKey = int | tuple[int, int, int]
"""What tells one field from another: class and number, and for experimenter fields whose."""


def _payloads() -> dict[int, int]:
    """A field's payload bytes by the upper three bytes of its header, which tell class, number and mask."""
    payloads = {}
    for class_, fields in _PLAIN_FIELDS.items():
        for number, size in fields.items():
            payloads[class_ << 8 | number << 1] = size
            payloads[class_ << 8 | number << 1 | 1] = 2 * size
    return payloads


PAYLOADS = _payloads()


def check_match(message: bytes, offset: int, end: int) -> int:
    """Walk a match with its padding (section 7.2.3.1).

    Returns
    -------
    int
        Where the padding ends.

    Raises
    ------
    Violation
        It is no OXM match, does not fit, or holds a field of a wrong size or twice.
    """
    check_room(message, "match", offset, 8, end)
    kind, size = TYPE_LENGTH.unpack_from(message, offset)
    if kind != _MATCH_OXM:
        raise malformed(message, f"unknown match of type {kind}", offset)
    fields_end = check_size(message, "match", offset, size, TYPE_LENGTH.size, end)
    padded: int = offset + (size + 7) // 8 * 8
    if padded > end:
        raise malformed(message, "match without its padding", offset)
    offset += TYPE_LENGTH.size
    seen: set[FieldKey] = set()
    payload_of, read = PAYLOADS.get, U32.unpack_from
    while offset < fields_end:
        if fields_end - offset < _HEADER_BYTES:
            raise malformed(message, f"match field cut off after {fields_end - offset} of 4 bytes", offset)
        (header,) = read(message, offset)
        payload = header & 0xFF
        key: FieldKey = header >> 9
        if payload > fields_end - offset - _HEADER_BYTES:
            raise malformed(message, f"match field of {payload} bytes", offset)
        if payload_of(header >> 8) != payload:
            key = _check_rare_field(message, offset, header)
        if key in seen:
            raise malformed(message, "second match field of the same kind", offset)
        seen.add(key)
        offset += _HEADER_BYTES + payload
    return padded


def check_field(message: bytes, offset: int, end: int, *, maskable: bool) -> int:
    """Check one field with its value (section 7.2.3.2); returns where it ends."""
    check_room(message, "match field", offset, _HEADER_BYTES, end)
    header: int = U32.unpack_from(message, offset)[0]
    payload = header & 0xFF
    if payload > end - offset - _HEADER_BYTES:
        raise malformed(message, f"match field of {payload} bytes", offset)
    if PAYLOADS.get(header >> 8) != payload:
        _check_rare_field(message, offset, header)
    if header & 0x100 and not maskable:
        raise malformed(message, "mask where none may be", offset)
    return offset + _HEADER_BYTES + payload


def _check_rare_field(message: bytes, offset: int, header: int) -> FieldKey:
    """Check a field, known to fit, that has no entry of its size in the table of plain fields."""
    payload = header & 0xFF
    masked = header >> 8 & 1
    key: FieldKey = header >> 9
    if header >> 16 == _EXPERIMENTER:
        number, value_bytes, prefix_bytes = _experimenter_field(message, offset, header)
        if payload != prefix_bytes + (value_bytes << masked):
            raise malformed(message, f"experimenter match field of {payload} bytes", offset)
        return (header >> 9, U32.unpack_from(message, offset + _HEADER_BYTES)[0], number)
    if header >> 8 in PAYLOADS or payload == 0 or (masked and payload % 2):
        raise malformed(message, f"match field 0x{header >> 16:04x}/{header >> 9 & 0x7F} of {payload} bytes", offset)
    return key


def _experimenter_field(message: bytes, offset: int, header: int) -> tuple[int, int, int]:
    """Number, bytes of the value and bytes between header and value of an experimenter field.

    The framework's parsers look the field up by these and fail on one they do not know.
    """
    payload, number = header & 0xFF, header >> 9 & 0x7F
    if payload < 4:
        raise malformed(message, f"experimenter match field of {payload} bytes", offset)
    (experimenter,) = U32.unpack_from(message, offset + _HEADER_BYTES)
    prefix_bytes, fields = 4, _EXPERIMENTER_FIELDS
    if experimenter == _ONF and number == 0:
        if payload < 6:
            raise malformed(message, f"experimenter match field of {payload} bytes", offset)
        (number,) = U16.unpack_from(message, offset + _HEADER_BYTES + 4)
        prefix_bytes, fields = 6, _TYPED_FIELDS
    value_bytes = fields.get((experimenter, number))
    if value_bytes is None:
        raise malformed(message, f"unknown match field {number} of experimenter 0x{experimenter:08x}", offset)
    return number, value_bytes, prefix_bytes


def check_field_name(message: bytes, offset: int, end: int) -> int:
    """Check a field's header that stands for the field, without value (Nicira actions); returns where it ends.

    Experimenter fields are named by 8 bytes, others by 4.
    """
    check_room(message, "name of a field", offset, _HEADER_BYTES, end)
    (header,) = U32.unpack_from(message, offset)
    if header >> 16 != _EXPERIMENTER:
        check_short_field_name(message, offset)
        return offset + _HEADER_BYTES
    check_room(message, "name of a field", offset, 8, end)
    (experimenter,) = U32.unpack_from(message, offset + _HEADER_BYTES)
    number, payload = header >> 9 & 0x7F, header & 0xFF
    value_bytes = _EXPERIMENTER_FIELDS.get((experimenter, number))
    if value_bytes is None or header & 0x100 or payload != 4 + value_bytes:
        raise malformed(message, f"unknown name of a field 0x{header:08x} of 0x{experimenter:08x}", offset)
    return offset + 8


def check_short_field_name(message: bytes, offset: int) -> None:
    """Check a field's header that stands for the field where there is room for 4 bytes only."""
    (header,) = U32.unpack_from(message, offset)
    if header >> 16 == _EXPERIMENTER or header & 0x100 or not header & 0xFF:
        raise malformed(message, f"unknown name of a field 0x{header:08x}", offset)
