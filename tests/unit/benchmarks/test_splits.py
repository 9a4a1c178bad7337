"""What the row of splits rests on: plans with the shares that it means to measure, and flows that are equal."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from benchmarks.dataplane import flows_in_host
from benchmarks.dataplane.splits import two_ways
from controller.planning import PlanRequest, make_plan
from controller.service import shares
from dataplane.compiler import DefaultRouting
from solver.routing import Objective
from workloads.job import Job


@pytest.mark.parametrize(
    ("flows", "uplinks_bps", "planned"),
    [
        (1, (2.5e6, 7.5e6), [1.0]),
        (4, (2.5e6, 7.5e6), [0.75, 0.25]),
        (64, (3.7e6, 6.3e6), [0.63, 0.37]),
        (4000, (5e6, 5e6), [0.5, 0.5]),
    ],
)
def test_the_two_ways_are_planned_in_their_shares(
    flows: int, uplinks_bps: tuple[float, float], planned: list[float]
) -> None:
    answer = make_plan(
        PlanRequest(
            fabric=two_ways(uplinks_bps),
            edge_ports={},
            jobs=(Job("j", ("h1", "h2"), 1 << 20, flows_per_pair=flows),),
            default=DefaultRouting.ECMP,
            max_utilisation=0.95,
            objective=Objective.MIN_DELAY,
        )
    )
    assert answer.plan is not None
    paths = answer.plan.paths
    found = [share for path, share in zip(paths, shares(paths), strict=True) if path.source == "h1"]
    assert found == pytest.approx(planned)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def run(*arguments: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-B", flows_in_host.__file__, *arguments]
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.mark.parametrize(
    ("take", "give"),
    [
        (["tcp-take", "PORT", "4"], ["tcp-give", "127.0.0.1", "PORT", "0", "4", "3000", "1e7"]),
        (["tcp-take-in-turn", "PORT", "9"], ["tcp-give-in-turn", "127.0.0.1", "PORT", "9", "100"]),
    ],
)
def test_connections_are_opened_filled_and_read_to_their_end(take: list[str], give: list[str]) -> None:
    port = str(free_port())
    taker = run(*(port if word == "PORT" else word for word in take))
    try:
        assert taker.stdout is not None
        assert taker.stdout.readline() == b"ready\n"
        giver = run(*(port if word == "PORT" else word for word in give))
        giver.communicate(timeout=60)
        assert giver.returncode == 0
        taker.communicate(timeout=60)
        assert taker.returncode == 0
    finally:
        taker.kill()


def test_udp_comes_in_equal_numbers_from_ports_that_follow_each_other() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(60)
        first, port = 21_000, sock.getsockname()[1]
        giver = run("udp-give", "127.0.0.1", str(port), str(first), "4", "5", "1000")
        ports = [sock.recvfrom(2000)[1][1] for _ in range(20)]
        giver.communicate(timeout=60)
    assert ports == [first + number % 4 for number in range(20)]
