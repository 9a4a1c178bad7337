"""A fabric counts as known once what is expected has come, or has stayed away for long."""

from __future__ import annotations

from controller.settling import LATE_S, SETTLE_S, Settling
from controller.testing import two_host_fabric, two_host_plan
from topologies.fabric import Fabric
from topologies.fat_tree import fat_tree

DECLARED = fat_tree(4, capacity_bps=1e7)
ALL = frozenset(node.id for node in DECLARED.switches)


def test_all_declared_links_are_enough_at_once() -> None:
    assert Settling(DECLARED, None, ()).is_over(DECLARED, ALL, 0.0)


def test_without_any_switch_nothing_is_known() -> None:
    assert not Settling(None, None, ()).is_over(Fabric((), ()), frozenset(), 1e9)


def test_an_expected_switch_is_waited_for_longer_but_not_for_ever() -> None:
    settling = Settling(DECLARED, None, ())
    fewer = DECLARED.without_links(link.id for link in DECLARED.links if "c1" in (link.source, link.target))
    assert settling.missing(ALL - {"c1"}) == ["c1"]
    assert not settling.is_over(fewer, ALL - {"c1"}, SETTLE_S)
    assert settling.is_over(fewer, ALL - {"c1"}, LATE_S)


def test_a_declared_link_is_waited_for_longer_but_not_for_ever() -> None:
    settling = Settling(DECLARED, None, ())
    fewer = DECLARED.without_links([DECLARED.access_link("h9").id])
    assert settling.missing(ALL) == []
    assert not settling.is_over(fewer, ALL, SETTLE_S)
    assert settling.is_over(fewer, ALL, LATE_S)


def test_switches_of_the_stored_plan_and_of_known_hosts_are_expected() -> None:
    settling = Settling(None, two_host_plan(), ["s2"])
    assert settling.missing(frozenset()) == ["s1", "s2"]
    assert not settling.is_over(two_host_fabric(), frozenset({"s2"}), SETTLE_S)
    assert settling.is_over(two_host_fabric(), frozenset({"s1", "s2"}), SETTLE_S)
