"""Signed LLDP: probes that only this controller can have sent.

A frame carries the mandatory TLVs of IEEE 802.1AB (chassis, port, time to live) and one organisationally
specific TLV with dpid, port, nonce and send time under an HMAC. The frame has one fixed length, so a reader
needs no TLV walk: what has another length or layout is foreign.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

LLDP_MULTICAST = bytes.fromhex("0180c200000e")
_ETH_TYPE = bytes.fromhex("88cc")
# Locally administered identifiers: no vendor's OUI is claimed.
_OUI_AND_SUBTYPE = bytes.fromhex("02484401")
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
    header = (127 << 9 | len(_OUI_AND_SUBTYPE) + len(body) + _MAC_BYTES).to_bytes(2)
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
    if len(frame) < FRAME_BYTES:
        return None
    unsigned, signature = frame[:_UNSIGNED_BYTES], frame[_UNSIGNED_BYTES : _UNSIGNED_BYTES + _MAC_BYTES]
    if not hmac.compare_digest(hmac.digest(secret, unsigned, hashlib.sha256), signature):
        return None
    dpid, port, nonce, sent_ns = _BODY.unpack(unsigned[-_BODY.size :])
    return Probe(dpid, port, nonce, sent_ns)
