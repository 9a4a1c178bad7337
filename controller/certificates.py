"""Reads certificates in PEM as far as serving with them needs: whose each is, when it is valid, and what for."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from topologies.errors import InputError
from topologies.located import read_text

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _EXTENSIONS, _OCTETS, _UTC_TIME, _GENERALIZED_TIME, _BMP_STRING = 0xA0, 0xA3, 0x04, 0x17, 0x18, 0x1E
_BEFORE_VALIDITY = 3
"""Serial number, signature algorithm and issuer (RFC 5280 section 4.1)."""
_COMMON_NAME, _EXTENDED_KEY_USAGE = b"\x55\x04\x03", b"\x55\x1d\x25"
"""2.5.4.3 and 2.5.29.37 (RFC 5280 appendix A.1 and section 4.2.1.12)."""
SERVER_AUTH = bytes.fromhex("2b06010505070301")
"""Object identifier 1.3.6.1.5.5.7.3.1, in DER."""


class Certificate(NamedTuple):
    """What a certificate says of itself.

    Attributes
    ----------
    from_s, until_s : float
        When it is valid, in seconds since 1970.
    common_name : str
        The last one of its subject; empty without one.
    purposes : frozenset of bytes, or None
        Object identifiers of its extended key usages, in DER; None where it does not restrict them.
    """

    from_s: float
    until_s: float
    common_name: str
    purposes: frozenset[bytes] | None


def read_certificates(path: Path) -> list[Certificate]:
    """The certificates in a file, in their order.

    Raises
    ------
    InputError
        The file cannot be read, or holds no certificate in PEM, or a damaged one.
    """
    blocks = _PEM.findall(read_text(path))
    if not blocks:
        raise InputError(f"{path} holds no certificate in PEM ('-----BEGIN CERTIFICATE-----'); is it the right file?")
    try:
        return [_certificate(ssl.PEM_cert_to_DER_cert(block)) for block in blocks]
    except (ValueError, IndexError):
        raise InputError(f"{path} holds a damaged certificate; make the file anew") from None


def day(time_s: float) -> str:
    """A date as errors name it."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _certificate(der: bytes) -> Certificate:
    """RFC 5280 section 4.1: Certificate, TBSCertificate, and its fields."""
    _, certificate, _ = _element(der, 0)
    _, at, body_end = _element(der, certificate)
    tag, _, end = _element(der, at)
    if tag == _VERSION:
        at = end
    for _ in range(_BEFORE_VALIDITY):
        _, _, at = _element(der, at)
    _, time_at, at = _element(der, at)
    from_s, time_at = _time(der, time_at)
    until_s, _ = _time(der, time_at)
    _, subject, subject_end = _element(der, at)
    # After the subject come its public key, and unique identifiers that nobody uses.
    purposes = None
    for tag, start, end in _elements(der, subject_end, body_end):
        if tag == _EXTENSIONS:
            purposes = _purposes(der, start, end)
    return Certificate(from_s, until_s, _common_name(der, subject, subject_end), purposes)


def _common_name(der: bytes, at: int, end: int) -> str:
    """RFC 5280 section 4.1.2.4: a sequence of sets of pairs of type and value."""
    name = ""
    for _, set_start, set_end in _elements(der, at, end):
        for _, start, pair_end in _elements(der, set_start, set_end):
            (_, type_start, type_end), (tag, value_start, value_end) = _elements(der, start, pair_end)
            if der[type_start:type_end] == _COMMON_NAME:
                encoding = "utf-16-be" if tag == _BMP_STRING else "utf-8"
                name = der[value_start:value_end].decode(encoding, "replace")
    return name


def _purposes(der: bytes, at: int, end: int) -> frozenset[bytes] | None:
    """RFC 5280 sections 4.2 and 4.2.1.12: the extended key usages among extensions; None where there are none."""
    _, list_start, list_end = _element(der, at)
    if list_end > end:
        raise ValueError("longer than what it is in")
    for _, start, extension_end in _elements(der, list_start, list_end):
        # Identifier, whether it is critical (only where it is), content.
        (_, name_start, name_end), *_, (tag, inside, _) = _elements(der, start, extension_end)
        if der[name_start:name_end] == _EXTENDED_KEY_USAGE and tag == _OCTETS:
            _, usages, usages_end = _element(der, inside)
            return frozenset(der[start:end] for _, start, end in _elements(der, usages, usages_end))
    return None


def _elements(der: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The DER elements between two offsets, as `_element` has them."""
    while at < end:
        tag, start, at = _element(der, at)
        yield tag, start, at


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, first byte of the content, and first byte after it, of the DER element at an offset."""
    tag, size, start = der[at], der[at + 1], at + 2
    if size & 0x80:
        digits = size & 0x7F
        size, start = int.from_bytes(der[start : start + digits], "big"), start + digits
    if start + size > len(der):
        raise ValueError("cut off")
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
