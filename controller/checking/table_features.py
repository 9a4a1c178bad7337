"""What a table can do: its entry in a multipart reply and the lists in that (section 7.3.5.5)."""

from __future__ import annotations

from controller.checking.faults import LONGEST_SLICED, TYPE_LENGTH, U16, check_room, check_size, malformed

_ENTRY_BYTES = 64
_TABLES = 255

_INSTRUCTIONS = (0, 1)
_NEXT_TABLES = (2, 3)
_ACTIONS = (4, 5, 6, 7)
_FIELDS = (8, 10, 12, 13, 14, 15)
_EXPERIMENTER = (0xFFFE, 0xFFFF)

_EXPERIMENTER_CLASS = 0xFFFF
_EXPERIMENTER_HEADER_BYTES = 12


def check_table_features(message: bytes, offset: int, end: int) -> int:
    """Check one table's entry; returns where it ends."""
    check_room(message, "table's features", offset, _ENTRY_BYTES, end)
    (size,) = U16.unpack_from(message, offset)
    entry_end = check_size(message, "table's features", offset, size, _ENTRY_BYTES, end)
    if size > LONGEST_SLICED:
        raise malformed(message, f"table's features of {size} bytes, more than is read", offset)
    offset += _ENTRY_BYTES
    while offset < entry_end:
        check_room(message, "table property", offset, TYPE_LENGTH.size, entry_end)
        kind, size = TYPE_LENGTH.unpack_from(message, offset)
        property_end = check_size(message, "table property", offset, size, TYPE_LENGTH.size, entry_end)
        _check_property(message, kind, offset, property_end)
        offset += (size + 7) // 8 * 8
        if offset > entry_end:
            raise malformed(message, "table property without its padding", property_end)
    return entry_end


def _check_property(message: bytes, kind: int, offset: int, end: int) -> None:
    start = offset + TYPE_LENGTH.size
    if kind in _INSTRUCTIONS or kind in _ACTIONS:
        _check_names(message, "action" if kind in _ACTIONS else "instruction", start, end)
    elif kind in _FIELDS:
        _check_field_names(message, start, end)
    elif kind in _NEXT_TABLES:
        if end - start > _TABLES:
            raise malformed(message, f"list of {end - start} next tables", offset)
    elif kind in _EXPERIMENTER and (end - offset < _EXPERIMENTER_HEADER_BYTES or (end - offset) % 4):
        raise malformed(message, f"experimenter's table property of {end - offset} bytes", offset)


def _check_names(message: bytes, what: str, offset: int, end: int) -> None:
    """Walk headers without body: 4 bytes each, 8 those of experimenters."""
    while offset < end:
        check_room(message, f"name of an {what}", offset, TYPE_LENGTH.size, end)
        kind, size = TYPE_LENGTH.unpack_from(message, offset)
        if size != (8 if kind == _EXPERIMENTER_CLASS else 4) or size > end - offset:
            raise malformed(message, f"name of an {what}, of {size} bytes", offset)
        offset += size


def _check_field_names(message: bytes, offset: int, end: int) -> None:
    """Walk headers of match fields: 4 bytes each, 8 those of experimenters."""
    while offset < end:
        check_room(message, "name of a match field", offset, 4, end)
        (class_,) = U16.unpack_from(message, offset)
        size = 8 if class_ == _EXPERIMENTER_CLASS else 4
        check_room(message, "name of a match field", offset, size, end)
        offset += size
