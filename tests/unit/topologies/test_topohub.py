"""Networks of the package topohub by name."""

import sys

import networkx as nx
import pytest

from topologies.errors import InputError
from topologies.fabric import Link
from topologies.files import read_fabric
from topologies.topohub import read_topohub


def test_a_network_has_its_names_both_directions_and_the_delay_of_its_lengths():
    fabric = read_fabric("topohub:sndlib/germany50", capacity_bps=10e9)
    # 61.63 km at 5 microseconds each.
    aachen, koeln = fabric.links[:2]
    assert (aachen.source, aachen.target) == (koeln.target, koeln.source) == ("Aachen", "Koeln")
    assert aachen.delay_s == koeln.delay_s == pytest.approx(308e-6, rel=1e-2)
    assert aachen.reverse_id == koeln.id
    assert (len(fabric.switches), len(fabric.hosts), len(fabric.links)) == (50, 0, 176)
    assert nx.is_strongly_connected(fabric.graph)
    assert {link.capacity_bps for link in fabric.links} == {10e9}


@pytest.mark.parametrize("name", ["topozoo/Abilene", "gabriel/25/0", "backbone/africa", "caida/2024-08/1103"])
def test_every_group_is_read(name):
    assert nx.is_strongly_connected(read_topohub(name, 1e9).graph)


def test_nodes_without_names_are_called_by_number():
    assert read_topohub("backbone/africa", 1e9).nodes[0].id.isdecimal()


def test_the_capacities_that_the_package_does_not_state_must_be_given():
    with pytest.raises(InputError, match=r"topohub:sndlib/polska states no capacities; .*--capacity"):
        read_fabric("topohub:sndlib/polska")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("topozoo/abilene", "did you mean 'topozoo/Abilene'"),
        ("sndlib", "names look like 'sndlib/germany50'"),
        ("nowhere/polska", "names look like"),
    ],
)
def test_an_unknown_name_is_answered_with_a_near_one(name, hint):
    with pytest.raises(InputError, match=f"topohub has no network '{name}'; {hint}"):
        read_topohub(name, 1e9)


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "topohub", None)
    with pytest.raises(InputError, match=r'pip install "heddle-sdn\[topohub\]"'):
        read_fabric("topohub:sndlib/polska", capacity_bps=1e9)


def test_a_link_without_length_has_no_delay(monkeypatch):
    class Package:
        @staticmethod
        def get(_):
            nodes = [{"id": 3}, {"id": 5, "name": "B"}]
            return {"directed": False, "nodes": nodes, "edges": [{"source": 3, "target": 5, "type": "fibre"}]}

    monkeypatch.setitem(sys.modules, "topohub", Package)
    assert read_topohub("made/up", 1e9).links == (Link("3", 1, "5", 1, 1e9), Link("5", 1, "3", 1, 1e9))
