"""Line rate between hosts."""

import pytest

from topologies.access import line_rate_bps
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId
from topologies.fat_tree import fat_tree

FAT_TREE = fat_tree(4, capacity_bps=1e7)


def _with(changed):
    return Fabric(FAT_TREE.nodes, tuple(changed if link.id == changed.id else link for link in FAT_TREE.links))


def test_line_rate_is_what_the_narrower_access_link_gives():
    assert line_rate_bps(_with(Link("h1", 1, "e0-0", 1, 4e7, 1e-6)), "h1", "h2") == 1e7
    assert line_rate_bps(_with(Link("h1", 1, "e0-0", 1, 4e6, 1e-6)), "h1", "h2") == 4e6
    assert line_rate_bps(_with(Link("e0-0", 2, "h2", 1, 3e6, 1e-6)), "h1", "h2") == 3e6


def test_a_link_without_capacity_or_a_missing_direction_is_named():
    with pytest.raises(InputError, match="link h1:1 has no capacity_bps"):
        line_rate_bps(_with(Link("h1", 1, "e0-0", 1)), "h1", "h2")
    with pytest.raises(InputError, match="no link leads to 'h2'"):
        line_rate_bps(FAT_TREE.without_links([LinkId("e0-0", 2)]), "h1", "h2")
    with pytest.raises(InputError, match="'s9' is not a host"):
        line_rate_bps(FAT_TREE, "h1", "s9")
