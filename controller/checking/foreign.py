"""Nicira's actions in other people's rules, kept as bytes where nobody needs to know what they do."""

from __future__ import annotations

from collections.abc import Iterator

from controller.checking.faults import TYPE_LENGTH, U16
from controller.checking.nicira import NICIRA
from controller.framing import MessageType

_NICIRA_ACTION = 0xFFFF, NICIRA
_SUBTYPE_AT = 8
_SMALLEST = 16
_UNKNOWN_SUBTYPE = b"\xff\xff"

_ENTRIES_AT = 16
_FLOW, _GROUP_DESCRIPTION = 1, 7
_MATCH_AT = 48
_WITH_ACTIONS = (3, 4)
_SMALLEST_ENTRY = {_FLOW: 56, _GROUP_DESCRIPTION: 8}


def hide_nicira_actions(message: bytes) -> bytes:
    """Give every Nicira action in a reply about flows or groups a subtype that the parsers keep as bytes.

    The frameworks' parsers fail on some that Open vSwitch sends (fields of experimenters on the stack, packets to the
    controller through a meter), and a rule of somebody else must not cost a switch its channel. To be called before
    `check_message`, which then asks no more of these actions than that they fit.

    Returns
    -------
    bytes
        As long as before, and the same where it is no such reply or has no such action. What does not fit is left to
        `check_message`, from there on.
    """
    if NICIRA.to_bytes(4) not in message or len(message) < _ENTRIES_AT or message[1] != MessageType.MULTIPART_REPLY:
        return message
    (kind,) = U16.unpack_from(message, 8)
    smallest = _SMALLEST_ENTRY.get(kind)
    if smallest is None:
        return message
    hidden = bytearray(message)
    for offset, end in _sized(message, _ENTRIES_AT, len(message), 0, smallest):
        lists = _flow_actions(message, offset, end) if kind == _FLOW else _group_actions(message, offset, end)
        for start, stop in lists:
            for action, action_end in _sized(message, start, stop, 2, 8):
                (number,) = U16.unpack_from(message, action)
                experimenter = int.from_bytes(message[action + 4 : action + 8])
                if (number, experimenter) == _NICIRA_ACTION and action_end - action >= _SMALLEST:
                    hidden[action + _SUBTYPE_AT : action + _SUBTYPE_AT + 2] = _UNKNOWN_SUBTYPE
    return bytes(hidden)


def _sized(message: bytes, offset: int, end: int, size_at: int, smallest: int) -> Iterator[tuple[int, int]]:
    """Start and end of structures one after the other, as long as they fit."""
    while offset + smallest <= end:
        (size,) = U16.unpack_from(message, offset + size_at)
        if not smallest <= size <= end - offset:
            return
        yield offset, offset + size
        offset += size


def _flow_actions(message: bytes, offset: int, end: int) -> Iterator[tuple[int, int]]:
    _, size = TYPE_LENGTH.unpack_from(message, offset + _MATCH_AT)
    for start, stop in _sized(message, offset + _MATCH_AT + (size + 7) // 8 * 8, end, 2, 8):
        if U16.unpack_from(message, start)[0] in _WITH_ACTIONS:
            yield start + 8, stop


def _group_actions(message: bytes, offset: int, end: int) -> Iterator[tuple[int, int]]:
    for start, stop in _sized(message, offset + 8, end, 0, 16):
        yield start + 16, stop
