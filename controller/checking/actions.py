"""Lists of actions, those nested in others included (section 7.2.5)."""

from __future__ import annotations

from controller.checking.faults import TYPE_LENGTH, U32, malformed
from controller.checking.nicira import NICIRA, check_nicira_action
from controller.checking.oxm import check_field

_SET_FIELD = 25
_EXPERIMENTER = 0xFFFF
_EXPERIMENTER_HEADER_BYTES = 8

# Copy TTL outwards and inwards, set and decrement the MPLS TTL, push and pop VLAN and MPLS, queue, group,
# set and decrement the IP TTL, push and pop PBB; output.
SIZES = dict.fromkeys((11, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 27), 8) | {0: 16}


def check_actions(message: bytes, offset: int, end: int, *, nested: bool = False) -> None:
    """Walk actions that fill a range of the message.

    Parameters
    ----------
    nested : bool
        Within another action, where none may hold actions again.

    Raises
    ------
    Violation
        An action is unknown, of a wrong size, or reaches beyond the end.
    """
    size_of, read = SIZES.get, TYPE_LENGTH.unpack_from
    while offset < end:
        if end - offset < TYPE_LENGTH.size:
            raise malformed(message, f"action cut off after {end - offset} of 4 bytes", offset)
        kind, size = read(message, offset)
        if size > end - offset or size == 0:
            raise malformed(message, f"action of {size} bytes", offset)
        if size_of(kind) != size:
            _check_rare_action(message, offset, kind, size, nested=nested)
        offset += size


def _check_rare_action(message: bytes, offset: int, kind: int, size: int, *, nested: bool) -> None:
    """Check an action, known to fit, that has no fixed size, or not the right one."""
    if kind in SIZES or (kind in (_SET_FIELD, _EXPERIMENTER) and (size < _EXPERIMENTER_HEADER_BYTES or size % 8)):
        raise malformed(message, f"action of type {kind} and {size} bytes", offset)
    if kind == _SET_FIELD:
        field_end = check_field(message, offset + 4, offset + size, maskable=False)
        if (field_end - offset + 7) // 8 * 8 != size:
            raise malformed(message, f"action that sets a field, of {size} bytes", offset)
    elif kind == _EXPERIMENTER:
        (experimenter,) = U32.unpack_from(message, offset + 4)
        if experimenter == NICIRA:
            actions = check_nicira_action(message, offset, size)
            if actions is not None:
                if nested:
                    raise malformed(message, "actions nested in nested actions", offset)
                check_actions(message, actions, offset + size, nested=True)
    else:
        raise malformed(message, f"unknown action of type {kind}", offset)
