"""A fabric is a value: what is worked out from it is never part of it."""

from __future__ import annotations

import pickle

from topologies.fabric import Fabric, Node, NodeKind
from topologies.fat_tree import fat_tree


def test_a_fabric_is_pickled_without_what_was_worked_out_from_it() -> None:
    fresh, read = fat_tree(4, capacity_bps=1e9), fat_tree(4, capacity_bps=1e9)
    assert len(read.graph) == len(read.nodes) == len(read.node_by_id)

    assert len(pickle.dumps(read)) == len(pickle.dumps(fresh))
    again = pickle.loads(pickle.dumps(read))  # noqa: S301
    assert again == read
    assert again.link_by_id == read.link_by_id


class _Reader(str):
    """A name that makes somebody read the fabric while it is being pickled."""

    fabric: Fabric

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        assert self.fabric.node_by_id
        assert self.fabric.link_by_id == {}
        assert self.fabric.link_ids == ()
        return str, (str(self),)


def test_a_fabric_is_pickled_while_others_read_it() -> None:
    reader = _Reader("s1")
    fabric = Fabric((Node(reader, NodeKind.SWITCH, dpid=1),), ())
    reader.fabric = fabric

    assert pickle.loads(pickle.dumps(fabric)) == fabric  # noqa: S301
