"""Max-min fair rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.maxmin import max_min_rates
from solver.baselines import ecmp
from solver.testing import demands, fabrics
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind


def _line(*capacities):
    nodes = tuple(Node(f"s{n}", NodeKind.SWITCH) for n in range(len(capacities) + 1))
    return Fabric(nodes, tuple(Link(f"s{n}", 1, f"s{n + 1}", 2, c) for n, c in enumerate(capacities)))


def _path(*numbers):
    return tuple(LinkId(f"s{n}", 1) for n in numbers)


def test_a_flow_over_two_links_gets_the_narrow_share_and_the_others_take_the_rest():
    # Bertsekas and Gallager's parking lot: the long flow and three on the first link get a quarter each.
    fabric = _line(4.0, 4.0)
    rates = max_min_rates(fabric, [_path(0, 1), _path(0), _path(0), _path(0), _path(1)])
    assert rates.tolist() == [1, 1, 1, 1, 3]


def test_what_a_limited_flow_leaves_goes_to_the_others():
    assert max_min_rates(_line(10.0), [_path(0)] * 3, [1.0, 100.0, 100.0]).tolist() == [1.0, 4.5, 4.5]


def test_no_flows_have_no_rates():
    assert max_min_rates(_line(1.0), []).shape == (0,)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_flow_crosses_a_full_link_on_which_nobody_has_more(data):
    fabric = data.draw(fabrics())
    paths = ecmp(fabric, data.draw(demands(fabric)), seed=1).single_paths
    rates = max_min_rates(fabric, paths)
    loads = np.zeros(len(fabric.links))
    most = np.zeros(len(fabric.links))
    for path, rate in zip(paths, rates, strict=True):
        for link in path:
            loads[fabric.link_index[link]] += rate
            most[fabric.link_index[link]] = max(most[fabric.link_index[link]], rate)
    capacities = fabric.capacities_bps
    assert np.all(loads <= capacities * (1 + 1e-9))
    for path, rate in zip(paths, rates, strict=True):
        links = [fabric.link_index[link] for link in path]
        assert any(loads[i] >= capacities[i] * (1 - 1e-9) and rate >= most[i] * (1 - 1e-9) for i in links)


def test_an_empty_path_and_an_unknown_link_are_named():
    with pytest.raises(InputError, match="flow 1 has an empty path"):
        max_min_rates(_line(1.0), [()])
    with pytest.raises(InputError, match="flow 2 uses link x:1"):
        max_min_rates(_line(1.0), [_path(0), (LinkId("x", 1),)])
