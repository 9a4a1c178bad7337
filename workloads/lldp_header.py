"""Reads what LLDP neighbours say of themselves: network cards, other people's switches, and forgers."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.unreadable import Reason, Unreadable

MAX_TLVS = 64
MAX_ID_BYTES = 255
"""Longest chassis or port identifier, and longest system name (IEEE 802.1AB-2016, 8.5)."""

# A table, since three fields of 255 bytes take 140 µs one byte at a time.
_SAFE = tuple(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in range(256))


@dataclass(frozen=True, slots=True)
class Lldp:
    """What an LLDP neighbour says of itself (IEEE 802.1AB-2016, 8.5).

    Attributes
    ----------
    chassis_id, port_id, system_name : str
        Printable ASCII as it is; any other byte, and the backslash, as ``\\xNN``, so that it is safe in a log. An
        identifier of the MAC address subtype is written as one. The name is empty where none is given.
    ttl_s : int
    """

    chassis_id: str
    port_id: str
    ttl_s: int
    system_name: str


def read_lldp(frame: bytes, at: int) -> tuple[Lldp, int] | Unreadable:
    """The neighbour that a frame tells of from an offset on, and where its TLVs end.

    They end with the end TLV, with the frame, or after `MAX_TLVS`. The mandatory three come first, in their order and
    once (IEEE 802.1AB-2016, 8.2).
    """
    mandatory: list[bytes] = []
    system_name = b""
    for place in range(MAX_TLVS):
        if at == len(frame):
            break
        if len(frame) < at + 2:
            return Unreadable(Reason.SHORT)
        header = int.from_bytes(frame[at : at + 2])
        kind, value = header >> 9, frame[at + 2 : at + 2 + (header & 0x1FF)]
        if len(value) < header & 0x1FF:
            return Unreadable(Reason.SHORT)
        at += 2 + len(value)
        if kind == 0:
            break
        if place < 3 and kind == place + 1:
            mandatory.append(value)
        elif place < 3 or kind in (1, 2, 3):
            return Unreadable(Reason.BAD_LLDP)
        elif kind == 5:
            system_name = value
    if len(mandatory) < 3:
        return Unreadable(Reason.BAD_LLDP)
    chassis, port, ttl = mandatory
    if not (2 <= len(chassis) <= 1 + MAX_ID_BYTES and 2 <= len(port) <= 1 + MAX_ID_BYTES and len(ttl) >= 2):
        return Unreadable(Reason.BAD_LENGTH)
    if len(system_name) > MAX_ID_BYTES:
        return Unreadable(Reason.BAD_LENGTH)
    # The subtype of a MAC address is 4 in a chassis identifier and 3 in a port identifier.
    neighbour = Lldp(_id_text(chassis, 4), _id_text(port, 3), int.from_bytes(ttl[:2]), _safe_text(system_name))
    return neighbour, at


def _id_text(value: bytes, mac_subtype: int) -> str:
    if value[0] == mac_subtype and len(value) == 7:
        return value[1:].hex(":")
    return _safe_text(value[1:])


def _safe_text(raw: bytes) -> str:
    return "".join(map(_SAFE.__getitem__, raw))
