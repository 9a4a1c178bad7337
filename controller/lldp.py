"""Signed LLDP: probes that only this controller can have sent.

A frame carries the mandatory TLVs of IEEE 802.1AB (chassis, port, time to live), one organisationally
specific TLV with dpid, port, nonce and send time under an HMAC, and the end. Every length in it is fixed and all of it
is signed, so a probe is read without a TLV walk; padding may follow. What carries our TLV but is no such frame is a
forgery, or another controller's; the rest is other people's LLDP.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from workloads.headers import ETHERNET_BYTES
from workloads.lldp_header import MAX_TLVS, Lldp, read_lldp

LLDP_MULTICAST = bytes.fromhex("0180c200000e")
_ETH_TYPE = bytes.fromhex("88cc")
# Locally administered identifiers: no vendor's OUI is claimed.
_OUI_AND_SUBTYPE = bytes.fromhex("02484401")
_ORGANISATIONAL = 127
_BODY = struct.Struct("!QIQQ")
_MAC_BYTES = 32
_TTL_S = 5


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe says: where and when it was sent.

    Attributes
    ----------
    nonce : int
        64 random bits, accepted once.
    sent_ns : int
        Monotonic clock of the sender, nanoseconds.
    """

    dpid: int
    port: int
    nonce: int
    sent_ns: int


def _tlv(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2) + value


def _unsigned(probe: Probe) -> bytes:
    source = b"\x02" + (probe.dpid & 0xFFFFFFFFFF).to_bytes(5)
    chassis = _tlv(1, b"\x07" + f"{probe.dpid:016x}".encode())
    port = _tlv(2, b"\x07" + f"{probe.port:08x}".encode())
    body = _BODY.pack(probe.dpid, probe.port, probe.nonce, probe.sent_ns)
    header = (_ORGANISATIONAL << 9 | len(_OUI_AND_SUBTYPE) + len(body) + _MAC_BYTES).to_bytes(2)
    return (
        LLDP_MULTICAST + source + _ETH_TYPE + chassis + port + _tlv(3, _TTL_S.to_bytes(2))
        + header + _OUI_AND_SUBTYPE + body
    )  # fmt: skip


_UNSIGNED_BYTES = len(_unsigned(Probe(1, 1, 0, 0)))
_END = _tlv(0, b"")
FRAME_BYTES = _UNSIGNED_BYTES + _MAC_BYTES + len(_END)


def write_probe(probe: Probe, secret: bytes) -> bytes:
    """The frame of a probe, signed with HMAC-SHA256 (RFC 2104) over all that precedes the signature."""
    unsigned = _unsigned(probe)
    return unsigned + hmac.digest(secret, unsigned, hashlib.sha256) + _END


def read_probe(frame: bytes, secret: bytes) -> Probe | None:
    """The probe in a frame, or None where this controller did not sign it."""
    if frame[FRAME_BYTES - len(_END) : FRAME_BYTES] != _END:
        return None
    unsigned, signature = frame[:_UNSIGNED_BYTES], frame[_UNSIGNED_BYTES : _UNSIGNED_BYTES + _MAC_BYTES]
    if not hmac.compare_digest(hmac.digest(secret, unsigned, hashlib.sha256), signature):
        return None
    dpid, port, nonce, sent_ns = _BODY.unpack(unsigned[-_BODY.size :])
    return Probe(dpid, port, nonce, sent_ns)


def claims_to_be_a_probe(frame: bytes) -> bool:
    """Whether a frame carries our TLV, wherever and however whole: what is no probe then is a forgery."""
    at = ETHERNET_BYTES
    for _ in range(MAX_TLVS):
        header = int.from_bytes(frame[at : at + 2])
        if header >> 9 == _ORGANISATIONAL and frame[at + 2 : at + 2 + len(_OUI_AND_SUBTYPE)] == _OUI_AND_SUBTYPE:
            return True
        if header >> 9 == 0:
            return False
        at += 2 + (header & 0x1FF)
    return False


def sender_of(frame: bytes) -> str:
    """Who other people's LLDP says it is, for a sentence: its system name, else its chassis; empty where unreadable."""
    read = read_lldp(frame, ETHERNET_BYTES)
    if not isinstance(read, tuple):
        return ""
    neighbour: Lldp = read[0]
    return neighbour.system_name or neighbour.chassis_id
