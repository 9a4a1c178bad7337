"""Signed probes are read back; everything else is foreign."""

from hypothesis import given
from hypothesis import strategies as st

from controller.lldp import FRAME_BYTES, Probe, claims_to_be_a_probe, read_probe, sender_of, write_probe

SECRET = b"k" * 32
probes = st.builds(
    Probe,
    dpid=st.integers(1, 2**64 - 1),
    port=st.integers(1, 0xFFFFFF00),
    nonce=st.integers(0, 2**64 - 1),
    sent_ns=st.integers(0, 2**63),
)


@given(probes)
def test_a_probe_is_read_back_as_it_was_written(probe: Probe) -> None:
    frame = write_probe(probe, SECRET)
    assert len(frame) == FRAME_BYTES
    assert read_probe(frame, SECRET) == probe


@given(probes, st.integers(0, FRAME_BYTES - 1), st.integers(1, 255))
def test_a_probe_with_any_byte_changed_is_foreign(probe: Probe, position: int, flip: int) -> None:
    frame = bytearray(write_probe(probe, SECRET))
    frame[position] ^= flip
    assert read_probe(bytes(frame), SECRET) is None


@given(probes)
def test_a_probe_of_another_controller_is_foreign(probe: Probe) -> None:
    assert read_probe(write_probe(probe, b"x" * 32), SECRET) is None


@given(probes, st.integers(1, FRAME_BYTES))
def test_a_probe_that_is_cut_short_is_foreign(probe: Probe, missing: int) -> None:
    assert read_probe(write_probe(probe, SECRET)[:-missing], SECRET) is None


@given(probes, st.binary(max_size=64))
def test_padding_behind_a_probe_does_not_matter(probe: Probe, padding: bytes) -> None:
    assert read_probe(write_probe(probe, SECRET) + padding, SECRET) == probe


@given(st.binary(max_size=300))
def test_arbitrary_frames_are_foreign_and_raise_nothing(frame: bytes) -> None:
    assert read_probe(frame, SECRET) is None
    assert not claims_to_be_a_probe(frame)
    assert isinstance(sender_of(frame), str)


tlvs = st.tuples(st.integers(1, 126), st.binary(max_size=40)).map(lambda tlv: _tlv(*tlv))


def _tlv(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2) + value


OURS = _tlv(127, bytes.fromhex("02484401") + bytes(60))


@given(st.lists(tlvs, max_size=20), st.lists(tlvs, max_size=5), st.integers(0, 59))
def test_our_tlv_is_found_wherever_it_stands_and_however_it_ends(
    before: list[bytes], after: list[bytes], missing: int
) -> None:
    frame = bytes(12) + b"\x88\xcc" + b"".join(before) + OURS
    assert claims_to_be_a_probe(frame + b"".join(after))
    assert claims_to_be_a_probe(frame[: len(frame) - missing])
    assert not claims_to_be_a_probe(frame[: -len(OURS)] + b"".join(after))
    assert not claims_to_be_a_probe(frame[: -len(OURS)] + _tlv(0, b"") + OURS), "the end ends it"


def test_a_neighbour_is_called_by_its_system_name_else_by_its_chassis() -> None:
    header = bytes(12) + b"\x88\xcc"
    mandatory = _tlv(1, b"\x07rack-4") + _tlv(2, b"\x07x") + _tlv(3, b"\0\x78")
    assert sender_of(header + mandatory + _tlv(5, b"nic\n7") + _tlv(0, b"")) == "nic\\x0a7"
    assert sender_of(header + mandatory + _tlv(0, b"")) == "rack-4"
    assert sender_of(header + mandatory[:5]) == ""
