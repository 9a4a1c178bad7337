"""The benchmark of installation on a real switch: every way leaves exactly the rules asked for, no packet is lost."""

from __future__ import annotations

from benchmarks.dataplane.installation import run


def test_rules_come_and_go_by_all_ways_while_packets_pass(framework: str) -> None:
    # It raises where a rule is refused, or others than those are read back.
    found = run(framework, rules=1000, repeats=1)

    assert len(found.bundled) == len(found.plain) == len(found.ofctl) == 1
    assert found.sent > 0
    assert (found.lost, found.doubled) == (0, 0)
