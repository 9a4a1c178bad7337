"""Flows with Nicira's actions, at random: what a switch tells of other people's rules.

Written from the structures in Open vSwitch's ``lib/ofp-actions.c``.
"""

from __future__ import annotations

from controller.testing_structures import EXPERIMENTER_CLASS, Writer, actions, match

_NICIRA = 0x00002320
_REGISTER, _MAC, _ETHERNET_TYPE = 0x00010004, 0x00000406, 0x00000602
"""Headers of fields of 32, 48 and 16 bits: register 0, Ethernet source and type."""

# Of those without anything that varies: what is behind the subtype.
_PLAIN = {
    1: "HB3x", 2: "2xI", 4: "2xI", 5: "6x", 9: "6xQ", 14: "HB3x", 17: "6x", 18: "6x", 19: "HH2x", 20: "HHBx",
    23: "H4x", 24: "H4x", 25: "B5x", 26: "6x", 29: "HIII", 34: "BBI",
}  # fmt: skip
_BITS = {"H": 16, "B": 8, "I": 32, "Q": 64}


def _plain(writer: Writer, subtype: int) -> None:
    layout = _PLAIN[subtype]
    writer.pack(layout, *[writer.bits(_BITS[letter]) for letter in layout if letter in _BITS])


def _move(writer: Writer) -> None:
    writer.pack("HHHII", 32, 0, 0, _REGISTER, _REGISTER)


def _load(writer: Writer) -> None:
    writer.pack("HIQ", writer.bits(5), _REGISTER, writer.bits(1))


def _note(writer: Writer) -> None:
    writer.data += writer.random.randbytes(6 + 8 * writer.random.randint(0, 3))


def _multipath(writer: Writer) -> None:
    writer.pack("HH2xHHI2xHI", 0, writer.bits(16), 0, writer.bits(4), 0, 15, _REGISTER)


def _bundle(writer: Writer, destination: int) -> None:
    ports = writer.random.randint(0, 5)
    writer.pack("HHHIHHI4x", 1, 0, writer.bits(16), 0x00000002, ports, 15 if destination else 0, destination)
    writer.pack(f"{ports}H", *[writer.bits(10) for _ in range(ports)])


def _output_register(writer: Writer) -> None:
    writer.pack("HIH6x", 31, _REGISTER, writer.bits(16))


def _learn(writer: Writer) -> None:
    writer.pack("HHHQHBxHH", *[writer.bits(16)] * 3, writer.bits(64), writer.bits(2), writer.bits(7), 0, 0)
    for _ in range(writer.random.randint(0, 4)):
        field, bits = writer.random.choice(((_REGISTER, 32), (_MAC, 48), (_ETHERNET_TYPE, 16)))
        immediate, destination = writer.random.randint(0, 1), writer.random.randint(0, 2)
        # An output takes its port from a field.
        immediate = 0 if destination == 2 else immediate
        writer.pack("H", immediate << 13 | destination << 11 | bits)
        if immediate:
            writer.data += writer.random.randbytes(bits // 8)
        else:
            writer.pack("IH", field, 0)
        if destination < 2:
            writer.pack("IH", field, 0)


def _counters(writer: Writer) -> None:
    count = writer.random.randint(1, 5)
    writer.pack(f"H4x{count}H", count, *[writer.bits(8) for _ in range(count)])


def _stack(writer: Writer) -> None:
    writer.pack("HIH6x", 0, _REGISTER, 32)


def _output_register_2(writer: Writer) -> None:
    writer.pack("HHI6x", 31, writer.bits(16), _REGISTER)


def _track(writer: Writer) -> None:
    """Connection tracking, with actions that it carries out."""
    writer.pack("HIHB3xH", writer.bits(2), 0, writer.bits(8), writer.bits(7), 0)
    if writer.random.random() < 0.5:
        actions(writer)
    if writer.random.random() < 0.5:
        _action(writer, 36)


def _translate(writer: Writer) -> None:
    ranges = writer.bits(6)
    writer.pack("2xHH", 1, ranges)
    for bit, size in enumerate((4, 4, 16, 16, 2, 2)):
        if ranges >> bit & 1:
            writer.data += writer.random.randbytes(size)


def _controller(writer: Writer) -> None:
    """To a controller, with properties: maximum length, controller, reason, user data, pause."""
    writer.pack("6x")
    for kind in writer.random.sample(range(5), writer.random.randint(0, 3)):
        with writer.measured("nicira-property", 5 if kind == 3 else 4) as start:
            writer.pack("HH", kind, 0)
            if kind == 3:
                writer.data += writer.random.randbytes(writer.random.randint(1, 20))
            elif kind == 2:
                writer.pack("B", writer.random.randint(0, 2))
            elif kind < 2:
                writer.pack("H", writer.bits(16))
        writer.pad(start)


def _sample(writer: Writer) -> None:
    writer.pack("HIIIHB5x", writer.bits(16), 1, writer.bits(32), writer.bits(32), writer.bits(10), writer.bits(1))


_VARYING = {
    6: (24, _move),
    7: (24, _load),
    8: (16, _note),
    10: (32, _multipath),
    12: (32, lambda writer: _bundle(writer, 0)),
    13: (32, lambda writer: _bundle(writer, _REGISTER)),
    15: (24, _output_register),
    16: (32, _learn),
    21: (16, _counters),
    27: (24, _stack),
    28: (24, _stack),
    32: (24, _output_register_2),
    35: (24, _track),
    36: (16, _translate),
    37: (16, _controller),
    38: (32, _sample),
}


def _action(writer: Writer, subtype: int) -> None:
    least, body = _VARYING.get(subtype, (24 if subtype in (9, 29) else 16, None))
    with writer.measured("action", least) as start:
        writer.pack("HHIH", EXPERIMENTER_CLASS, 0, _NICIRA, subtype)
        if body is None:
            _plain(writer, subtype)
        else:
            body(writer)
        writer.pad(start)


def foreign_flow(writer: Writer) -> None:
    """A rule (section 7.3.5.2 of OpenFlow 1.3.5) whose actions are Nicira's."""
    subtypes = (*_PLAIN, *_VARYING)
    with writer.measured("flow", 56, at=0):
        writer.pack("HBxIIHHHH4xQQQ", 0, writer.bits(7), *[0] * 6, writer.bits(64), 0, 0)
        match(writer)
        with writer.measured("instruction", 8):
            writer.pack("HH4x", 4, 0)
            for subtype in writer.random.choices(subtypes, k=writer.random.randint(1, 4)):
                _action(writer, subtype)
