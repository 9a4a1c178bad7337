"""What the frameworks write is let through and read back; whatever else is let through, they parse."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openflow_bytes import (
    FLOW,
    GROUP_DESCRIPTION,
    METER_CONFIGURATION,
    NICIRA,
    PARSERS,
    TABLE_FEATURES,
    flow,
    flow_with,
    message,
    multipart,
    nicira,
    padded,
    parse_by_all,
    parsed,
)

from controller.checking import check_message
from controller.framing import Violation

FRAMEWORKS = pytest.mark.parametrize("framework", PARSERS)
PORTS, WORDS, HALVES, BYTES = (st.integers(0, (1 << bits) - 1) for bits in (32, 32, 16, 8))
FILE = Path(__file__).with_name("open_vswitch.hex")


def single_flows(data: bytes) -> list[bytes]:
    """Each flow of a reply as a reply of its own."""
    offset, flows = 16, []
    while offset < len(data):
        (size,) = struct.unpack_from("!H", data, offset)
        flows.append(multipart(FLOW, data[offset : offset + size]))
        offset += size
    return flows


OPEN_VSWITCH = [bytes.fromhex(line) for line in FILE.read_text().split()]
FLOWS = [one for data in OPEN_VSWITCH if data[1] == 19 and data[9] == FLOW for one in single_flows(data)]
SAMPLES = FLOWS + [data for data in OPEN_VSWITCH if len(data) < 600 and data[1] not in (2, 3)]


def is_let_through(data: bytes) -> bool:
    refusal = None
    try:
        check_message(data)
    except Violation as violation:
        refusal = violation
    if refusal is None:
        return True
    assert (refusal.kind, refusal.offset is None) == ("malformed", False)
    assert 0 <= (refusal.offset or 0) <= len(data)
    return False


def serialized(thing: Any) -> bytes:
    """What a framework writes of a structure; it leaves the padding of some to the next one."""
    buffer = bytearray()
    thing.serialize(buffer, 0)
    return padded(bytes(buffer))


# ── what the frameworks write ────────────────────────────────────────────────────────────────────


@st.composite
def matches(draw: st.DrawFn, framework: str) -> Any:
    """A match of any fields that a framework knows, some with a mask."""
    parser = PARSERS[framework]
    fields = draw(st.lists(st.sampled_from(parser.ofproto.oxm_types), max_size=12, unique_by=lambda each: each.num))
    ordered = []
    for each in fields:
        value = draw(st.binary(min_size=each.type.size, max_size=each.type.size))
        mask = draw(st.none() | st.binary(min_size=each.type.size, max_size=each.type.size).filter(any))
        ordered.append(parser.ofproto.oxm_to_user(each.num, value, mask))
    return parser.OFPMatch(_ordered_fields=ordered)


def plain_actions(framework: str) -> st.SearchStrategy[Any]:
    p = PARSERS[framework]
    simple = [
        p.OFPActionDecMplsTtl,
        p.OFPActionDecNwTtl,
        p.OFPActionCopyTtlIn,
        p.OFPActionCopyTtlOut,
        p.OFPActionPopVlan,
        p.OFPActionPopPbb,
    ]
    by_half = [p.OFPActionPushVlan, p.OFPActionPushMpls, p.OFPActionPushPbb, p.OFPActionPopMpls]
    basic = [each for each in p.ofproto.oxm_types if isinstance(each.num, int)]
    return st.one_of(
        st.sampled_from(simple).map(lambda make: make()),
        st.builds(lambda make, value: make(value), st.sampled_from(by_half), HALVES),
        st.builds(
            lambda make, value: make(value), st.sampled_from([p.OFPActionSetNwTtl, p.OFPActionSetMplsTtl]), BYTES
        ),
        st.builds(lambda make, value: make(value), st.sampled_from([p.OFPActionGroup, p.OFPActionSetQueue]), WORDS),
        st.builds(p.OFPActionOutput, PORTS, HALVES),
        st.builds(
            lambda each, filler: p.OFPActionSetField(**{each.name: each.type.to_user(filler[: each.type.size])}),
            st.sampled_from(basic),
            st.binary(min_size=16, max_size=16),
        ),
        st.builds(
            lambda experimenter, words: p.OFPActionExperimenterUnknown(experimenter, bytes(8 * words)),
            WORDS.filter(lambda experimenter: experimenter != NICIRA),
            st.integers(0, 4),
        ),
    )


def nicira_actions(framework: str) -> st.SearchStrategy[Any]:
    p = PARSERS[framework]
    names = st.sampled_from(["reg0", "reg7", "eth_src", "ipv4_dst", "vlan_tci", "ct_mark", "metadata"])
    specs = st.one_of(
        st.builds(lambda n: p.NXFlowSpecMatch(src=n, dst=("reg1", 0), n_bits=16), HALVES),
        st.builds(lambda name: p.NXFlowSpecLoad(src=(name, 0), dst=("reg1", 0), n_bits=8), names),
        st.builds(lambda name: p.NXFlowSpecOutput(src=(name, 0), dst="", n_bits=8), names),
    )
    return st.one_of(
        st.builds(p.NXActionRegLoad, HALVES, names, st.integers(0, (1 << 64) - 1)),
        st.builds(p.NXActionRegMove, names, names, HALVES, HALVES, HALVES),
        st.builds(lambda value: p.NXActionRegLoad2("reg3", value), WORDS),
        st.builds(p.NXActionNote, st.lists(BYTES, max_size=30)),
        st.builds(lambda specs: p.NXActionLearn(5, specs), st.lists(specs, min_size=1, max_size=5)),
        st.builds(p.NXActionResubmitTable, HALVES, BYTES),
        st.builds(p.NXActionOutputReg, HALVES, names, HALVES),
        st.builds(p.NXActionOutputReg2, HALVES, names, HALVES),
        st.builds(p.NXActionStackPush, names, HALVES, HALVES),
        st.builds(p.NXActionConjunction, BYTES, BYTES, WORDS),
        st.builds(p.NXActionMultipath, HALVES, HALVES, HALVES, HALVES, WORDS, HALVES, names),
        st.builds(p.NXActionDecTtlCntIds, st.lists(HALVES, min_size=4, max_size=4)),
        st.builds(
            lambda size: p.NXActionController2(controller_id=1, max_len=2, reason=1, userdata=[7] * size, pause=True),
            st.integers(1, 30),
        ),
        st.builds(
            lambda load: p.NXActionCT(1, "reg4", 5, 6, 7, [p.NXActionRegLoad(31, "ct_mark", load)]),
            WORDS,
        ),
        st.builds(
            lambda slaves: p.NXActionBundle(1, 2, 3, 4, 0, 0, 0, slaves), st.lists(HALVES, min_size=4, max_size=4)
        ),
    )


@FRAMEWORKS
@given(st.data())
def test_any_match_that_a_framework_writes_is_let_through_and_read_back(framework: str, data: st.DataObject):
    written = data.draw(matches(framework))
    reply = multipart(FLOW, flow(match_=serialized(written)) * 2)

    assert check_message(reply) == 2
    for each in parsed(reply, framework).body:
        assert each.match.items() == written.items()


@FRAMEWORKS
@given(st.data())
def test_any_actions_that_a_framework_writes_are_let_through_and_read_back(framework: str, data: st.DataObject):
    drawn = data.draw(st.lists(plain_actions(framework) | nicira_actions(framework), max_size=8))
    written = [serialized(action) for action in drawn]
    reply = flow_with(*written)

    assert check_message(reply) == 1
    (instruction,) = parsed(reply, framework).body[0].instructions
    assert [serialized(action) for action in instruction.actions] == written


@FRAMEWORKS
@given(st.data())
def test_any_buckets_that_a_framework_writes_are_let_through_and_read_back(framework: str, data: st.DataObject):
    p = PARSERS[framework]
    buckets = data.draw(
        st.lists(
            st.builds(p.OFPBucket, HALVES, PORTS, WORDS, st.lists(plain_actions(framework), max_size=4)), max_size=6
        )
    )
    body = b"".join(serialized(bucket) for bucket in buckets)
    reply = multipart(GROUP_DESCRIPTION, struct.pack("!HBxI", 8 + len(body), 1, 5) + body)

    assert check_message(reply) == 1
    assert b"".join(serialized(bucket) for bucket in parsed(reply, framework).body[0].buckets) == body


@FRAMEWORKS
@given(st.data())
def test_any_bands_that_a_framework_writes_are_let_through_and_read_back(framework: str, data: st.DataObject):
    p = PARSERS[framework]
    bands = data.draw(
        st.lists(
            st.builds(p.OFPMeterBandDrop, WORDS, WORDS)
            | st.builds(p.OFPMeterBandDscpRemark, WORDS, WORDS, BYTES)
            | st.builds(p.OFPMeterBandExperimenter, WORDS, WORDS, WORDS),
            max_size=6,
        )
    )
    body = b"".join(serialized(band) for band in bands)
    reply = multipart(METER_CONFIGURATION, struct.pack("!HHI", 8 + len(body), 1, 5) + body)

    assert check_message(reply) == 1
    assert b"".join(serialized(band) for band in parsed(reply, framework).body[0].bands) == body


@FRAMEWORKS
@given(st.data())
def test_any_table_features_that_a_framework_writes_are_let_through_and_read_back(framework: str, data: st.DataObject):
    p = PARSERS[framework]
    names = [each.name for each in p.ofproto.oxm_types if isinstance(each.num, int)]
    properties = data.draw(
        st.lists(
            st.builds(
                lambda kind, ids: p.OFPTableFeaturePropInstructions(
                    kind, None, [p.OFPInstructionId(id_) for id_ in ids]
                ),
                st.sampled_from([0, 1]),
                st.lists(st.integers(1, 6), max_size=6),
            )
            | st.builds(
                lambda kind, ids: p.OFPTableFeaturePropActions(kind, None, [p.OFPActionId(id_) for id_ in ids]),
                st.sampled_from([4, 5, 6, 7]),
                st.lists(st.integers(0, 27), max_size=30),
            )
            | st.builds(
                lambda kind, ids: p.OFPTableFeaturePropOxm(kind, None, [p.OFPOxmId(name) for name in ids]),
                st.sampled_from([8, 10, 12, 13, 14, 15]),
                st.lists(st.sampled_from(names)),
            )
            | st.builds(
                lambda kind, ids: p.OFPTableFeaturePropNextTables(kind, None, ids),
                st.sampled_from([2, 3]),
                st.lists(BYTES, max_size=254),
            ),
            max_size=8,
        )
    )
    body = bytes(p.OFPTableFeaturesStats(1, b"a table", 0, 0, 0, 0, properties).serialize())
    reply = multipart(TABLE_FEATURES, body * 2)

    assert check_message(reply) == 2
    for table in parsed(reply, framework).body:
        assert bytes(table.serialize())[64:] == body[64:]


# ── what nobody writes ───────────────────────────────────────────────────────────────────────────


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=400)
def test_a_message_with_changed_bytes_is_refused_or_parsed(sample: bytes, data: st.DataObject):
    changed = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(sample) - 1))
        changed[at] = data.draw(st.sampled_from([0, 1, 3, 4, 5, 8, 16, 24, 32, 0x7F, 0x80, 0xFF]) | BYTES)
    if is_let_through(bytes(changed)):
        parse_by_all(bytes(changed))


@pytest.mark.parametrize(
    "value", [b"\0\0", b"\0\x01", b"\0\x04", b"\0\x08", b"\xff\xff"], ids=lambda value: value.hex()
)
def test_a_flow_with_any_two_bytes_replaced_is_refused_or_parsed(value: bytes):
    for sample in FLOWS:
        for at in range(16, len(sample) - 1, 2):
            changed = sample[:at] + value + sample[at + 2 :]
            if is_let_through(changed):
                parse_by_all(changed)


LENGTHS = st.sampled_from([0, 4, 8, 16, 24]) | HALVES
CONTENT = st.lists(
    st.one_of(
        HALVES.map(lambda n: n.to_bytes(2)),
        st.sampled_from([b"\0\0", bytes(4), bytes(8), b"\0\1\0\4", b"\x80\0\0\4", b"\xff\xff\x02\5\0\x5a\xd6\x50"]),
        st.builds(lambda kind, size: struct.pack("!HH", kind, size), st.integers(0, 8), LENGTHS),
        st.builds(lambda kind, bits: struct.pack("!H", kind << 11 | bits), st.integers(0, 7), st.integers(0, 40)),
        st.builds(nicira, st.integers(0, 50), st.binary(max_size=40)),
    ),
    max_size=12,
).map(b"".join)


@given(st.integers(0, 50), st.sampled_from([0, 6, 14, 22]), CONTENT)
@settings(max_examples=500)
def test_any_content_of_a_nicira_action_is_refused_or_parsed(subtype: int, zeros: int, content: bytes):
    data = flow_with(nicira(subtype, bytes(zeros) + content))
    if is_let_through(data):
        parse_by_all(data)


@given(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xFFFF]), CONTENT, st.integers(0, 60))
@settings(max_examples=500)
def test_any_body_of_a_part_is_refused_or_parsed(kind: int, content: bytes, zeros: int):
    data = multipart(kind, content + bytes(zeros))
    if is_let_through(data):
        parse_by_all(data)


@given(st.integers(1, 30), st.binary(max_size=120))
@settings(max_examples=300)
def test_any_body_of_a_message_is_refused_or_parsed(kind: int, body: bytes):
    data = message(kind, body)
    if is_let_through(data):
        parse_by_all(data)
