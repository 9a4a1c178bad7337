"""The benchmark of installation: its rules are ten thousand different ones, its packets are whole, its limits hold."""

from dataclasses import replace

import pytest

from benchmarks.dataplane.installation import Installation
from benchmarks.dataplane.installation_rules import PORTS, base_flows, flows, groups
from benchmarks.dataplane.numbered_packets import FRAME
from dataplane.rules import Output, PushLabel, SetLabel, ToGroup
from workloads.headers import Unreadable, read_headers

GOOD = Installation(
    "ryu", 100, bundled=(50.0, 60.0, 40.0), plain=(9.0,) * 3, ofctl=(100.0, 100.0, 100.0), read=(9.0,) * 9,
    removed=(9.0,) * 9, longest_wait_s=0.001, sent=1000, lost=0, doubled=0,
)  # fmt: skip


def test_all_rules_are_different_and_use_what_is_there():
    rules = (*flows(10_000), *base_flows())
    actions = {action for rule in rules for action in rule.actions}

    assert len({rule.key for rule in rules}) == len({rule.cookie for rule in rules}) == len(rules) == 10_004
    assert {action.port for action in actions if isinstance(action, Output)} <= set(PORTS)
    assert {action.group_id for action in actions if isinstance(action, ToGroup)} == {group.id for group in groups()}
    assert all(action.label < 1 << 20 for action in actions if isinstance(action, PushLabel | SetLabel))


def test_its_packets_are_those_that_its_rules_carry():
    headers = read_headers(FRAME + bytes(30))

    assert not isinstance(headers, Unreadable)
    assert headers.ip is not None
    guard, *_, last = base_flows()
    assert (headers.ip.source, headers.ip.destination) == (guard.match.ipv4_src, last.match.ipv4_dst)
    assert headers.source == guard.match.eth_src
    total = sum(int.from_bytes(FRAME[at : at + 2]) for at in range(14, 34, 2))
    assert total % 0xFFFF == 0, "the checksum of its IPv4 header is wrong (RFC 1071)"
    assert int.from_bytes(FRAME[16:18]) == len(FRAME) + 30 - 14


def test_half_of_the_peers_rate_and_no_packet_lost_or_doubled_is_what_it_asks():
    assert GOOD.ratios == (0.5, 0.6, 0.4)
    assert GOOD.ok


@pytest.mark.parametrize("change", [{"lost": 1}, {"doubled": 1}, {"ofctl": (101.0, 100.0, 100.0)}])
def test_it_says_when_a_limit_is_missed(change):
    assert not replace(GOOD, **change).ok
