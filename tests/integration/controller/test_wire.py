"""What the wire writes and reads, on a real switch: an Open vSwitch of the test's own in its own namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("wire_child.py")
ROOT = Path(__file__).parents[3]
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
DPID = 0xABC
TAMPERED_COOKIE = 0x4844_0400_0000_0001
PATIENCE_S = 60


@pytest.fixture(scope="module")
def rundir(tmp_path_factory: pytest.TempPathFactory, wait_until: Callable[..., None]) -> Iterator[Path]:
    """The run directory of an Open vSwitch whose bridge ``br`` has two ports and one foreign flow."""
    path = tmp_path_factory.mktemp("ovs")
    namespace = f"wiretest-{os.getpid()}"
    environment = {**os.environ, "OVS_RUNDIR": str(path), "OVS_LOGDIR": str(path), "OVS_DBDIR": str(path)}

    def call(*command: str) -> None:
        subprocess.run(command, check=True, env=environment, timeout=PATIENCE_S, capture_output=True)

    call("ip", "netns", "add", namespace)
    inside = ("ip", "netns", "exec", namespace)
    running = []
    try:
        call(*inside, "ip", "link", "set", "lo", "up")
        call("ovsdb-tool", "create", f"{path}/conf.db", SCHEMA)
        running.append(
            subprocess.Popen(
                ["ovsdb-server", f"{path}/conf.db", f"--remote=punix:{path}/db.sock"],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
        )
        wait_until((path / "db.sock").exists, "ovsdb-server listens")
        call("ovs-vsctl", f"--db=unix:{path}/db.sock", "--no-wait", "init")
        running.append(
            subprocess.Popen(
                [*inside, "ovs-vswitchd", f"unix:{path}/db.sock"], env=environment, stderr=subprocess.DEVNULL
            )
        )
        call(
            "ovs-vsctl", f"--db=unix:{path}/db.sock",
            "--", "add-br", "br", "--", "set", "bridge", "br", "datapath_type=netdev", "fail_mode=secure",
            "protocols=OpenFlow13", f"other_config:datapath-id={DPID:016x}", "other_config:disable-in-band=true",
            # A bridge that gets its first controller forgets all flows, so it has one that is not there.
            "--", "set-controller", "br", "tcp:127.0.0.1:1",
            "--", "add-port", "br", "p1", "--", "set", "interface", "p1", "type=internal", "ofport_request=1",
            "--", "add-port", "br", "p2", "--", "set", "interface", "p2", "type=internal", "ofport_request=2",
        )  # fmt: skip
        call(*inside, "ip", "link", "set", "p1", "up")
        call("ovs-ofctl", "-O", "OpenFlow13", "add-flow", f"unix:{path}/br.mgmt", "table=9,priority=3,actions=drop")
        # Tagged as ours, but not what that cookie stands for.
        tampered = f"cookie=0x{TAMPERED_COOKIE:016x},table=3,priority=99,actions=output:1"
        call("ovs-ofctl", "-O", "OpenFlow13", "add-flow", f"unix:{path}/br.mgmt", tampered)
        (path / "namespace").write_text(namespace)
        yield path
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(PATIENCE_S)
        call("ip", "netns", "del", namespace)


@pytest.fixture(scope="module")
def whole(rundir: Path, framework: str) -> dict[str, Any]:
    """What the child saw on the bridge, with either framework."""
    child = subprocess.Popen(
        ["ip", "netns", "exec", (rundir / "namespace").read_text(), sys.executable, str(CHILD)],
        env={**os.environ, "HEDDLE_FRAMEWORK": framework, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        target = f"tcp:127.0.0.1:{child.stdout.readline().strip()}"
        database = f"--db=unix:{rundir}/db.sock"
        subprocess.run(["ovs-vsctl", database, "set-controller", "br", target], check=True, timeout=PATIENCE_S)
        output, _ = child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
        child.wait()
    result: dict[str, Any] = json.loads(output)
    assert "error" not in result, result["error"]
    return result


@pytest.fixture(scope="module", params=["bundled", "plain"])
def said(whole: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """The same, of the rules that went in bundles or plainly."""
    chosen: dict[str, Any] = whole[request.param]
    return chosen


def test_a_real_switch_comes_up_with_its_ports(said: dict[str, Any]) -> None:
    assert said["dpid"] == DPID
    assert said["ports"] == {"1": ["p1", True], "2": ["p2", False]}


def test_rules_of_every_shape_are_accepted_and_read_back_equal(said: dict[str, Any]) -> None:
    assert said["refused"] == []
    assert said["missing"] == []
    assert said["extra"] == []
    assert said["same_groups"]
    assert said["same_meters"]


def test_foreign_flows_are_counted_and_left_alone(said: dict[str, Any]) -> None:
    assert said["foreign_at_first"] == said["foreign_then"] == said["foreign_at_last"] == 1


def test_a_flow_under_our_mark_with_other_content_is_told_apart_and_left_alone(said: dict[str, Any]) -> None:
    assert said["stray"] == [[3, 99, TAMPERED_COOKIE]]


def test_a_frame_sent_to_the_tables_comes_up_whole(said: dict[str, Any]) -> None:
    assert said["frame_back"]


def test_counters_come_for_physical_ports_only(said: dict[str, Any]) -> None:
    assert said["counters"] == [1, 2]


def test_a_flow_that_took_anothers_place_survives_its_removal(said: dict[str, Any]) -> None:
    assert said["replace_refused"] == []
    assert said["replaced"]


def test_a_switch_with_bundles_is_not_taken_for_one_without(whole: dict[str, Any]) -> None:
    assert whole["unbundled"] == 0


def test_of_a_bundle_with_a_refused_message_nothing_is_carried_out(whole: dict[str, Any]) -> None:
    assert whole["bundled"]["refusals"] == ["2 OFPET_BAD_ACTION OFPBAC_BAD_OUT_GROUP"]
    assert whole["bundled"]["changed"] == []
    # Meters go before the bundle, which cannot hold them.
    assert whole["bundled"]["metered"]


def test_sent_plainly_all_but_what_is_refused_is_carried_out(whole: dict[str, Any]) -> None:
    assert whole["plain"]["refusals"] == [
        "2 OFPET_BAD_ACTION OFPBAC_BAD_OUT_GROUP", "3 OFPET_GROUP_MOD_FAILED OFPGMFC_GROUP_EXISTS",
    ]  # fmt: skip
    assert whole["plain"]["changed"] == ["the default rule of priority 1 for in_port=2"]
    assert whole["plain"]["metered"]


def test_everything_of_ours_can_be_removed(said: dict[str, Any]) -> None:
    assert said["removal_refused"] == []
    assert said["left"] == ""
