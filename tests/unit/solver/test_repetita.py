"""An independent answer key: REPETITA scales its demands so that the least maximum utilisation is 0.9."""

import os
from pathlib import Path

import pytest

from solver.files import read_demands
from solver.routing import Objective
from solver.solve import solve
from solver.testing import assert_conserves, assert_within_capacity
from topologies.files import read_fabric

DATA = os.environ.get("HEDDLE_TEST_DATA")
NETWORKS = (
    "Abilene", "Arpanet19728", "Bellcanada", "BtEurope", "Cesnet201006", "Cogentco", "Colt", "Dfn", "Garr201201",
    "Geant2012", "GtsCe", "Internode", "Interoute", "Ion", "Nsfcnet", "Oteglobe", "Sprint", "Surfnet", "Switch",
    "TataNld", "Uninett2011", "UsCarrier",
)  # fmt: skip


def network(name):
    folder = Path(DATA) / "repetita"
    fabric = read_fabric(folder / f"{name}.graph")
    return fabric, read_demands(folder / f"{name}.0000.demands", fabric)


@pytest.mark.skipif(DATA is None, reason="HEDDLE_TEST_DATA names no folder with the REPETITA networks")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_least_maximum_utilisation_of_a_real_network_agrees_with_the_key(name):
    routing = solve(*network(name), Objective.MIN_MAX_UTILISATION)
    # Rates are whole kbit/s, so the key is met from below.
    assert 0.8941 <= routing.certificate.value <= 0.9 + 5e-7
    assert routing.certificate.gap <= 1e-6
    assert routing.certificate.violation <= 1e-9
    assert_conserves(routing)
    assert_within_capacity(routing)


@pytest.mark.skipif(DATA is None, reason="HEDDLE_TEST_DATA names no folder with the REPETITA networks")
@pytest.mark.parametrize("name", ["Abilene", "BtEurope", "Sprint"])
def test_every_engine_agrees_on_a_real_network(name):
    fabric, demands = network(name)
    for objective in (Objective.MIN_MAX_UTILISATION, Objective.MIN_DELAY, Objective.MIN_QUEUEING_DELAY):
        values = [solve(fabric, demands, objective, engine=engine).certificate.value for engine in ("auto", "pulp")]
        assert values[0] == pytest.approx(values[1], rel=1e-6)
    found = solve(fabric, demands, Objective.MAX_CONCURRENT_FLOW, engine="potential", gap=1e-3).certificate
    assert 1 / 0.9 * (1 - 1e-3) <= found.value <= 1 / 0.8941
    assert found.gap <= 1e-3
