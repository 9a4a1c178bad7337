"""What makes no sense gets a clear error or a stated meaning, before any solver sees it."""

import math

import pytest

from solver.demand import Demand
from solver.distance import Allowed
from solver.errors import Infeasible
from solver.routing import Objective
from solver.solve import OnOverload, Session, solve
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind

IMPOSSIBLE = [0.0, -1.0, math.inf, -math.inf, math.nan]


def line(capacity_bps=10.0, delay_s=1.0):
    """a – b – c, duplex."""
    nodes = tuple(Node(name, NodeKind.SWITCH) for name in "abc")
    ends = (("a", 1, "b", 1), ("b", 1, "a", 1), ("b", 2, "c", 1), ("c", 1, "b", 2))
    return Fabric(nodes, tuple(Link(*end, capacity_bps=capacity_bps, delay_s=delay_s) for end in ends))


@pytest.mark.parametrize("rate", IMPOSSIBLE)
def test_an_impossible_rate_or_cap_names_the_demand(rate):
    with pytest.raises(InputError, match=r"demand a → c has rate_bps .* must be above 0 and finite"):
        Demand("a", "c", rate)
    with pytest.raises(InputError, match=r"demand a → c has cap_bps .* must be above 0 and finite"):
        Demand("a", "c", 1.0, rate)


@pytest.mark.parametrize("capacity", IMPOSSIBLE)
def test_an_impossible_capacity_names_the_link(capacity):
    with pytest.raises(InputError, match=r"link a:1 has capacity_bps .* must be above 0 and finite"):
        line(capacity_bps=capacity)


@pytest.mark.parametrize("delay", [-1.0, math.inf, math.nan])
def test_an_impossible_delay_names_the_link(delay):
    with pytest.raises(InputError, match=r"link a:1 has delay_s .* must be finite and not negative"):
        line(delay_s=delay)


def test_a_missing_capacity_names_the_link():
    with pytest.raises(InputError, match=r"link a:1 has no capacity_bps; declare it"):
        solve(line(capacity_bps=None), [Demand("a", "c", 1.0)])


def test_a_demand_from_a_node_to_itself_is_refused():
    with pytest.raises(InputError, match="demand a → a starts where it ends"):
        Demand("a", "a", 1.0)


@pytest.mark.parametrize("pair", [("a", "x"), ("x", "a")])
def test_an_unknown_node_is_named(pair):
    with pytest.raises(InputError, match="names 'x', which is not a node of the fabric"):
        solve(line(), [Demand(*pair, 1.0)])


def test_two_links_of_one_port_are_refused_and_parallel_cables_add_up():
    fabric = line()
    with pytest.raises(InputError, match="link 'a:1' appears twice"):
        Fabric(fabric.nodes, (*fabric.links, Link("a", 1, "c", 7, 1.0, 1.0)))
    twice = Fabric(fabric.nodes, (*fabric.links, Link("a", 2, "b", 3, 10.0, 1.0), Link("b", 4, "c", 2, 10.0, 1.0)))
    routing = solve(twice, [Demand("a", "c", 20.0)])
    assert routing.utilisations().max() == pytest.approx(1.0)


@pytest.mark.parametrize("engine", ["auto", "aggregated", "symmetry", "pulp"])
def test_demands_between_the_same_nodes_are_separate_and_add_up(engine):
    routing = solve(line(), [Demand("a", "c", 4.0), Demand("a", "c", 6.0)], engine=engine)
    assert routing.carried_bps == pytest.approx([4.0, 6.0])
    assert routing.utilisations().max() == pytest.approx(1.0)
    with pytest.raises(Infeasible, match="11 bit/s must cross links that carry 10 bit/s"):
        solve(line(), [Demand("a", "c", 5.0), Demand("a", "c", 6.0)], engine=engine)


@pytest.mark.parametrize("objective", list(Objective))
@pytest.mark.parametrize("engine", ["auto", "pulp"])
def test_a_pair_without_a_path_is_named_whatever_is_asked(objective, engine):
    cut = line().without_links([LinkId("b", 2)])
    with pytest.raises(Infeasible, match="no path leads from a to c") as caught:
        solve(cut, [Demand("c", "a", 1.0), Demand("a", "c", 1.0)], objective, engine=engine)
    assert caught.value.pair == ("a", "c")


@pytest.mark.parametrize("objective", list(Objective))
def test_a_fabric_without_links_has_no_path(objective):
    with pytest.raises(Infeasible, match="no path leads from a to c"):
        solve(Fabric(line().nodes, ()), [Demand("a", "c", 1.0)], objective)


@pytest.mark.parametrize("objective", list(Objective))
def test_no_demands_are_refused(objective):
    with pytest.raises(InputError, match="there are no demands to route"):
        solve(line(), [], objective)


def test_too_few_hops_leave_no_path():
    with pytest.raises(Infeasible, match="no path leads from a to c"):
        solve(line(), [Demand("a", "c", 1.0)], allowed=Allowed(max_hops=1))


def test_candidates_must_be_given_for_every_pair():
    with pytest.raises(InputError, match="no candidate paths are given for a → c"):
        solve(line(), [Demand("a", "c", 1.0)], allowed=Allowed(paths={}))


def test_a_candidate_over_an_unknown_link_is_refused():
    allowed = Allowed(paths={("a", "c"): ((LinkId("x", 1),),)})
    with pytest.raises(InputError, match="a candidate path of a → c has no such link"):
        solve(line(), [Demand("a", "c", 1.0)], allowed=allowed)


def test_words_stand_for_objectives_and_wrong_ones_are_refused():
    wanted = [Demand("a", "c", 15.0)]
    assert solve(line(), wanted, "min-delay", on_overload="fair").carried_bps == pytest.approx([10.0])
    with pytest.raises(InputError, match="'fastest' is not a valid Objective; take one of min-delay"):
        solve(line(), wanted, "fastest")
    with pytest.raises(InputError, match="seed is -1; it must be 0 or more"):
        solve(line(), wanted, seed=-1)


def test_demands_that_do_not_fit_their_candidates_are_told_by_weights():
    allowed = Allowed(paths={("a", "c"): ((LinkId("a", 1), LinkId("b", 2)),)})
    with pytest.raises(Infeasible, match="12 bit/s must cross links that carry 10 bit/s") as caught:
        solve(line(), [Demand("a", "c", 12.0)], allowed=allowed)
    assert caught.value.demand_bps > caught.value.capacity_bps


@pytest.mark.parametrize("engine", ["colouring", "paths"])
def test_an_engine_for_other_questions_says_so(engine):
    with pytest.raises(InputError, match="answers other questions"):
        solve(line(), [Demand("a", "c", 1.0)], engine=engine)


@pytest.mark.parametrize("engine", ["symmetry", "potential"])
@pytest.mark.parametrize("objective", [Objective.MAX_MIN_FAIR, Objective.MIN_QUEUEING_DELAY])
def test_an_engine_that_lacks_an_objective_says_so(engine, objective):
    with pytest.raises(InputError, match=f"the engine {engine} (does not do|knows no)"):
        solve(line(), [Demand("a", "c", 1.0)], objective, engine=engine)


@pytest.mark.parametrize("objective", [Objective.MIN_DELAY, Objective.MIN_QUEUEING_DELAY])
@pytest.mark.parametrize("single_path", [False, True])
def test_an_overload_is_refused_or_carried_fairly(objective, single_path):
    wanted = [Demand("a", "c", 15.0), Demand("b", "c", 5.0), Demand("c", "a", 1.0)]
    with pytest.raises(Infeasible) as caught:
        solve(line(), wanted, objective, single_path=single_path)
    assert caught.value.cut == (LinkId("b", 2),)
    routing = solve(line(), wanted, objective, single_path=single_path, on_overload=OnOverload.FAIR)
    assert routing.certificate.objective is Objective.MAX_MIN_FAIR
    assert routing.carried_bps == pytest.approx([7.5, 2.5, 1.0])
    assert [level.ratio for level in routing.certificate.levels] == pytest.approx([0.5, 1.0])
    assert "the fair rates are carried" in routing.reason


def test_the_least_maximum_utilisation_tells_an_overload_and_fair_takes_it_away():
    wanted = [Demand("a", "c", 15.0)]
    routing = solve(line(), wanted, Objective.MIN_MAX_UTILISATION)
    assert (routing.certificate.value, routing.certificate.bound) == pytest.approx((1.5, 1.5))
    fair = solve(line(), wanted, Objective.MIN_MAX_UTILISATION, on_overload=OnOverload.FAIR)
    assert fair.carried_bps == pytest.approx([10.0])


def test_a_session_goes_on_after_an_error():
    session = Session(line())
    with pytest.raises(Infeasible):
        session.solve([Demand("a", "c", 50.0)])
    assert session.solve([Demand("a", "c", 5.0)]).certificate.value == pytest.approx(10.0)
