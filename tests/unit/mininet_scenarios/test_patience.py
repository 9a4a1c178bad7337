"""Nothing is waited for without end: what hangs, or has ended already, is an error that says so."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mininet_scenarios import cluster, link_efficiency, openvswitch, rundir
from mininet_scenarios.daemon import Daemon, free_address
from mininet_scenarios.rundir import RunDirectory
from topologies.errors import HeddleError
from topologies.fat_tree import fat_tree

K2 = fat_tree(2, capacity_bps=10e6)
AGES = ["sleep", "600"]
RECEIVER = [sys.executable, "-c", f"import time; print({json.dumps({'port': 1})!r}, flush=True); time.sleep(600)"]


@pytest.fixture(name="run")
def run_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setattr(rundir, "ROOT", tmp_path / "emulations")
    return RunDirectory.create()


def test_a_command_that_builds_the_cluster_may_not_hang(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_COMMAND_PATIENCE_S", 0.1)
    with pytest.raises(HeddleError, match=r"failed at 'sleep 600': it did not end within 0\.1 s"):
        cluster._run(AGES, run)


def test_a_command_of_open_vswitch_may_not_hang(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvswitch, "_CALL_PATIENCE_S", 0.1)
    monkeypatch.setattr(openvswitch, "program", lambda _: AGES[0])
    with pytest.raises(HeddleError, match=r"ovs-vsctl did not end within 0\.1 s"):
        openvswitch.OpenVSwitch(run)._call("ovs-vsctl", AGES[1])


@pytest.mark.parametrize("receiver", [RECEIVER, AGES])
def test_a_receiver_that_falls_silent_is_not_waited_for_without_end(
    receiver: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_in(_host: str, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(receiver if "receive" in command else ["true"], **options)

    monkeypatch.setattr(link_efficiency, "_PATIENCE_S", 1.0)
    one, other = (node.id for node in K2.hosts)
    fake: Any = SimpleNamespace(fabric=K2, start_in=start_in)
    with pytest.raises(HeddleError, match="a TCP flow from h1 to h2 did not get through"):
        link_efficiency.link_efficiency(fake, one, other)


def test_a_daemon_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Daemon(tmp_path, None, ("127.0.0.1", port)) as daemon, pytest.raises(HeddleError) as refused:
            daemon.wait_ready(timeout_s=600)
    assert re.fullmatch(rf"the daemon ended before it was ready; its log says: .*{port}.*", str(refused.value))


def test_a_daemon_that_is_not_ready_in_time_says_what_it_waits_for(tmp_path: Path) -> None:
    told: list[str] = []
    with Daemon(tmp_path, K2, free_address()) as daemon, pytest.raises(HeddleError) as refused:
        daemon.wait_ready(told.append, timeout_s=0)
    assert f"the daemon is not ready after 0 s: {told[-1]}" in str(refused.value)
