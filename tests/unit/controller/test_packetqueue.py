from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.packetqueue import PER_PORT, PER_SWITCH_BYTES, PacketQueue

FRAME = bytes(100)


def drained(queue: PacketQueue[str]) -> list[tuple[str, bytes]]:
    taken = []
    while queue:
        taken.append(queue.take())
    return taken


def named(switch: str, port: int, count: int) -> bytes:
    return f"{switch}:{port}:{count}".encode().ljust(100)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.booleans()), max_size=300))
def test_what_is_taken_in_comes_out_once_and_in_the_order_of_its_port(arrivals: list[tuple[str, int, bool]]):
    queue: PacketQueue[str] = PacketQueue()
    accepted = []
    for count, (switch, port, probe) in enumerate(arrivals):
        packet = f"{switch} {port} {probe} {count}".encode()
        if queue.add(switch, port, packet, probe=probe):
            accepted.append((switch, packet))

    out = drained(queue)

    assert sorted(out) == sorted(accepted)
    for source in {packet.rsplit(b" ", 1)[0] for _, packet in out}:
        counts = [int(packet.rsplit(b" ", 1)[1]) for _, packet in out if packet.rsplit(b" ", 1)[0] == source]
        assert counts == sorted(counts)


def test_a_flood_from_one_port_delays_another_port_by_one_packet_only():
    queue: PacketQueue[str] = PacketQueue()
    for count in range(1000):
        queue.add("a", 1, named("a", 1, count), probe=False)
    queue.add("a", 2, named("a", 2, 0), probe=False)
    queue.add("b", 1, named("b", 1, 0), probe=False)

    first = [packet.split(b":")[:2] for _, packet in (queue.take() for _ in range(4))]

    assert [b"a", b"2"] in first
    assert [b"b", b"1"] in first


def test_ports_that_always_have_packets_get_equal_parts():
    queue: PacketQueue[str] = PacketQueue()
    senders = [("a", 1), ("a", 2), ("b", 1), ("c", 1)]
    served: Counter[str] = Counter()
    for _ in range(1200):
        for switch, port in senders:
            queue.add(switch, port, FRAME, probe=False)
        served[queue.take()[0]] += 1

    assert max(served.values()) - min(served.values()) <= 2


def test_probes_and_packets_take_turns_whoever_floods():
    queue: PacketQueue[str] = PacketQueue()
    for _ in range(PER_PORT):
        queue.add("a", 1, b"packet", probe=False)
        queue.add("b", 1, b"probe", probe=True)

    out = [packet for _, packet in drained(queue)]

    assert all(one != other for one, other in pairwise(out))


def test_a_port_keeps_no_more_than_its_part_and_what_is_too_much_is_said():
    queue: PacketQueue[str] = PacketQueue()

    taken = [queue.add("a", 1, FRAME, probe=False) for _ in range(1000)]

    assert taken == [True] * PER_PORT + [False] * (1000 - PER_PORT)


def test_a_switch_that_names_ports_without_end_keeps_no_more_than_its_part():
    queue: PacketQueue[str] = PacketQueue()
    taken = sum(queue.add("a", port, FRAME, probe=False) for port in range(100_000))

    assert taken * len(FRAME) <= PER_SWITCH_BYTES
    assert queue.add("b", 1, FRAME, probe=False)


def test_full_ports_leave_room_for_the_first_packet_of_another():
    queue: PacketQueue[str] = PacketQueue()
    port = 0
    while queue.add("a", port, bytes(9000), probe=False) and queue.add("a", port, bytes(9000), probe=False):
        port += 1

    assert queue.add("a", port + 1, bytes(9000), probe=False)


def test_all_switches_together_keep_no_more_than_twice_the_total_and_the_last_finds_room():
    queue: PacketQueue[int] = PacketQueue(total_bytes=1 << 20)
    kept = [sum(queue.add(switch, 1, bytes(8000), probe=False) for _ in range(PER_PORT)) for switch in range(64)]

    assert min(kept) >= 1
    assert sum(kept) * 8000 <= 2 << 20


def test_what_waits_of_a_switch_that_is_gone_is_dropped():
    queue: PacketQueue[str] = PacketQueue()
    for switch in "ab":
        queue.add(switch, 1, FRAME, probe=False)
        queue.add(switch, 1, FRAME, probe=True)

    queue.forget("a")
    queue.forget("never seen")

    assert {switch for switch, _ in drained(queue)} == {"b"}
    with pytest.raises(IndexError):
        queue.take()
