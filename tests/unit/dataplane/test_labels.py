"""Labels are never reserved, shared only by paths that agree, and run out with a clear sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.labels import FIRST_LABEL, LAST_LABEL, LabelsExhausted, Way, label_paths
from dataplane.testing import labelled_paths
from solver.testing import fabrics
from topologies.fabric import LinkId

# From one host to each of two others: they cannot share a label.
TWO_TREES: list[Way] = [
    ("h1", host, tuple(map(LinkId.parse, ("h1:1", "e0-0:3", "a0-0:2", last))))
    for host, last in (("h3", "e0-1:1"), ("h4", "e0-1:2"))
]


def test_one_plan_may_not_take_the_labels_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.labels.MAX_LABELS", 1)
    with pytest.raises(LabelsExhausted, match="plan fewer pairs"):
        label_paths(TWO_TREES, {})


def test_too_many_old_labels_are_said() -> None:
    with pytest.raises(LabelsExhausted, match="drained"):
        label_paths(TWO_TREES, {}, quarantined=set(range(FIRST_LABEL, LAST_LABEL)))


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Way], list[Way]]:
    """Two plans on one fabric, as ways."""
    fabric = draw(fabrics())
    paths = [draw(labelled_paths(fabric)) for _ in range(2)]
    one, other = ([(path.source, path.target, path.links) for path in some] for some in paths)
    return one, other


def assert_agree(labelled: dict[Way, int]) -> None:
    """Where two paths have one label, they go to one host, and no switch sends it out by two links."""
    out: dict[tuple[int, str], tuple[str, LinkId]] = {}
    for (_, target, path), label in labelled.items():
        for link in path[1:]:
            assert out.setdefault((label, link.node), (target, link)) == (target, link)


@given(plans())
@settings(max_examples=100)
def test_paths_share_a_label_only_where_they_agree(drawn: tuple[list[Way], list[Way]]) -> None:
    ways, _ = drawn
    labels = label_paths(ways, {})
    assert_agree(dict(zip(ways, labels, strict=True)))


@given(plans(), st.data())
@settings(max_examples=150)
def test_a_new_plan_joins_labels_in_force_only_where_both_plans_agree(
    drawn: tuple[list[Way], list[Way]], data: st.DataObject
) -> None:
    """Packets of the old plan are under way when those of the new one set out."""
    old, new = drawn
    in_force = dict(zip(old, label_paths(old, {}), strict=True))
    closed = data.draw(st.sets(st.sampled_from(sorted(set(in_force.values())) or [16])))
    labels = dict(zip(new, label_paths(new, in_force, closed=closed, quarantined=closed), strict=True))
    assert_agree(in_force | labels)
    assert all(labels[way] == in_force[way] for way in labels.keys() & in_force.keys())
    assert not {label for way, label in labels.items() if way not in in_force} & closed


def test_paths_of_one_tree_share_one_label_and_a_path_that_leaves_it_gets_another() -> None:
    tree = [
        "h1:1 e0-0:3 a0-0:3 c1:4 a3-0:2 e3-1:2",
        "h3:1 e0-1:3 a0-0:3 c1:4 a3-0:2 e3-1:2",
        "h13:1 e3-0:3 a3-0:2 e3-1:2",
    ]
    apart = "h4:1 e0-1:3 a0-0:4 c2:4 a3-0:2 e3-1:2"
    ways = [(links.split(":")[0], "h16", tuple(map(LinkId.parse, links.split()))) for links in (*tree, apart)]
    assert label_paths(ways, {}) == [16, 16, 16, 17]


def test_paths_to_two_hosts_never_share_a_label() -> None:
    assert label_paths(TWO_TREES, {}) == [16, 17]
