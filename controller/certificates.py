"""Reads certificates in PEM as far as starting with them needs: when each is valid."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from topologies.errors import InputError
from topologies.located import read_text

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18
_BEFORE_VALIDITY = 3
"""Serial number, signature algorithm and issuer (RFC 5280 section 4.1)."""


class Validity(NamedTuple):
    """From when until when a certificate is valid, in seconds since 1970."""

    from_s: float
    until_s: float


def validities(path: Path) -> list[Validity]:
    """When the certificates in a file are valid, in their order.

    Raises
    ------
    InputError
        The file cannot be read, or holds no certificate in PEM, or a damaged one.
    """
    blocks = _PEM.findall(read_text(path))
    if not blocks:
        raise InputError(f"{path} holds no certificate in PEM ('-----BEGIN CERTIFICATE-----'); is it the right file?")
    try:
        return [_validity(ssl.PEM_cert_to_DER_cert(block)) for block in blocks]
    except (ValueError, IndexError):
        raise InputError(f"{path} holds a damaged certificate; make the file anew") from None


def day(time_s: float) -> str:
    """A date as errors name it."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _validity(der: bytes) -> Validity:
    """RFC 5280 section 4.1: Certificate, TBSCertificate, and the fields up to its validity."""
    _, certificate, _ = _element(der, 0)
    _, at, _ = _element(der, certificate)
    tag, _, end = _element(der, at)
    if tag == _VERSION:
        at = end
    for _ in range(_BEFORE_VALIDITY):
        _, _, at = _element(der, at)
    _, at, _ = _element(der, at)
    from_s, at = _time(der, at)
    until_s, _ = _time(der, at)
    return Validity(from_s, until_s)


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, first byte of the content, and first byte after it, of the DER element at an offset."""
    tag, size, start = der[at], der[at + 1], at + 2
    if size & 0x80:
        digits = size & 0x7F
        size, start = int.from_bytes(der[start : start + digits], "big"), start + digits
    return tag, start, start + size


def _time(der: bytes, at: int) -> tuple[float, int]:
    tag, start, end = _element(der, at)
    text = der[start:end].decode("ascii")
    if tag == _UTC_TIME:
        # RFC 5280 section 4.1.2.5.1: two digits mean 1950 to 2049.
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp(), end
