"""What the daemon tells of rules is what real switches hold, and it is proved from that, with and without a cable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.dataplane.switchrules import held
from controller.service import JobState
from heddle.main import main
from topologies.fabric import LinkId
from workloads.job import Job

FIRST_FRAMEWORK = "ryu"

WaitUntil = Callable[..., None]


@pytest.fixture(scope="module")
def planned(rig: Any) -> Any:
    """A rig whose daemon has a job."""
    rig.client.submit_job(Job("ring", ("h1", "h5", "h9"), 1 << 20))
    rig.client.wait_job("ring", JobState.ACTIVE, 60)
    return rig


def proved(rig: Any, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What ``heddle verify rules --failures`` proves of a rig's daemon."""
    code = main(["verify", "rules", "--failures", "--json", "--api", rig.client.url])
    out, err = capsys.readouterr()
    assert code == 0, err
    return dict(json.loads(out))


def test_rules_that_are_told_are_those_that_the_switches_hold(planned: Any, wait_until: WaitUntil) -> None:
    def told_and_held(switch: str) -> bool:
        rules, holds = planned.client.rules(switch)[switch], held(planned.cluster, switch)
        cookies = [int(re.search(r"cookie=(0x[0-9a-f]+)", flow)[1], 16) for flow in holds.flows]  # type: ignore[index]
        return (
            sorted(cookies) == sorted(flow.cookie for flow in rules.flows)
            and holds.group_ages_s.keys() == {group.id for group in rules.groups}
            and len(holds.meters) == len(rules.meters)
        )

    for node in planned.fabric.switches:
        wait_until(lambda switch=node.id: told_and_held(switch), f"{node.id} holds what is told of it")


def test_rules_are_proved_as_the_switches_hold_them_and_again_round_a_cable_that_failed(
    planned: Any, wait_until: WaitUntil, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = proved(planned, capsys)
    assert (whole["pairs"], whole["planned"], whole["failures"]) == (240, 6, 32)
    assert whole["unprotected"] == []

    path = next(path for path in planned.client.plan().paths if path.source == "h1" and path.rate_bps)
    failed = LinkId.parse(path.links[1])
    planned.cluster.set_link(failed, up=False)
    try:
        wait_until(lambda: failed not in planned.client.fabric().link_by_id, "the link is noticed")
        wait_until(lambda: proved(planned, capsys)["planned"] == 6, "rules round the link are proved")
        less = proved(planned, capsys)
        assert (less["pairs"], less["failures"]) == (240, 31)
        # The other cable of the same leaf is all that it has left.
        (last,) = (planned.fabric.link_by_id[LinkId.parse(link)] for link in less["unprotected"])
        assert failed.node in (last.source, last.target)
    finally:
        planned.cluster.set_link(failed, up=True)
    wait_until(lambda: failed in planned.client.fabric().link_by_id, "the link is back")
