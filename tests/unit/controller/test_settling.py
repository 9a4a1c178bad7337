"""A fabric counts as known once what is expected has come, or has stayed away for long."""

from __future__ import annotations

from controller.settling import LATE_S, LONGEST_S, SETTLE_S, Settling
from controller.testing import two_host_fabric, two_host_plan
from topologies.fabric import Fabric
from topologies.fat_tree import fat_tree

DECLARED = fat_tree(4, capacity_bps=1e7)
ALL = frozenset(node.id for node in DECLARED.switches)


def is_over(
    settling: Settling,
    fabric: Fabric,
    connected: frozenset[str],
    quiet_s: float,
    *,
    unread: int = 0,
    since_first_s=20.0,
) -> bool:
    return settling.is_over(fabric, connected, unread=unread, quiet_s=quiet_s, since_first_s=since_first_s)


def test_all_declared_links_are_enough_at_once() -> None:
    assert is_over(Settling(DECLARED, None, ()), DECLARED, ALL, 0.0)


def test_without_any_switch_nothing_is_known() -> None:
    assert not is_over(Settling(None, None, ()), Fabric((), ()), frozenset(), 1e9, since_first_s=1e9)


def test_an_expected_switch_is_waited_for_longer_but_not_for_ever() -> None:
    settling = Settling(DECLARED, None, ())
    fewer = DECLARED.without_links(link.id for link in DECLARED.links if "c1" in (link.source, link.target))
    assert settling.missing(ALL - {"c1"}) == ["c1"]
    assert not is_over(settling, fewer, ALL - {"c1"}, SETTLE_S)
    assert is_over(settling, fewer, ALL - {"c1"}, LATE_S)


def test_a_declared_link_is_waited_for_longer_but_not_for_ever() -> None:
    settling = Settling(DECLARED, None, ())
    fewer = DECLARED.without_links([DECLARED.access_link("h9").id])
    assert settling.missing(ALL) == []
    assert not is_over(settling, fewer, ALL, SETTLE_S)
    assert is_over(settling, fewer, ALL, LATE_S)


def test_switches_of_the_stored_plan_and_of_known_hosts_are_expected() -> None:
    settling = Settling(None, two_host_plan(), ["s2"])
    assert settling.missing(frozenset()) == ["s1", "s2"]
    assert not is_over(settling, two_host_fabric(), frozenset({"s2"}), SETTLE_S)
    assert is_over(settling, two_host_fabric(), frozenset({"s1", "s2"}), SETTLE_S)


def test_nothing_is_settled_while_rules_are_being_read() -> None:
    assert not is_over(Settling(DECLARED, None, ()), DECLARED, ALL - {"c1"}, LATE_S, unread=1)
    assert not is_over(Settling(None, None, ()), two_host_fabric(), frozenset({"s1"}), LATE_S, unread=1)


def test_what_never_comes_to_rest_holds_nothing_up_for_ever() -> None:
    settling = Settling(DECLARED, None, ())
    assert is_over(settling, Fabric((), ()), frozenset({"c1"}), 0.0, unread=1, since_first_s=LONGEST_S)
