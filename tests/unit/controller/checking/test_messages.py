"""Messages that are sound are let through, those that are not are named with the byte at fault."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from openflow_bytes import (
    FLOW,
    FLOW_REMOVED,
    GROUP_DESCRIPTION,
    METER_CONFIGURATION,
    PACKET_IN,
    PARSERS,
    TABLE_FEATURES,
    apply_actions,
    basic,
    bucket,
    field,
    flow,
    flow_with,
    group,
    match,
    message,
    meter,
    multipart,
    nicira,
    output,
    packet_in,
    padded,
    parse_by_all,
    parsed,
    queue_rate,
    queues,
    shortened,
    table,
    table_property,
)

from controller.checking import check_message
from controller.checking.oxm import PAYLOADS
from controller.framing import MessageType, Violation

# From conversations with Open vSwitch 3.1.0 (dummy datapath): every multipart kind, an ONF bundle, errors, packets with
# registers and tunnels in their match, and flows with most of Nicira's match fields and actions.
OPEN_VSWITCH = [bytes.fromhex(line) for line in Path(__file__).with_name("open_vswitch.hex").read_text().split()]

IN_PORT = basic(0, 3, 4)
REG0, REG1 = 0x00010004, 0x00010204
ONF, NSH = 0x4F4E4600, 0x005AD650
DSCP_REMARK = struct.pack("!HHIIB3x", 2, 16, 10, 10, 1)
SET_FIELD = struct.pack("!HH", 25, 16) + basic(5, 0x0800, 2) + bytes(6)


def described(data: bytes) -> str:
    return f"{MessageType(data[1]).name}-{data[8:10].hex()}-{len(data)}"


def refusal(data: bytes) -> str:
    with pytest.raises(Violation) as violation:
        check_message(data)
    assert violation.value.kind == "malformed"
    return str(violation.value)


def names(*ids: int) -> bytes:
    return b"".join(struct.pack("!HH", id_, 4) for id_ in ids)


@pytest.mark.parametrize("data", OPEN_VSWITCH, ids=described)
def test_what_open_vswitch_sends_is_let_through_and_its_entries_are_counted(data: bytes):
    entries = check_message(data)

    for framework in PARSERS:
        body = getattr(parsed(data, framework), "body", None)
        assert entries == (0 if body is None else len(body) if type(body) is list else 1)


@pytest.mark.parametrize("framework", PARSERS)
def test_every_field_that_a_framework_knows_has_the_size_that_it_asks_for(framework: str):
    for known in PARSERS[framework].ofproto.oxm_types:
        size = known.type.size
        if isinstance(known.num, int):
            assert PAYLOADS[known.num << 1] == size, known.name
            good = [field(known.num >> 7, known.num & 0x7F, bytes(size << mask), mask) for mask in (0, 1)]
            bad = field(known.num >> 7, known.num & 0x7F, bytes(size + 1))
        else:
            experimenter, number = known.num
            typed = number == 2560
            head = struct.pack("!IH", experimenter, number) if typed else struct.pack("!I", experimenter)
            good = [field(0xFFFF, 0 if typed else number & 0x7F, head + bytes(size << mask), mask) for mask in (0, 1)]
            bad = field(0xFFFF, 0 if typed else number & 0x7F, head + bytes(size + 1))
        for one in good:
            sound = multipart(FLOW, flow(match_=match(one)))
            assert check_message(sound) == 1
            assert known.name in parsed(sound, framework).body[0].match
        assert "match field" in refusal(multipart(FLOW, flow(match_=match(bad))))


SOUND = {
    "an error": message(1, struct.pack("!HH", 3, 1) + b"\xff" * 64),
    "an experimenter's error": message(1, struct.pack("!HHI", 0xFFFF, 3, ONF)),
    "an echo with data": message(2, b"\xff" * 40),
    "an experimenter's message": message(4, struct.pack("!II", 5, 6) + b"x"),
    "a bundle": message(4, struct.pack("!IIIHH", ONF, 2300, 1, 5, 0)),
    "a description that is no text": multipart(0, b"\xff" * 1056),
    "a port whose name is no text": message(12, b"\xff" * 72),
    "no flows": multipart(FLOW),
    "flows": multipart(FLOW, flow() + flow(apply_actions(output(1)))),
    "an unknown plain field": multipart(FLOW, flow(match_=match(IN_PORT, field(0x8000, 99, b"abcde")))),
    "instructions": multipart(
        FLOW,
        flow(
            struct.pack("!HHI", 6, 8, 1)
            + apply_actions()
            + struct.pack("!HH4x", 5, 8)
            + struct.pack("!HH4xQQ", 2, 24, 1, 2)
            + struct.pack("!HHB3x", 1, 8, 3)
        ),
    ),
    "an action that sets a field": flow_with(SET_FIELD, output(3)),
    "an experimenter's action": flow_with(struct.pack("!HHI", 0xFFFF, 16, 0x1234) + b"anything"),
    "Nicira's unknown action": flow_with(nicira(999)),
    "Nicira's unaligned note": flow_with(nicira(8, b"abc"), output(1)),
    "connection tracking with translation": flow_with(
        nicira(35, struct.pack("!HIHB3xH", 1, REG0, 15, 255, 0) + nicira(36, struct.pack("!2xHH", 1, 3) + bytes(8)))
    ),
    "a learnt rule": flow_with(nicira(16, bytes(22) + struct.pack("!HIHIH", 16, REG0, 0, REG1, 0))),
    "a move of an experimenter's field": flow_with(
        nicira(6, struct.pack("!HHHIIII", 8, 0, 0, 0xFFFF0205, NSH, 0xFFFF0A05, NSH))
    ),
    "groups": multipart(GROUP_DESCRIPTION, group() + group(bucket(), bucket(output(1), SET_FIELD))),
    "meters": multipart(METER_CONFIGURATION, meter() + meter(DSCP_REMARK, DSCP_REMARK)),
    "table features": multipart(
        TABLE_FEATURES,
        table(
            table_property(0, names(1, 3, 4) + struct.pack("!HHI", 0xFFFF, 8, 5)),
            table_property(2, bytes(range(255))),
            table_property(4, names(0, 25)),
            table_property(8, struct.pack("!III", 0x80000004, 0xFFFF5406, ONF)),
            table_property(0xFFFE, struct.pack("!IIII", 1, 2, 3, 4)),
            table_property(77, b"anything"),
        )
        + table(),
    ),
    "queues": queues(queue_rate(1), queue_rate(2), struct.pack("!HH4xI4xB", 0xFFFF, 17, 5, 1)),
    "an experimenter's multipart": multipart(0xFFFF, struct.pack("!II", 5, 6) + bytes(20)),
}


@pytest.mark.parametrize("data", SOUND.values(), ids=SOUND.keys())
def test_a_sound_message_is_let_through_and_parsed(data: bytes):
    check_message(data)

    parse_by_all(data)


UNSOUND = {
    "header": [
        (b"\x04\x02", "header cut off after 2 of 8 bytes at byte 0"),
        (message(2, b"abc")[:-1], "header of version 4 and 11 bytes for 10 bytes"),
        (message(2, version=5), "header of version 5"),
        (message(14, bytes(100)), "no message that a switch sends"),
        (message(200), "message of type 200: no message"),
    ],
    "fixed": [
        (message(6, bytes(25)), "FEATURES_REPLY: 33 bytes, not 32"),
        (message(21, b"x"), "BARRIER_REPLY: 9 bytes"),
        (message(1, bytes(3)), "error cut off after 11"),
        (message(1, struct.pack("!HHB", 0xFFFF, 0, 0)), "experimenter's error cut off after 13"),
        (message(4, bytes(7)), "experimenter's message cut off after 15"),
        (message(4, struct.pack("!II", ONF, 2300)), "bundle of 16 bytes"),
        (message(4, struct.pack("!IIIHHHHI", ONF, 2300, 1, 5, 0, 0xFFFF, 8, 0)), "bundle of 32 bytes"),
        (message(4, struct.pack("!IIHH", 0x2320, 30, 99, 8)), "unknown message 30 of experimenter 0x00002320"),
    ],
    "match": [
        (multipart(FLOW, flow(match_=struct.pack("!HHI", 0, 8, 0))), "unknown match of type 0 at byte 64"),
        (multipart(FLOW, flow(match_=struct.pack("!HHI", 1, 3, 0))), "match of 3 bytes at byte 64"),
        (multipart(FLOW, flow(match_=struct.pack("!HHI", 1, 9, 0))), "match of 9 bytes at byte 64"),
        (multipart(FLOW, flow(match_=match(IN_PORT, IN_PORT))), "second match field of the same kind at byte 76"),
        (multipart(FLOW, flow(match_=match(basic(0, 3, 5)))), "match field 0x8000/0 of 5 bytes at byte 68"),
        (multipart(FLOW, flow(match_=match(field(0x8000, 99, b"")))), "0x8000/99 of 0 bytes"),
        (multipart(FLOW, flow(match_=match(field(0x8000, 99, b"abc", mask=1)))), "0x8000/99 of 3 bytes"),
        (multipart(FLOW, flow(match_=match(field(0x8000, 99, b"abc", size=4)))), "match field of 4 bytes"),
        (multipart(FLOW, flow(match_=match(IN_PORT, b"\x80\x00"))), "match field cut off after 2 of 4 bytes"),
        (multipart(FLOW, flow(match_=match(field(0xFFFF, 1, b"abc")))), "experimenter match field of 3 bytes"),
        (multipart(FLOW, flow(match_=match(field(0xFFFF, 0, ONF.to_bytes(4))))), "experimenter match field of 4 bytes"),
        (
            multipart(FLOW, flow(match_=match(field(0xFFFF, 1, bytes(8))))),
            "unknown match field 1 of experimenter 0x0000",
        ),
        (message(FLOW_REMOVED, bytes(40) + match(IN_PORT) + bytes(8)), "8 bytes behind the match"),
        (message(FLOW_REMOVED, bytes(40) + match(IN_PORT)[:-1]), "match without its padding"),
    ],
    "instructions": [
        (multipart(FLOW, flow(struct.pack("!HH4x", 4, 0))), "instruction of 0 bytes at byte 72"),
        (multipart(FLOW, flow(struct.pack("!HH4x", 4, 7))), "instruction of 7 bytes"),
        (multipart(FLOW, flow(struct.pack("!HH4x", 4, 16))), "instruction of 16 bytes"),
        (multipart(FLOW, flow(struct.pack("!HH4x", 1, 16) + bytes(8))), "instruction of 16 bytes"),
        (multipart(FLOW, flow(struct.pack("!HH", 6, 8))), "instruction of 8 bytes"),
        (multipart(FLOW, flow(struct.pack("!HHI", 0xFFFF, 8, 5))), "unknown instruction of type 65535"),
        (multipart(FLOW, flow(struct.pack("!HH4x", 7, 8))), "unknown instruction of type 7"),
        (multipart(FLOW, flow(b"\0\0")), "instruction cut off after 2 of 4 bytes"),
    ],
    "actions": [
        (flow_with(struct.pack("!HH4x", 18, 0)), "action of 0 bytes at byte 80"),
        (flow_with(struct.pack("!HH4x", 18, 16) + bytes(8)), "action of type 18 and 16 bytes"),
        (flow_with(struct.pack("!HH4x", 0, 8)), "action of type 0 and 8 bytes"),
        (flow_with(struct.pack("!HH4x", 18, 16)), "action of 16 bytes"),
        (flow_with(struct.pack("!HH4x", 99, 8)), "unknown action of type 99"),
        (flow_with(struct.pack("!HHI", 0xFFFF, 12, 1) + bytes(8)), "action of type 65535 and 12 bytes"),
        (flow_with(struct.pack("!HH4x", 25, 8)), "match field 0x0000/0 of 0 bytes"),
        (flow_with(struct.pack("!HH", 25, 24) + SET_FIELD[4:] + bytes(8)), "action that sets a field, of 24 bytes"),
        (flow_with(padded(struct.pack("!HH", 25, 16) + field(0x8000, 2, bytes(16), 1, 16))), "match field of 16 bytes"),
        (flow_with(struct.pack("!HH", 25, 16) + field(0x8000, 6, bytes(4), 1) + bytes(4)), "mask where none may be"),
    ],
    "Nicira's actions": [
        (flow_with(struct.pack("!HHI", 0xFFFF, 8, 0x2320)), "Nicira action of 8 bytes"),
        (flow_with(nicira(7)), "Nicira action 7 of 16 bytes"),
        (
            flow_with(nicira(12, struct.pack("!HHHIHHI4x", 0, 0, 0, 0, 1, 0, 0))),
            "action 12 of 32 bytes for content of 34",
        ),
        (flow_with(nicira(21, struct.pack("!H4x", 5))), "action 21 of 16 bytes for content of 26"),
        (flow_with(nicira(36, struct.pack("!2xHH", 0, 1))), "action 36 of 16 bytes for content of 20"),
        (flow_with(nicira(27, struct.pack("!HIHI", 0, 0xFFFF0205, 0, 0))), "unknown name of a field 0xffff0205"),
        (flow_with(nicira(37, bytes(6) + struct.pack("!HHI", 3, 0, 0))), "property of 0 bytes"),
        (flow_with(nicira(37, bytes(6) + struct.pack("!HHI", 5, 8, 0))), "unknown property 5"),
        (flow_with(nicira(16, bytes(22) + b"\x38\x01" + bytes(14))), "unknown spec 0x3801"),
        (flow_with(nicira(16, bytes(22) + b"\x20\x10" + bytes(4))), "spec of a Nicira learn action cut off"),
        (flow_with(nicira(16, bytes(22) + bytes(16))), "bytes behind the specs"),
        (flow_with(nicira(35, bytes(14) + nicira(35, bytes(14)))), "actions nested in nested actions"),
        (flow_with(nicira(35, bytes(14) + struct.pack("!HH4x", 18, 0))), "action of 0 bytes at byte 104"),
        (flow_with(nicira(33, b"\x80\x00\x0a\x01\x00\x00")), "match field 0x8000/5 of 1 bytes"),
        (flow_with(nicira(16, bytes(22) + b"\x30\x01\0\1" * 4096)), "more than is read"),
    ],
    "multipart": [
        (message(19, bytes(7)), "header of a part cut off after 15"),
        (multipart(14), "unknown part of kind 14"),
        (multipart(13, flags=1), "no entry though more are to follow"),
        (multipart(0, bytes(1055)), "body of 1055 bytes, not of 1056"),
        (multipart(2), "body of 0 bytes, not of 24"),
        (multipart(3, bytes(25)), "entry cut off after 1 of 24 bytes at byte 40"),
        (multipart(13, bytes(63)), "entry cut off after 63 of 64 bytes"),
        (multipart(FLOW, struct.pack("!H54x", 0)), "flow of 0 bytes at byte 16"),
        (multipart(FLOW, flow()[:-1]), "flow cut off after 55 of 56 bytes"),
        (multipart(6, struct.pack("!H38x", 41)), "group of 41 bytes"),
        (multipart(6, struct.pack("!H38x", 24)), "group of 24 bytes"),
        (multipart(9, struct.pack("!4xH34x", 8)), "meter of 8 bytes"),
        (multipart(GROUP_DESCRIPTION, struct.pack("!HBxI", 0, 0, 0)), "group of 0 bytes"),
        (multipart(GROUP_DESCRIPTION, group(bytes(16))), "bucket of 0 bytes at byte 24"),
        (multipart(GROUP_DESCRIPTION, group(bucket()[:-1])), "bucket cut off after 15"),
        (multipart(METER_CONFIGURATION, struct.pack("!HHI", 0, 0, 0)), "meter of 0 bytes"),
        (multipart(METER_CONFIGURATION, meter(struct.pack("!HH12x", 1, 0))), "meter band of 0 bytes at byte 24"),
        (multipart(METER_CONFIGURATION, meter(struct.pack("!HH12x", 3, 16))), "unknown meter band of type 3"),
        (multipart(0xFFFF, bytes(7)), "experimenter's body of 7 bytes"),
        (multipart(0xFFFF, bytes(20)), "experimenter's body of 20 bytes"),
        (multipart(0xFFFF, bytes(8192)), "experimenter's body of 8192 bytes"),
    ],
    "table features": [
        (multipart(TABLE_FEATURES, bytes(64)), "table's features of 0 bytes"),
        (multipart(TABLE_FEATURES, table(struct.pack("!HHI", 0, 0, 0))), "table property of 0 bytes at byte 80"),
        (multipart(TABLE_FEATURES, table(struct.pack("!HHH", 2, 6, 0))), "table property without its padding"),
        (multipart(TABLE_FEATURES, table(table_property(0, struct.pack("!HH", 1, 0)))), "instruction, of 0 bytes"),
        (multipart(TABLE_FEATURES, table(table_property(4, struct.pack("!HH", 0, 16)))), "action, of 16 bytes"),
        (multipart(TABLE_FEATURES, table(table_property(4, struct.pack("!HH", 0xFFFF, 4)))), "action, of 4 bytes"),
        (multipart(TABLE_FEATURES, table(table_property(8, b"\xff\xff\0\0"))), "match field cut off after 4 of 8"),
        (multipart(TABLE_FEATURES, table(table_property(8, b"\x80\0"))), "match field cut off after 2 of 4"),
        (multipart(TABLE_FEATURES, table(table_property(2, bytes(256)))), "list of 256 next tables"),
        (multipart(TABLE_FEATURES, table(table_property(0xFFFF, bytes(9)))), "experimenter's table property of 13"),
        (multipart(TABLE_FEATURES, table(bytes(4) * 4096)), "more than is read"),
    ],
    "queues": [
        (message(23, bytes(7)), "queues cut off after 15"),
        (message(23, bytes(24)), "queue of 0 bytes at byte 16"),
        (message(23, bytes(8) + struct.pack("!8xH6x", 17)), "queue of 17 bytes"),
        (queues(struct.pack("!HH12x", 1, 0)), "queue property of 0 bytes at byte 32"),
        (queues(struct.pack("!HH20x", 1, 24)), "queue property of 24 bytes"),
        (queues(struct.pack("!HH12x", 3, 16)), "unknown queue property 3"),
        (queues(struct.pack("!HH12x", 0xFFFF, 24)), "queue property of 24 bytes"),
        (queues(struct.pack("!HH4998x", 0xFFFF, 5002)), "queue property of 5002 bytes"),
    ],
    "packets": [
        (message(PACKET_IN, bytes(18)), "match cut off after 2"),
        (packet_in(match()), "match without the port"),
        (packet_in(match(basic(0, 1, 4), basic(0, 2, 4))), "second match field"),
        (packet_in(match(field(0x8000, 0, bytes(8), 1))), "match without the port"),
        (shortened(packet_in(match(IN_PORT)), 41), "packet without its padding at byte 40"),
        (shortened(packet_in(match(IN_PORT)), 39), "match without its padding"),
    ],
}


@pytest.mark.parametrize(
    ("data", "fault"),
    [case for cases in UNSOUND.values() for case in cases],
    ids=[f"{kind}: {fault}" for kind, cases in UNSOUND.items() for _, fault in cases],
)
def test_what_does_not_fit_is_named_with_its_byte(data: bytes, fault: str):
    assert fault in refusal(data)


def test_the_sentence_names_the_message_the_fault_and_the_byte():
    with pytest.raises(Violation) as violation:
        check_message(multipart(FLOW, flow(struct.pack("!HH4x", 4, 0))))

    assert str(violation.value) == "sent a malformed MULTIPART_REPLY: instruction of 0 bytes at byte 72"
    assert violation.value.offset == 72


@pytest.mark.parametrize("data", OPEN_VSWITCH, ids=described)
def test_a_message_that_ends_early_is_refused_or_parsed(data: bytes):
    for cut in sorted({*range(8, min(len(data), 200)), *range(8, len(data), 41)}):
        short = shortened(data, cut)
        try:
            check_message(short)
        except Violation:
            continue
        parse_by_all(short)


def test_every_type_that_a_switch_sends_is_known():
    known = {sample[1] for sample in (*OPEN_VSWITCH, *SOUND.values())} | {MessageType.HELLO}

    assert known >= {kind for kind in MessageType if not kind.name.endswith("REQUEST")} | {MessageType.ECHO_REQUEST}
