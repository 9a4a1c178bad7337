"""Signed probes are read back; everything else is foreign."""

from hypothesis import given
from hypothesis import strategies as st

from controller.lldp import FRAME_BYTES, Probe, read_probe, write_probe

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


@given(probes, st.integers(0, FRAME_BYTES - 3), st.integers(1, 255))
def test_a_probe_with_any_byte_changed_is_foreign(probe: Probe, position: int, flip: int) -> None:
    frame = bytearray(write_probe(probe, SECRET))
    frame[position] ^= flip
    assert read_probe(bytes(frame), SECRET) is None


@given(probes)
def test_a_probe_of_another_controller_is_foreign(probe: Probe) -> None:
    assert read_probe(write_probe(probe, b"x" * 32), SECRET) is None


@given(st.binary(max_size=300))
def test_arbitrary_frames_are_foreign_and_raise_nothing(frame: bytes) -> None:
    assert read_probe(frame, SECRET) is None
