"""Routings written as JSON and read back: what survives, and what is refused."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from solver import routing_files
from solver.baselines import shortest
from solver.demand import Demand
from solver.errors import CertificateError, Infeasible, SolverError
from solver.routing import Objective
from solver.routing_files import certify_statement, routing_from_json, routing_to_json
from solver.solve import solve
from solver.testing import demands, fabrics
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree

FAT_TREE = fat_tree(4, capacity_bps=10e6)
RING = [Demand(f"h{n}", f"h{n % 16 + 1}", 6e6) for n in range(1, 17)]
ACROSS = [Demand(f"h{n}", f"h{(n + 6) % 16 + 1}", 4e6) for n in range(1, 17)]


def two_ways(delay_s=1.0, capacity_bps=10.0):
    """A way over b and a longer one over c and e, from a to d."""
    links = []
    for port, (a, b) in enumerate(("ab", "bd", "ac", "ce", "ed"), start=1):
        links += [Link(a, port, b, port, capacity_bps, delay_s), Link(b, port, a, port, capacity_bps, delay_s)]
    return Fabric(tuple(Node(name, NodeKind.SWITCH) for name in "abcde"), tuple(links))


DEMAND = [Demand("a", "d", 15.0)]


def written(fabric, wanted, objective=Objective.MIN_DELAY, **options):
    """As a file holds it."""
    return json.loads(json.dumps(routing_to_json(solve(fabric, wanted, objective, **options), every_path=True)))


def check(data, fabric, wanted, allowed=None):
    return certify_statement(routing_from_json(data, "routing.json", fabric, wanted), fabric, wanted, allowed)


@pytest.mark.parametrize("single_path", [False, True])
@pytest.mark.parametrize("objective", Objective)
def test_a_routing_read_back_has_the_same_value_bound_and_gap(objective, single_path):
    data = written(FAT_TREE, RING, objective, single_path=single_path)

    proof = check(data, FAT_TREE, RING)

    assert proof.objective is objective
    assert proof.value == pytest.approx(data["objective"]["value"])
    assert proof.bound == pytest.approx(data["objective"]["bound"])
    assert proof.gap == pytest.approx(data["objective"]["gap"], abs=1e-6)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_routing_that_is_certified_is_certified_from_its_file(data):
    fabric = data.draw(fabrics())
    wanted = data.draw(demands(fabric))
    objective, single_path = data.draw(st.sampled_from(Objective)), data.draw(st.booleans())
    try:
        content = written(fabric, wanted, objective, single_path=single_path)
    except (Infeasible, SolverError):
        assume(False)

    assert check(content, fabric, wanted).gap == pytest.approx(content["objective"]["gap"], abs=2e-6)


def test_the_file_has_all_that_was_found():
    data = written(two_ways(), DEMAND)

    assert data["status"] == "optimal"
    assert data["objective"] == {"name": "min-delay", "value": 35.0, "bound": 35.0, "gap": 0.0}
    assert (data["max_utilisation"], data["max_utilisation_allowed"]) == (1.0, 1.0)
    assert data["total_delay"] == 35.0
    assert data["loads"] == pytest.approx({"a:1": 10.0, "b:2": 10.0, "a:3": 5.0, "c:4": 5.0, "e:5": 5.0})
    assert sum(data["prices"].values()) == pytest.approx(1.0)
    (route,) = data["routes"]
    assert (route["source"], route["target"], route["rate_bps"], route["carried_bps"]) == ("a", "d", 15.0, 15.0)
    assert [path["links"] for path in route["paths"]] == [["a:1", "b:2"], ["a:3", "c:4", "e:5"]]
    assert [path["rate_bps"] for path in route["paths"]] == pytest.approx([10.0, 5.0])
    assert [path["delay_s"] for path in route["paths"]] == pytest.approx([2.0, 3.0])
    assert set(data["seconds"]) == {"build", "solve", "certify", "total"}
    assert data["engine"]
    assert data["reason"]
    assert "levels" not in data


def test_unknown_delays_are_null():
    fabric = two_ways(delay_s=None)

    data = written(fabric, DEMAND, Objective.MIN_MAX_UTILISATION)

    assert data["total_delay"] is None
    assert {path["delay_s"] for path in data["routes"][0]["paths"]} == {None}
    assert check(data, fabric, DEMAND).value == pytest.approx(0.75)


def test_fair_levels_are_written_with_their_demands():
    fabric, wanted = two_ways(), [Demand("a", "d", 30.0), Demand("e", "c", 1.0)]

    data = written(fabric, wanted, Objective.MAX_MIN_FAIR)

    assert [level["demands"] for level in data["levels"]] == [[0], [1]]
    assert data["levels"][0]["prices"]
    assert check(data, fabric, wanted).levels[0].ratio == pytest.approx(data["levels"][0]["ratio"])


def test_equal_pairs_are_told_apart_by_their_order():
    fabric, wanted = two_ways(), [Demand("a", "d", 3.0), Demand("a", "b", 1.0), Demand("a", "d", 5.0)]
    data = written(fabric, wanted, single_path=True)

    data["routes"] = [data["routes"][1], data["routes"][0], data["routes"][2]]

    assert check(data, fabric, wanted).value == pytest.approx(17.0)


def test_a_baseline_has_no_proof_to_write():
    with pytest.raises(CertificateError, match="no proof"):
        routing_to_json(shortest(FAT_TREE, RING), every_path=True)


@pytest.mark.parametrize("single_path", [False, True])
def test_a_file_cut_off_says_so_and_cannot_be_verified(monkeypatch, single_path):
    monkeypatch.setattr(routing_files, "MOST_PATHS", 5)
    routing = solve(FAT_TREE, RING, single_path=single_path, engine="aggregated")

    cut, whole = (routing_to_json(routing, every_path=every) for every in (False, True))

    written_paths = [path for route in cut["routes"] for path in route["paths"]]
    assert 0 < len(written_paths) <= 5
    assert cut["routes"] == whole["routes"][: len(cut["routes"])]
    assert cut["routes_omitted"] == 16 - len(cut["routes"])
    assert "routes_omitted" not in whole
    with pytest.raises(InputError, match=r"leaves out .* --json --paths"):
        check(cut, FAT_TREE, RING)


def bare(**more):
    """Somebody else's routing: nothing but paths."""
    paths = [
        {"links": ["a:1", "b:2"], "rate_bps": 8.0},
        {"links": ["a:3", "c:4", "e:5"], "rate_bps": 7.0},
    ]
    return {"objective": {"name": "min-delay"}, "routes": [{"source": "a", "target": "d", "paths": paths}], **more}


@pytest.mark.parametrize(
    ("objective", "value", "bound"),
    [
        ("min-delay", 37.0, 30.0),
        ("min-max-utilisation", 0.8, 0.0),
        ("max-concurrent-flow", 1.0, 100 / 30),
        ("max-min-fair", 1.0, 1.0),
        ("min-queueing-delay", 31 / 3, 0.0),
    ],
)
def test_paths_alone_are_checked_against_what_holds_for_any_routing(objective, value, bound):
    data = {**bare(), "objective": {"name": objective}}
    statement = routing_from_json(data, "theirs.json", two_ways(), DEMAND)

    proof = certify_statement(statement, two_ways(), DEMAND)

    assert not statement.has_prices
    assert (proof.value, proof.bound) == pytest.approx((value, bound))


def test_prices_of_others_prove_a_bound():
    statement = routing_from_json(bare(prices={"b:2": 1.0}), "theirs.json", two_ways(), DEMAND)

    assert statement.has_prices
    assert certify_statement(statement, two_ways(), DEMAND).bound == pytest.approx(35.0)


def test_a_fair_routing_without_levels_is_known_to_be_unproven():
    data = {**bare(), "objective": {"name": "max-min-fair"}}

    assert routing_from_json(data, "theirs.json", two_ways(), DEMAND).fairness_unproven


def first_path(data):
    return data["routes"][0]["paths"][0]


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda data: first_path(data).update(rate_bps=9.0), "do not add up to what is carried"),
        (
            lambda data: (first_path(data).update(rate_bps=9.0), data["routes"][0].update(carried_bps=14.0)),
            "all demands",
        ),
        (lambda data: first_path(data).update(rate_bps=-10.0), "negative"),
        (lambda data: first_path(data).update(links=["a:1", "e:5"]), "the path of a → d breaks at e:5"),
        (lambda data: first_path(data).update(links=["a:1"]), "the path of a → d ends at"),
        (lambda data: first_path(data).update(links=["a:1", "b:1", "a:1", "b:2"]), "loses|twice|overloads"),
        (lambda data: data["prices"].update({next(iter(data["prices"])): -1.0}), "price is negative"),
        (lambda data: data["prices"].clear(), "bound 35, and 30 is"),
        (lambda data: data["objective"].update(value=34.0), "value 34, and 35 is"),
        (lambda data: data["objective"].update(bound=35.1), "bound 35.1, and 35 is"),
        (lambda data: data["objective"].update(gap=0.2), "gap 0.2, and 0 is"),
        (lambda data: data.update(max_utilisation=0.5), "max_utilisation 0.5, and 1 is"),
        (lambda data: data.update(max_utilisation_allowed=0.5), "overloads a link"),
        (lambda data: data.update(total_delay=30.0), "total_delay 30, and 35 is"),
        (lambda data: data["loads"].update({"a:1": 4.0}), "a:1 carries 4 bit/s, and its paths make 10"),
        (lambda data: data["loads"].pop("a:3"), "a:3 carries 0 bit/s, and its paths make 5"),
        (lambda data: data["routes"].clear(), "all demands"),
    ],
)
def test_a_tampered_file_is_refused_and_the_cause_is_named(tamper, said):
    data = written(two_ways(), DEMAND)
    tamper(data)

    with pytest.raises(CertificateError, match=said):
        check(data, two_ways(), DEMAND)


def test_a_status_that_the_prices_do_not_prove_is_refused():
    with pytest.raises(CertificateError, match=r"optimal, and a gap of 0\.189"):
        check(bare(status="optimal"), two_ways(), DEMAND)


def test_a_fabric_with_less_capacity_is_overloaded():
    data = written(two_ways(), DEMAND)

    with pytest.raises(CertificateError, match=r"overloads a link by .* % of what it may carry"):
        check(data, two_ways(capacity_bps=8.0), DEMAND)


def test_a_level_of_fairness_without_prices_is_refused():
    data = written(two_ways(), [Demand("a", "d", 30.0)], Objective.MAX_MIN_FAIR)
    data["levels"][0]["prices"] = {}

    with pytest.raises(CertificateError, match=r"says bound 0\.6667?.*, and 1 is what it has"):
        check(data, two_ways(), [Demand("a", "d", 30.0)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flows": {}}, "the file has an unknown key 'flows'"),
        ({"objective": {"name": "best"}}, "name 'best'"),
        ({"objective": {"value": 1.0}}, "lacks 'name'"),
        ({"routes": None}, "has routes None"),
        (
            {"routes": [{"source": "a", "target": "d", "paths": [], "hops": 1}]},
            "route 'a → d' has an unknown key 'hops'",
        ),
        ({"routes": [{"source": "a", "target": "d", "paths": [{"links": [], "rate_bps": 1}]}]}, "has links"),
        ({"routes": [{"source": "a", "target": "b", "paths": []}]}, "a → b answers no demand"),
        ({"routes": 2 * bare()["routes"]}, "a → d answers no demand, or one that has a route already"),
        ({"routes": [{"source": "a", "target": "d", "rate_bps": 5.0, "paths": []}]}, "for 5 bit/s, its demand for 15"),
        ({"routes": [{"source": "a", "target": "d", "paths": [{"links": ["z:1"], "rate_bps": 1}]}]}, "'z:1', which is"),
        ({"prices": {"z:1": 1.0}}, "the prices name 'z:1'"),
        ({"loads": {"z:1": 1.0}}, "the loads name 'z:1'"),
        ({"max_utilisation_allowed": 1.5}, "max_utilisation_allowed 1.5"),
        ({"prices": {"a:1": float("nan")}}, "prices|a:1"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(change, said):
    with pytest.raises(InputError, match=said) as error:
        check({**bare(), **change}, two_ways(), DEMAND)
    assert str(error.value).startswith("theirs.json") or str(error.value).startswith("routing.json")


def test_a_demand_of_an_unknown_node_is_named():
    with pytest.raises(InputError, match="'z'"):
        check({**bare(), "routes": []}, two_ways(), [Demand("a", "z", 1.0)])


def test_a_file_without_demands_answers_nothing():
    with pytest.raises(InputError, match="no demands"):
        check({**bare(), "routes": []}, two_ways(), [])
