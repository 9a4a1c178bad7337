"""Rules of real switches that somebody changes with ovs-ofctl: put right by the daemon, and told of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.dataplane.switchrules import held, ofctl
from benchmarks.dataplane.tampering import FOREIGN_FLOW, TAMPERINGS, Tampering
from controller.service import JobState
from workloads.job import Job

FIRST_FRAMEWORK = "ryu"

WaitUntil = Callable[..., None]


@pytest.fixture(scope="module")
def switch(rig: Any) -> str:
    """A switch on the way of planned pairs."""
    rig.client.submit_job(Job("drift", ("h1", "h5"), 1 << 20))
    rig.client.wait_job("drift", JobState.ACTIVE, 60)
    path = next(path for path in rig.client.plan().paths if path.source == "h1")
    return str(path.links[1]).partition(":")[0]


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda each: each.what.replace(" ", "-"))
def test_what_somebody_changes_is_put_right_and_told_of(
    rig: Any, switch: str, tampering: Tampering, wait_until: WaitUntil
) -> None:
    before = held(rig.cluster, switch).content
    told = rig.client.counters().get("rules-drifted", 0)

    tampering.carry_out(rig.cluster, switch, min(tampering.find(held(rig.cluster, switch))))

    assert held(rig.cluster, switch).content != before
    wait_until(lambda: held(rig.cluster, switch).content == before, "the switch has its rules again")
    assert rig.client.counters()["rules-drifted"] == told + 1
    assert rig.ping("h1", "h5", "-c", "10", "-i", "0.01")[0] == 0


def test_a_switch_whose_tables_were_emptied_has_all_its_rules_again(
    rig: Any, switch: str, wait_until: WaitUntil
) -> None:
    before = held(rig.cluster, switch).content

    for everything in ("del-flows", "del-groups", "del-meters"):
        ofctl(rig.cluster, everything, switch)

    wait_until(lambda: held(rig.cluster, switch).content == before, "the switch has its rules again")


def test_a_flow_of_somebody_else_is_left_alone_and_told_of(rig: Any, switch: str, wait_until: WaitUntil) -> None:
    before = held(rig.cluster, switch).content[0]
    last = max(event.id for event in rig.client.events())

    def told() -> list[str]:
        return [event.message for event in rig.client.events(last) if event.kind == "foreign-rules"]

    ofctl(rig.cluster, "add-flow", switch, FOREIGN_FLOW)
    try:
        wait_until(told, "the foreign flow is told of")
        assert f"switch {switch} has 1 flows" in told()[0]
        # A change of ours is put right beside it.
        planned, *_ = TAMPERINGS
        planned.carry_out(rig.cluster, switch, min(planned.find(held(rig.cluster, switch))))
        wait_until(lambda: before < held(rig.cluster, switch).content[0], "the switch has its rules again")
        assert len(held(rig.cluster, switch).flows) == len(before) + 1
    finally:
        ofctl(rig.cluster, "del-flows", switch, "cookie=0xbeef/-1")
    wait_until(lambda: len(told()) == 2, "that it is gone is told, too")
