"""Independent answers on real demands: a data centre's tunnels, and the largest network of the Topology Zoo."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from solver.demand import Demand
from solver.distance import Allowed
from solver.routing import Objective, Status
from solver.solve import Session, solve
from topologies.files import read_fabric

DATA = os.environ.get("HEDDLE_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="HEDDLE_TEST_DATA names no folder with these networks")


def tunnels(path, fabric):
    """Lines of ``s t:path,path,…`` with paths as ``a-b-c``."""
    link = {(one.source, one.target): one.id for one in fabric.links}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        pair, _, paths = line.partition(":")
        walks = [walk.split("-") for walk in paths.split(",")]
        found[tuple(pair.split())] = tuple(tuple(link[step] for step in pairwise(walk)) for walk in walks)
    return Allowed(paths=found)


@needs_data
def test_every_hour_of_a_data_centre_has_the_published_optimum_over_its_tunnels():
    folder = Path(DATA) / "facebook_pod"
    fabric = read_fabric(folder / "Facebook_pod_a.json")
    allowed = tunnels(folder / "tunnels.txt", fabric)
    matrices = np.loadtxt(folder / "5.hist").reshape(-1, 4, 4)
    session = Session(fabric)
    ours = []
    for matrix in matrices:
        demands = [Demand(str(a), str(b), matrix[a, b]) for a, b in zip(*np.nonzero(matrix), strict=True)]
        ours.append(session.solve(demands, Objective.MIN_MAX_UTILISATION, allowed=allowed).certificate)
    np.testing.assert_allclose([one.value for one in ours], np.loadtxt(folder / "5.opt"), rtol=0, atol=1e-6)
    assert max(one.gap for one in ours) <= 1e-6


@needs_data
def test_half_a_million_demands_get_their_share_with_a_proof():
    fabric = read_fabric(Path(DATA) / "teal" / "Kdl.json")
    names = [node.id for node in fabric.nodes]
    demands = [Demand(a, b, 1.0) for a in names for b in names if a != b]
    routing = solve(fabric, demands, Objective.MAX_CONCURRENT_FLOW)
    assert routing.certificate.gap <= 0.01
    assert routing.status in (Status.OPTIMAL, Status.FEASIBLE)
    assert routing.engine == "potential"
