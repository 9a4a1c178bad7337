"""The bodies of OpenFlow 1.3 multipart replies and queues, at random, with every length field noted.

Section numbers are those of OpenFlow 1.3.5.
"""

from __future__ import annotations

import struct

from controller.testing_structures import (
    EXPERIMENTER_CLASS,
    FIELDS,
    FOREIGN,
    ONF,
    PLAIN_ACTIONS,
    Writer,
    actions,
    instruction,
    match,
)

# ── entries of multipart bodies (sections 7.3.5.1 to 7.3.5.15) ───────────────────────────────────────


def port(writer: Writer) -> None:
    """A port's description (section 7.2.1)."""
    name = f"port-{writer.bits(10)}".encode()
    writer.pack("I4x6s2x16sII", writer.bits(16), writer.random.randbytes(6), name, writer.bits(7), writer.bits(3))
    writer.pack("IIIIII", *[writer.bits(16) for _ in range(4)], writer.bits(32), writer.bits(32))


def description(writer: Writer) -> None:
    """Manufacturer, hardware, software, serial number, and what people call it (section 7.3.5.1)."""
    writer.pack("256s256s256s32s256s", *[f"{writer.bits(40):x}".encode() for _ in range(5)])


def flow(writer: Writer) -> None:
    """A rule with its counters (section 7.3.5.2)."""
    with writer.measured("flow", 56, at=0):
        writer.pack("HBxIIHHHH4x", 0, writer.bits(7), writer.bits(32), writer.bits(29), *[writer.bits(16)] * 3, 0)
        writer.pack("QQQ", writer.bits(64), writer.bits(40), writer.bits(48))
        match(writer)
        for _ in range(writer.random.randint(0, 3)):
            instruction(writer)


def aggregate(writer: Writer) -> None:
    """Counters over many rules (section 7.3.5.3)."""
    writer.pack("QQI4x", writer.bits(40), writer.bits(48), writer.bits(16))


def table(writer: Writer) -> None:
    """A table's counters (section 7.3.5.4)."""
    writer.pack("B3xIQQ", writer.bits(7), writer.bits(16), writer.bits(40), writer.bits(40))


def port_counters(writer: Writer) -> None:
    """A port's counters (section 7.3.5.6)."""
    writer.pack("I4x12QII", writer.bits(16), *[writer.bits(48) for _ in range(12)], writer.bits(32), writer.bits(29))


def queue_counters(writer: Writer) -> None:
    """A queue's counters (section 7.3.5.8)."""
    counters = [writer.bits(48) for _ in range(3)]
    writer.pack("IIQQQII", writer.bits(16), writer.bits(8), *counters, writer.bits(32), writer.bits(29))


def group_counters(writer: Writer) -> None:
    """A group's counters, and those of its buckets (section 7.3.5.9)."""
    with writer.measured("group", 40, at=0):
        writer.pack("H2xII4xQQ", 0, writer.bits(32), writer.bits(8), writer.bits(40), writer.bits(48))
        writer.pack("II", writer.bits(32), writer.bits(29))
        for _ in range(writer.random.randint(0, 4)):
            writer.pack("QQ", writer.bits(40), writer.bits(48))


def _bucket(writer: Writer) -> None:
    with writer.measured("bucket", 16, at=0):
        writer.pack("HHII4x", 0, writer.bits(8), writer.bits(32), writer.bits(32))
        actions(writer)


def group(writer: Writer) -> None:
    """A group with its buckets (section 7.3.5.10)."""
    with writer.measured("group", 8, at=0):
        writer.pack("HBxI", 0, writer.random.randint(0, 3), writer.bits(32))
        for _ in range(writer.random.randint(0, 4)):
            _bucket(writer)


def group_features(writer: Writer) -> None:
    """What groups the switch can have (section 7.3.5.11)."""
    writer.pack("II4I4I", writer.bits(4), writer.bits(4), *[writer.bits(16) for _ in range(8)])


def meter_counters(writer: Writer) -> None:
    """A meter's counters, and those of its bands (section 7.3.5.12)."""
    with writer.measured("meter", 40, at=4):
        writer.pack("IH6xIQQ", writer.bits(16), 0, writer.bits(8), writer.bits(40), writer.bits(48))
        writer.pack("II", writer.bits(32), writer.bits(29))
        for _ in range(writer.random.randint(0, 3)):
            writer.pack("QQ", writer.bits(40), writer.bits(48))


def _band(writer: Writer) -> None:
    kind = writer.random.choice((1, 2, EXPERIMENTER_CLASS))
    with writer.measured("band", 16):
        writer.pack("HHII", kind, 0, writer.bits(24), writer.bits(16))
        writer.pack("I", {1: 0, 2: writer.bits(2) << 24}.get(kind, FOREIGN))


def meter(writer: Writer) -> None:
    """A meter with its bands (section 7.3.5.13)."""
    with writer.measured("meter", 8, at=0):
        writer.pack("HHI", 0, writer.bits(4), writer.bits(16))
        for _ in range(writer.random.randint(0, 3)):
            _band(writer)


def meter_features(writer: Writer) -> None:
    """What meters the switch can have (section 7.3.5.14)."""
    writer.pack("IIIBB2x", writer.bits(16), writer.bits(3), writer.bits(4), writer.bits(8), writer.bits(8))


def experimental(writer: Writer) -> None:
    """A body that only its experimenter understands (section 7.3.5.15)."""
    writer.pack("II", FOREIGN, writer.bits(32))
    writer.data += writer.random.randbytes(16 * writer.random.randint(0, 3))


# ── table features (section 7.3.5.5) ─────────────────────────────────────────────────────────────────

_INSTRUCTIONS, _NEXT_TABLES, _ACTIONS = (0, 1), (2, 3), (4, 5, 6, 7)
_OXMS, _EXPERIMENTERS = (8, 10, 12, 13, 14, 15), (0xFFFE, 0xFFFF)


def _property(writer: Writer, kind: int) -> None:
    random = writer.random
    with writer.measured("property", 12 if kind in _EXPERIMENTERS else 4) as start:
        writer.pack("HH", kind, 0)
        if kind in _INSTRUCTIONS + _ACTIONS:
            name, known = (
                ("instruction-id", range(1, 7)) if kind in _INSTRUCTIONS else ("action-id", (0, *PLAIN_ACTIONS))
            )
            for identifier in random.sample(tuple(known), random.randint(0, 4)):
                with writer.measured(name, 4):
                    writer.pack("HH", identifier, 0)
            if random.random() < 0.2:
                with writer.measured(name, 8):
                    writer.pack("HHI", EXPERIMENTER_CLASS, 0, FOREIGN)
        elif kind in _NEXT_TABLES:
            writer.data += bytes(random.sample(range(254), random.randint(0, 12)))
        elif kind in _OXMS:
            # These are headers alone: their length says what a field would have, and nothing follows.
            for field in random.sample(tuple(FIELDS.values()), random.randint(0, 6)):
                experimenter = field.kind == EXPERIMENTER_CLASS
                size = field.size_bytes + 4 * experimenter
                writer.pack("HBB", field.kind, field.number << 1 | field.maskable, size)
                writer.data += struct.pack("!I", ONF) if experimenter else b""
        else:
            writer.pack("II", FOREIGN, writer.bits(32))
            writer.data += random.randbytes(4 * random.randint(0, 3))
    writer.pad(start)


def table_features(writer: Writer) -> None:
    """What a table can do."""
    kinds = (*_INSTRUCTIONS, *_NEXT_TABLES, *_ACTIONS, *_OXMS, *_EXPERIMENTERS)
    with writer.measured("table", 64, at=0):
        writer.pack("HB5x32sQQII", 0, writer.bits(7), b"classify", writer.bits(64), writer.bits(64), 0, writer.bits(20))
        for kind in sorted(writer.random.sample(kinds, writer.random.randint(0, 6))):
            _property(writer, kind)


# ── queues (section 7.2.2) ───────────────────────────────────────────────────────────────────────────


def queue(writer: Writer) -> None:
    """A queue with its properties."""
    with writer.measured("queue", 16, at=8):
        writer.pack("IIH6x", writer.bits(8), writer.bits(16), 0)
        for kind in writer.random.sample((1, 2, EXPERIMENTER_CLASS), writer.random.randint(0, 3)):
            with writer.measured("queue-property", 16):
                writer.pack("HH4x", kind, 0)
                if kind == EXPERIMENTER_CLASS:
                    writer.pack("I4x", FOREIGN)
                    writer.data += writer.random.randbytes(8 * writer.random.randint(0, 2))
                else:
                    writer.pack("H6x", writer.random.randint(0, 1000))
