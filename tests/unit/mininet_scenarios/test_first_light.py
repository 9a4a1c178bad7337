"""What counters say of a run, and a run that fails says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mininet_scenarios import first_light
from mininet_scenarios.all_reduce import SizeResult, Sweep
from mininet_scenarios.first_light import FirstLight, Routing, cores_used, utilisation, worst_link_flows
from mininet_scenarios.testing import sound_run
from topologies.errors import HeddleError
from topologies.fabric import LinkId, NodeKind
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=10e6)
CORES = [node.id for node in K4.switches if node.tier == 3]


def with_pairs(pairs: dict[LinkId, float]) -> SizeResult:
    """A result in which these links carried so many ring pairs' bytes, and all others nothing."""
    result = sound_run().results[0]
    return replace(result, link_bytes={link: round(pairs.get(link, 0) * result.pair_bytes) for link in K4.link_by_id})


def between_switches() -> list[LinkId]:
    kinds = {node.id: node.kind for node in K4.nodes}
    return [link.id for link in K4.links if {kinds[link.source], kinds[link.target]} == {NodeKind.SWITCH}]


@pytest.mark.parametrize(("pairs", "flows"), [(0.0, 0), (0.4, 0), (0.97, 1), (1.04, 1), (2.9, 3)])
def test_flows_of_the_busiest_link_are_its_bytes_in_ring_pairs(pairs: float, flows: int) -> None:
    first, second, *_ = between_switches()
    assert worst_link_flows(K4, with_pairs({first: pairs, second: pairs / 2})) == flows


def test_what_a_hosts_own_link_carries_is_no_conflict() -> None:
    assert worst_link_flows(K4, with_pairs({K4.access_link("h1").id: 5.0, between_switches()[0]: 1.0})) == 1


def test_a_core_counts_as_used_by_flows_of_data_or_acknowledgements_and_not_by_discovery() -> None:
    down = [next(link for link in K4.link_by_id if link.node == core) for core in CORES]
    # As measured: one flow's data, one flow's acknowledgements, discovery over a minute.
    pairs = dict(zip(down, (1.008, 0.0042, 0.0006, 0.0), strict=True))
    assert cores_used(K4, with_pairs(pairs)) == (2, 4)


def test_what_discovery_sends_over_all_of_a_cores_links_does_not_add_up_to_a_flow() -> None:
    pairs = {link: 0.0006 for link in K4.link_by_id if link.node in CORES}
    assert cores_used(K4, with_pairs(pairs)) == (0, 4)


def test_utilisation_is_the_share_of_capacity_while_the_iterations_ran() -> None:
    result = replace(sound_run(seconds=2.0).results[0], link_bytes=dict.fromkeys(K4.link_by_id, 1_250_000))
    assert set(utilisation(K4, result).values()) == {0.5}


class FakeCluster:
    """Stands in for a cluster that needs root."""

    def __init__(self, *_: object) -> None:
        self.run = SimpleNamespace(path=Path("/nowhere"), environment={})
        self.stopped = False

    def __enter__(self) -> FakeCluster:
        return self

    def stop(self) -> None:
        self.stopped = True

    def forget_rules(self) -> None:
        pass


class DeadDaemon:
    """A daemon that fails before it has written a log."""

    def __init__(self, directory: Path, *_: object) -> None:
        self.log = directory / "daemon.log"

    def __enter__(self) -> DeadDaemon:
        raise HeddleError("the daemon does not start")

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_light, "Cluster", FakeCluster)
    monkeypatch.setattr(first_light, "Daemon", DeadDaemon)


def test_a_log_that_is_missing_does_not_hide_why_the_run_failed(tmp_path: Path) -> None:
    with FirstLight(K4, tmp_path, lambda _: None) as emulation, pytest.raises(HeddleError, match="does not start"):
        emulation.compare(1, [Routing.ECMP], Sweep((1 << 20,)))


def test_a_terminal_that_is_gone_does_not_keep_the_cluster_up(tmp_path: Path) -> None:
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        if text == "taking the cluster down":
            raise OSError("Input/output error")

    with pytest.raises(OSError, match="Input/output error"), FirstLight(K4, tmp_path, tell) as emulation:
        pass
    assert said[-1] == "taking the cluster down"
    assert emulation._cluster.stopped
