"""Emulated fabrics with a daemon, for tests on real switches."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mininet_scenarios.cluster import Cluster
from mininet_scenarios.daemon import Daemon, free_address
from topologies.fabric import Fabric
from topologies.fat_tree import fat_tree

CAPACITY_BPS = 100e6
PATIENCE_S = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0 and shutil.which("ovs-vswitchd"):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs root and Open vSwitch; run 'make test'"))


@pytest.fixture(name="wait_until", scope="session")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait for a condition, looking often; fails with what was waited for."""
    deadline = time.monotonic() + timeout_s
    pause = 0.005
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain: {what}"
        pause = min(pause * 1.5, 0.1)
        time.sleep(pause)


class Rig:
    """A running cluster and its daemon."""

    def __init__(self, fabric: Fabric, cluster: Cluster, daemon: Daemon) -> None:
        self.fabric, self.cluster, self.daemon = fabric, cluster, daemon
        self.client = daemon.client

    def run_in(self, host: str, *command: str) -> tuple[int, str]:
        """Run a command in a host to its end; exit code and output."""
        process = self.cluster.start_in(host, *command, stdout=-1, stderr=-2)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output.decode()

    def run_ofctl(self, switch: str, command: str) -> str:
        """What ovs-ofctl says of a switch."""
        socket = self.cluster.switch.management_socket(switch)
        return subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow13", command, socket], capture_output=True, text=True, check=True
        ).stdout

    def ping(self, source: str, target: str, *options: str) -> tuple[int, str]:
        """Ping by name."""
        return self.run_in(source, "ping", "-n", "-W", "2", *options, self.fabric.node_by_id[target].ip or "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on both frameworks; a module with a ``FIRST_FRAMEWORK`` leaves the other one to acceptance runs.

    That is for what does not differ between them but in parts that have unit tests on both.
    """
    if "framework" not in metafunc.fixturenames:
        return
    first = getattr(metafunc.module, "FIRST_FRAMEWORK", None)
    later = [pytest.mark.acceptance] if first else []
    names = sorted(("ryu", "os-ken"), key=lambda name: name != first)
    params = [pytest.param(name, marks=later if name != first else []) for name in names]
    metafunc.parametrize("framework", params, indirect=True, scope="module")


@pytest.fixture(scope="module")
def framework(request: pytest.FixtureRequest) -> str:
    """Ryu or os-ken, as `pytest_generate_tests` says."""
    return str(request.param)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, framework: str) -> Iterator[Rig]:
    """A k=4 fat-tree, its daemon ready; one for a module and framework."""
    with make_rig(tmp_path_factory.mktemp("daemon"), framework) as made:
        yield made


@pytest.fixture(name="make_rig", scope="session")
def make_rig_fixture() -> type[make_rig]:
    """For rigs other than `rig`."""
    return make_rig


class make_rig:  # noqa: N801 - reads as a function
    """Build a rig; whatever fails, all of it is taken down."""

    def __init__(
        self, directory: Path, framework: str, *, default: str = "ecmp", declared: bool = True, k: int = 4
    ) -> None:
        self._fabric = fat_tree(k, capacity_bps=CAPACITY_BPS, delay_s=1e-5)
        self._openflow = free_address()
        self._cluster = Cluster(self._fabric, self._openflow)
        self._daemon = Daemon(
            directory,
            self._fabric if declared else None,
            self._openflow,
            default=default,
            environment=self._cluster.run.environment | {"HEDDLE_FRAMEWORK": framework},
        )

    def __enter__(self) -> Rig:
        self._cluster.__enter__()
        try:
            self._daemon.start()
            self._daemon.wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return Rig(self._fabric, self._cluster, self._daemon)

    def __exit__(self, *_: object) -> None:
        self._daemon.stop()
        self._daemon.client.close()
        self._cluster.stop()
