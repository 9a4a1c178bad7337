"""A host counts as reached once its ping was answered, and never because nobody asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mininet_scenarios.reachability import await_reachable
from topologies.errors import HeddleError
from topologies.fat_tree import fat_tree

K2 = fat_tree(2, capacity_bps=10e6)
HOSTS = [node.id for node in K2.hosts]


def cluster(start: Callable[..., subprocess.Popen[bytes]]) -> Any:
    return SimpleNamespace(fabric=K2, start_in=lambda _host, *command, **options: start(command, **options))


def with_ping(directory: Path, script: str) -> Any:
    """A cluster whose hosts ping with this script, and run ours as they are given it."""
    (directory / "ping").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "ping").chmod(0o755)
    environment = {"PATH": f"{directory}:{os.environ['PATH']}"}
    return cluster(lambda command, **options: subprocess.Popen(command, env=environment, **options))


def test_hosts_that_answer_are_reached(tmp_path: Path) -> None:
    await_reachable(with_ping(tmp_path, "exit 0"), HOSTS, patience_s=0)


def test_a_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeddleError, match=r"h\d does not reach h\d"):
        await_reachable(with_ping(tmp_path, "exit 1"), HOSTS, patience_s=0)


def test_a_host_is_asked_until_it_answers(tmp_path: Path) -> None:
    await_reachable(with_ping(tmp_path, f"mkdir {tmp_path}/asked-$$ && [ $(ls {tmp_path} | wc -l) -gt 5 ]"), HOSTS)
    assert len(list(tmp_path.glob("asked-*"))) >= 5


@pytest.mark.parametrize("command", [["false"], ["sh", "-c", "kill -KILL $$"]])
def test_pings_that_never_ran_reach_nobody(command: list[str]) -> None:
    with pytest.raises(HeddleError, match="does not reach"):
        await_reachable(cluster(lambda _command, **options: subprocess.Popen(command, **options)), HOSTS, patience_s=0)
