"""A label that was given up is used again only when nobody can push it any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.resting import REST_S, RestingLabels
from controller.store import Pushed, Store
from controller.testing import two_host_plan

PUSHED = (Pushed(16, "e1"), Pushed(17, "e2"))


@pytest.fixture(name="store")
def store_fixture(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as store:
        yield store


def given_up(store: Store, at_s: float) -> RestingLabels:
    labels = RestingLabels(store, at_s)
    store.save_plan(two_host_plan(), given_up=PUSHED)
    labels.give_up(PUSHED, at_s)
    return labels


def test_labels_rest_for_a_while_and_are_then_forgotten(store: Store) -> None:
    labels = given_up(store, 100.0)
    both = frozenset({"e1", "e2"})
    assert labels.at(100.0 + REST_S / 2, both) == {16, 17}
    assert labels.at(100.0 + REST_S, both) == frozenset()
    assert store.resting_labels() == ()


def test_the_labels_of_an_ingress_out_of_reach_rest_until_it_is_back_and_longer(store: Store) -> None:
    labels = given_up(store, 100.0)
    assert labels.at(1000.0, frozenset({"e2"})) == {16}
    assert labels.at(1001.0, frozenset({"e1", "e2"})) == {16}
    assert labels.at(1000.0 + REST_S, frozenset({"e1", "e2"})) == frozenset()


def test_after_a_restart_labels_rest_anew(store: Store) -> None:
    given_up(store, 100.0)
    labels = RestingLabels(store, 5.0)
    assert labels.at(5.0, frozenset({"e1", "e2"})) == {16, 17}


def test_a_store_that_fails_keeps_its_labels_and_stops_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from topologies.errors import HeddleError

    def full(_labels: object) -> None:
        raise HeddleError("the disk is full")

    labels = given_up(store, 100.0)
    monkeypatch.setattr(store, "release_labels", full)
    assert labels.at(100.0 + REST_S, frozenset({"e1", "e2"})) == frozenset()
    assert store.resting_labels() == PUSHED


def test_a_label_that_several_switches_push_rests_until_all_of_them_are_known_to_have_stopped(store: Store) -> None:
    labels = RestingLabels(store, 100.0)
    labels.give_up([Pushed(16, "e1"), Pushed(16, "e2")], 100.0)
    assert labels.of(frozenset({"e2"})) == {16}
    assert labels.at(1000.0, frozenset({"e1"})) == {16}
    assert labels.at(1000.0 + REST_S, frozenset({"e1", "e2"})) == frozenset()


def test_a_label_rests_as_long_as_a_switch_pushes_it_by_the_rules_that_it_has(store: Store) -> None:
    labels = RestingLabels(store, 100.0)
    labels.give_up([Pushed(16, "e1"), Pushed(17, "e1")], 100.0)
    assert labels.at(1000.0, frozenset({"e1"}), frozenset({(16, "e1"), (17, "e2")})) == {16}
    assert labels.at(1000.0 + REST_S / 2, frozenset({"e1"})) == {16}
    assert labels.at(1000.0 + REST_S, frozenset({"e1"})) == frozenset()
