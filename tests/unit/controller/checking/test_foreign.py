"""Rules of other people with Nicira's actions: whatever these hold, a switch that has them keeps its channel."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openflow_bytes import (
    FLOW,
    GROUP_DESCRIPTION,
    PARSERS,
    apply_actions,
    basic,
    bucket,
    flow,
    flow_with,
    group,
    match,
    message,
    multipart,
    nicira,
    output,
    parse_by_all,
    parsed,
)

from controller.checking import check_message, hide_nicira_actions
from controller.framing import Violation

OPEN_VSWITCH = [bytes.fromhex(line) for line in Path(__file__).with_name("open_vswitch.hex").read_text().split()]
# As Open vSwitch 3.1.0 sends `push:NXOXM_NSH_C1[]` and `controller(userdata=01.02,meter_id=1)`.
UNREADABLE = {
    "an experimenter's field on the stack": nicira(27, struct.pack("!HIIH", 0, 0xFFFF0C08, 0x005AD650, 32) + bytes(2)),
    "packets through a meter": nicira(37, bytes(6) + struct.pack("!HHBB2xHHI", 3, 6, 1, 2, 5, 8, 1)),
}
NICIRA_ACTIONS = st.builds(nicira, st.integers(0, 0xFFFF), st.binary(min_size=6, max_size=60))


@pytest.mark.parametrize("action", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_the_frameworks_cannot_read_is_let_through_once_hidden(action: bytes):
    reply = flow_with(output(1), action, output(2))
    with pytest.raises(Violation, match="unknown"):
        check_message(reply)

    hidden = hide_nicira_actions(reply)

    assert check_message(hidden) == 1
    for framework in PARSERS:
        (instruction,) = parsed(hidden, framework).body[0].instructions
        assert [each.len for each in instruction.actions] == [16, len(action), 16]
        assert [instruction.actions[at].port for at in (0, 2)] == [1, 2]


@given(st.lists(NICIRA_ACTIONS, min_size=1, max_size=5), st.sampled_from([(), (basic(0, 1, 4),), (basic(26, 1, 16),)]))
def test_any_content_of_nicira_actions_is_let_through_once_hidden(actions: list[bytes], fields: tuple[bytes, ...]):
    flows = [flow(), flow(apply_actions(output(1), *actions), match(*fields)), flow(apply_actions(*actions))]
    for reply, entries in (
        (multipart(FLOW, b"".join(flows)), 3),
        (multipart(GROUP_DESCRIPTION, group() + group(bucket(), bucket(*actions, output(1)))), 2),
    ):
        hidden = hide_nicira_actions(reply)

        assert check_message(hidden) == entries
        parse_by_all(hidden)


@given(st.sampled_from([1, 7, 13]), st.binary(max_size=200), st.binary(max_size=200))
def test_hiding_never_fails_and_keeps_the_length(kind: int, before: bytes, after: bytes):
    reply = multipart(kind, before + b"\xff\xff\0\x10\0\0\x23\x20\0\x23" + after)

    assert len(hide_nicira_actions(reply)) == len(reply)


@pytest.mark.parametrize("data", [message(10, b"\0\0\x23\x20"), b"\x04\x13\0\0\x23\x20", flow_with(output(1))])
def test_what_holds_no_nicira_action_stays_as_it_is(data: bytes):
    assert hide_nicira_actions(data) == data


def test_rules_of_a_real_switch_stay_as_they_are_but_for_their_nicira_actions():
    for data in OPEN_VSWITCH:
        hidden = hide_nicira_actions(data)
        assert check_message(hidden) == check_message(data)
        changed = {at for at, (old, new) in enumerate(zip(data, hidden, strict=True)) if old != new}
        assert all(hidden[at] == 0xFF for at in changed)
        if changed:
            before, after = parsed(data).body, parsed(hidden).body
            assert [each.to_jsondict() for each in before] != [each.to_jsondict() for each in after]
            if data[9] == FLOW:
                assert [each.match.items() for each in before] == [each.match.items() for each in after]
