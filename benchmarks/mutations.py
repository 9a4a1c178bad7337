"""Ways to spoil a message or a frame: blind ones, and ones that know where its lengths and structures are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from controller.testing_messages import LengthField, Sample

Mutation = Callable[[Random, Sample, Sequence[Sample]], bytes]

_TELLING = (0, 1, 2, 3, 4, 7, 8, 0x0F, 0x10, 0x18, 0x7F, 0x80, 0xFE, 0xFF)
_MOST_BYTES = 0xFFFF
# Such a message takes as long as hundreds of others.
_STRETCHED_SHARE = 0.002


def spoil_bytes(random: Random, data: bytearray) -> None:
    """Change, in place, a few bits or bytes anywhere, or take out, put in or repeat a few."""
    if not data:
        return
    at = random.randrange(len(data))
    kind = random.randrange(6)
    if kind == 0:
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind == 1:
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.choice(_TELLING)
    elif kind == 2:
        data[at : at + random.randint(1, 8)] = random.randbytes(random.randint(1, 8))
    elif kind == 3:
        del data[at : at + random.randint(1, 16)]
    elif kind == 4:
        data[at:at] = random.randbytes(random.randint(1, 16))
    else:
        data[at:at] = data[at : at + random.randint(1, 32)]


def with_header_length(data: bytearray) -> bytes:
    """The message with the length that it has, so that framing finds its end."""
    del data[_MOST_BYTES:]
    if len(data) >= 4:
        data[2:4] = len(data).to_bytes(2)
    return bytes(data)


def blind(random: Random, sample: Sample, _: Sequence[Sample]) -> bytes:
    """Bytes changed anywhere, behind the header's length as well as in it."""
    data = bytearray(sample.message)
    spoil_bytes(random, data)
    return bytes(data) if random.random() < 0.1 else with_header_length(data)


def truncated(random: Random, sample: Sample, _: Sequence[Sample]) -> bytes:
    """The message's beginning."""
    return with_header_length(bytearray(sample.message[: random.randrange(8, len(sample.message) + 1)]))


def lengths_set(random: Random, sample: Sample, _: Sequence[Sample]) -> bytes:
    """One to three length fields changed, to values at their limits and near what they were."""
    data = bytearray(sample.message)
    inner = sample.lengths[1:]
    for field in random.sample(inner, min(len(inner), random.randint(1, 3))):
        limit = (1 << 8 * field.width_bytes) - 1
        near = field.value + random.choice((-16, -8, -4, -1, 1, 4, 8, 16))
        value = random.choice((0, field.least - 1, field.least, near, near, field.most, field.most + 1, limit))
        _write(data, field, min(max(value, 0), limit))
    return with_header_length(data)


def type_changed(random: Random, sample: Sample, _: Sequence[Sample]) -> bytes:
    """Another type or kind for a structure, or for the message itself."""
    data = bytearray(sample.message)
    field = random.choice(sample.lengths)
    at = field.start + random.randrange(2)
    data[at] = random.choice((*_TELLING, random.randrange(32)))
    if random.random() < 0.3 and len(data) > 9:
        data[9] = random.randrange(16)
    return with_header_length(data)


def repeated(random: Random, sample: Sample, _: Sequence[Sample]) -> bytes:
    """A structure there several times; mostly its containers' lengths grow with it."""
    field = _inner(random, sample)
    piece = sample.message[field.start : _padded(field, sample)]
    return _put(random, sample, field.start, field.start, piece * random.choice((1, 1, 2, 3, random.randint(1, 300))))


def stretched(random: Random, sample: Sample, _: Sequence[Sample]) -> bytes:
    """A structure there as often as the longest message holds it: the most work for whoever reads it."""
    field = _inner(random, sample)
    piece = sample.message[field.start : _padded(field, sample)]
    room = _MOST_BYTES - len(sample.message)
    return _put(random, sample, field.start, field.start, piece * (room // len(piece)), always_fitting=True)


def taken_out(random: Random, sample: Sample, _: Sequence[Sample]) -> bytes:
    """A structure gone; mostly its containers' lengths shrink with it."""
    field = _inner(random, sample)
    return _put(random, sample, field.start, _padded(field, sample), b"")


def spliced(random: Random, sample: Sample, others: Sequence[Sample]) -> bytes:
    """A structure replaced by one of another message, of whatever kind."""
    other = random.choice(others)
    field, theirs = _inner(random, sample), _inner(random, other)
    piece = other.message[theirs.start : _padded(theirs, other)]
    return _put(random, sample, field.start, _padded(field, sample), piece)


def crossed(random: Random, sample: Sample, others: Sequence[Sample]) -> bytes:
    """The beginning of one message and the end of another."""
    other = random.choice(others).message
    cut = random.randrange(8, len(sample.message) + 1)
    return with_header_length(bytearray(sample.message[:cut] + other[random.randrange(8, len(other) + 1) :]))


def unchanged(_random: Random, sample: Sample, _: Sequence[Sample]) -> bytes:
    """The message as it was."""
    return sample.message


MUTATIONS: tuple[Mutation, ...] = (
    blind, blind, truncated, lengths_set, lengths_set, type_changed, repeated, taken_out, spliced, crossed, unchanged,
)  # fmt: skip
"""All ways, the more telling ones several times."""
WITHOUT_STRUCTURES: tuple[Mutation, ...] = (blind, truncated, type_changed, crossed, unchanged)
"""Those for messages with no structure inside."""


def mutated(random: Random, pool: Sequence[Sample]) -> bytes:
    """A message of the pool, spoilt in one of the ways, and seldom in a second one."""
    sample = random.choice(pool)
    if random.random() < _STRETCHED_SHARE:
        return stretched(random, sample, pool)
    ways = MUTATIONS if len(sample.lengths) > 1 else WITHOUT_STRUCTURES
    message = random.choice(ways)(random, sample, pool)
    if random.random() < 0.1:
        data = bytearray(message)
        spoil_bytes(random, data)
        return with_header_length(data)
    return message


def _inner(random: Random, sample: Sample) -> LengthField:
    """One of the structures in a message; the whole where there is none."""
    return random.choice(sample.lengths[1:] or sample.lengths)


def _padded(field: LengthField, sample: Sample) -> int:
    """Where a structure ends, with what pads it to 8 bytes where anything does."""
    padded = field.end if field.name == "oxm" else field.start + (field.end - field.start + 7) // 8 * 8
    return min(padded, len(sample.message))


def _put(random: Random, sample: Sample, start: int, end: int, piece: bytes, *, always_fitting: bool = False) -> bytes:
    """A message with a piece in place of some of its bytes; mostly its containers' lengths follow."""
    data = bytearray(sample.message)
    if always_fitting or random.random() < 0.8:
        grown = len(piece) - (end - start)
        for field in sample.lengths:
            if field.start < start and field.end >= end:
                _write(data, field, max(0, field.value + grown) & ((1 << 8 * field.width_bytes) - 1))
    data[start:end] = piece
    return with_header_length(data)


def _write(data: bytearray, field: LengthField, value: int) -> None:
    if field.offset + field.width_bytes <= len(data):
        data[field.offset : field.offset + field.width_bytes] = value.to_bytes(field.width_bytes)
