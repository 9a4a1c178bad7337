"""Random Ethernet frames over every header that the readers know, whole and damaged, for tests and campaigns."""

from __future__ import annotations

from random import Random

_MULTICAST_LLDP = bytes.fromhex("0180c200000e")
_MOST_TAGS = 6
_MOST_LABELS = 10
_MOST_EXTENSIONS = 10
_TCP, _UDP, _SCTP, _NO_NEXT_HEADER = 6, 17, 132, 59
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60


def whole_frame(random: Random) -> bytes:
    """A frame whose lengths and types are right; it may have more tags, labels or headers than a reader takes."""
    eth_type, payload = random.choice((_arp, _lldp, _ipv4_frame, _ipv6_frame, _mpls, _other, _llc))(random)
    for _ in range(_few(random, _MOST_TAGS)):
        payload = random.randbytes(2) + eth_type.to_bytes(2) + payload
        eth_type = random.choice((0x8100, 0x88A8))
    destination = _MULTICAST_LLDP if random.random() < 0.2 else random.randbytes(6)
    frame = destination + random.randbytes(6) + eth_type.to_bytes(2) + payload
    return frame.ljust(60, b"\0") if random.random() < 0.5 else frame


def random_frame(random: Random) -> bytes:
    """A frame of whatever kind: whole, cut, with bytes overwritten, with bytes put in, or nothing but noise.

    Parameters
    ----------
    random : Random
        The same state gives the same frame.
    """
    kind = random.randrange(6)
    if kind == 0:
        return random.randbytes(random.randrange(200))
    frame = bytearray(whole_frame(random))
    if kind == 1:
        del frame[random.randrange(len(frame)) :]
    elif kind == 2:
        for _ in range(random.randint(1, 4)):
            frame[random.randrange(len(frame))] = random.choice((0, 1, 0x45, 0x7F, 0xFF, random.randrange(256)))
    elif kind == 3:
        at = random.randrange(len(frame))
        frame[at:at] = random.randbytes(random.randint(1, 8))
    return bytes(frame)


def _few(random: Random, most: int) -> int:
    """Mostly none, seldom many."""
    return 0 if random.random() < 0.6 else random.randint(1, most)


def _arp(random: Random) -> tuple[int, bytes]:
    kind = bytes.fromhex("000108000604") if random.random() < 0.9 else random.randbytes(6)
    return 0x0806, kind + random.choice((1, 2, random.randrange(65536))).to_bytes(2) + random.randbytes(20)


def _tlv(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2) + value


def _lldp(random: Random) -> tuple[int, bytes]:
    tlvs = [
        _tlv(1, b"\x04" + random.randbytes(6)),
        _tlv(2, bytes([random.choice((1, 2, 5, 7))]) + random.randbytes(random.randint(1, 255))),
        _tlv(3, random.randbytes(2)),
    ]
    optional = [_tlv(kind, random.randbytes(random.randrange(40))) for kind in (4, 5, 6, 127)]
    tlvs += random.sample(optional, random.randrange(len(optional) + 1))
    if random.random() < 0.1:
        random.shuffle(tlvs)
    if random.random() < 0.8:
        tlvs.append(_tlv(0, b""))
    return 0x88CC, b"".join(tlvs)


def _ipv4_frame(random: Random) -> tuple[int, bytes]:
    return 0x0800, _ipv4(random)


def _ipv6_frame(random: Random) -> tuple[int, bytes]:
    return 0x86DD, _ipv6(random)


def _mpls(random: Random) -> tuple[int, bytes]:
    depth = random.randint(1, 3) if random.random() < 0.8 else random.randint(1, _MOST_LABELS)
    stack = b"".join(
        (random.randrange(1 << 20) << 12 | random.randrange(8) << 9 | (level == depth - 1) << 8 | 64).to_bytes(4)
        for level in range(depth)
    )
    inside = random.choice((_ipv4, _ipv4, _ipv6, lambda random: b"\0" + random.randbytes(20)))(random)
    return random.choice((0x8847, 0x8848)), stack + inside


def _other(random: Random) -> tuple[int, bytes]:
    return random.choice((0x8808, 0x8809, 0x9000, 0x8915, 0x88F7)), random.randbytes(random.randrange(80))


def _llc(random: Random) -> tuple[int, bytes]:
    payload = b"\x42\x42\x03" + random.randbytes(random.randrange(60))
    return len(payload), payload


def _ipv4(random: Random) -> bytes:
    protocol, payload = _transport(random)
    options = random.randbytes(4 * _few(random, 10))
    fragment = 0 if random.random() < 0.8 else random.randrange(65536)
    header = bytes([0x45 + len(options) // 4, 0]) + (20 + len(options) + len(payload)).to_bytes(2)
    header += random.randbytes(2) + fragment.to_bytes(2) + bytes([64, protocol]) + random.randbytes(2)
    return header + random.randbytes(8) + options + payload


def _ipv6(random: Random) -> bytes:
    follows, payload = _transport(random)
    for _ in range(_few(random, _MOST_EXTENSIONS)):
        kind = random.choice((_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION))
        payload = _extension(random, kind, follows) + payload
        follows = kind
    return b"\x60\0\0\0" + len(payload).to_bytes(2) + bytes([follows, 64]) + random.randbytes(32) + payload


def _extension(random: Random, kind: int, follows: int) -> bytes:
    """One IPv6 extension header (RFC 8200, section 4; RFC 4302, section 2), filled with padding."""
    if kind == _FRAGMENT:
        offset = 0 if random.random() < 0.7 else random.randrange(1 << 13)
        return bytes([follows, 0]) + (offset << 3 | random.randrange(2)).to_bytes(2) + random.randbytes(4)
    units = random.randrange(3)
    if kind == _AUTHENTICATION:
        return bytes([follows, 4 + 2 * units]) + bytes(2) + random.randbytes(20 + 8 * units)
    if kind == _ROUTING:
        # Two 8-byte units for each address, so that the header is one of type 0.
        return bytes([follows, 2 * units, 0, units]) + bytes(4) + random.randbytes(16 * units)
    return bytes([follows, units, 1, 4 + 8 * units]) + bytes(4 + 8 * units)


def _transport(random: Random) -> tuple[int, bytes]:
    """A protocol number and its bytes; none of the payloads can be taken for a protocol of its own."""
    ports, payload = random.randbytes(4), random.randbytes(random.randrange(30))
    kind = random.randrange(5)
    if kind == 0:
        options = bytes([1]) * (4 * _few(random, 10))
        words = 5 + len(options) // 4
        return _TCP, ports + random.randbytes(8) + bytes([words << 4, 0x10]) + random.randbytes(6) + options + payload
    if kind == 1:
        return _UDP, ports + (8 + len(payload)).to_bytes(2) + random.randbytes(2) + payload
    if kind == 2:
        return _SCTP, ports + random.randbytes(8) + bytes(4) + payload
    if kind == 3:
        return _NO_NEXT_HEADER, payload
    return random.choice((1, 2, 47, 50, 58, 89, 253)), payload
