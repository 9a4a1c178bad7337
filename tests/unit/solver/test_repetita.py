"""An independent answer key: REPETITA scales its demands so that the least maximum utilisation is 0.9."""

import os
from pathlib import Path

import pytest

from solver.demand import Demand
from solver.routing import Objective
from solver.solve import solve
from solver.testing import assert_conserves, assert_within_capacity
from topologies.fabric import Fabric, Link, Node, NodeKind

DATA = os.environ.get("HEDDLE_TEST_DATA")
# The small ones; Bellcanada has parallel links.
NETWORKS = ("Abilene", "Arpanet19728", "BtEurope", "Bellcanada")


def _rows(text, section):
    """Split fields of the rows below ``SECTION n`` and its header line."""
    lines = iter(text.splitlines())
    count = next(int(line.split()[1]) for line in lines if line.startswith(section))
    next(lines)
    return [next(lines).split() for _ in range(count)]


def _read(folder, name):
    graph = (folder / f"{name}.graph").read_text(encoding="utf-8")
    nodes = tuple(Node(f"n{index}", NodeKind.SWITCH) for index, _ in enumerate(_rows(graph, "NODES")))
    links = tuple(
        Link(f"n{source}", port, f"n{target}", port, float(kbps) * 1e3, float(delay_us) * 1e-6)
        for port, (_, source, target, _, kbps, delay_us) in enumerate(_rows(graph, "EDGES"), start=1)
    )
    wanted = (folder / f"{name}.0000.demands").read_text(encoding="utf-8")
    rows = _rows(wanted, "DEMANDS")
    return Fabric(nodes, links), [Demand(f"n{a}", f"n{b}", float(kbps) * 1e3) for _, a, b, kbps in rows if float(kbps)]


@pytest.mark.skipif(DATA is None, reason="HEDDLE_TEST_DATA names no folder with the REPETITA networks")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_least_maximum_utilisation_of_a_real_network_agrees_with_the_key(name):
    fabric, demands = _read(Path(DATA) / "repetita", name)
    routing = solve(fabric, demands, Objective.MIN_MAX_UTILISATION)
    # Rates are whole kbit/s, so the key is met from below.
    assert 0.894 <= routing.certificate.value <= 0.9 + 1e-6
    assert routing.certificate.gap < 1e-6
    assert_conserves(routing)
    assert_within_capacity(routing)
