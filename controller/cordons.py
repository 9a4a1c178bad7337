"""Cables that somebody keeps clear, as for work on them: they stay up and watched, and carry nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from networkx.utils import UnionFind

from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId, NodeKind

Cable: TypeAlias = tuple[LinkId, LinkId]
"""Both directions, the lower one first."""


class Cordons:
    """The cables that are cordoned now.

    Parameters
    ----------
    cables : iterable of Cable
        Those of an earlier run.
    """

    def __init__(self, cables: Iterable[Cable] = ()) -> None:
        self.cables = frozenset(cables)
        self._usable: tuple[Fabric, frozenset[Cable], Fabric] | None = None

    @property
    def links(self) -> frozenset[LinkId]:
        """Both directions of each cable."""
        return frozenset(link for cable in self.cables for link in cable)

    def changed(self, fabric: Fabric, cordon: Iterable[LinkId], uncordon: Iterable[LinkId]) -> frozenset[Cable]:
        """What would be cordoned after a change; what is to be so and is, stays.

        Parameters
        ----------
        cordon, uncordon : iterable of LinkId
            Either direction of a cable stands for both.

        Raises
        ------
        InputError
            A link is unknown or a host's, or the fabric would fall apart without it.
        """
        wanted = self.cables - {self._cable(fabric, link) for link in uncordon}
        for link in cordon:
            cable = self._cable(fabric, link)
            if cable in wanted:
                continue
            if any(fabric.node_by_id[end.node].kind is NodeKind.HOST for end in cable):
                raise InputError(f"{link} is a host's only link, which cannot be cordoned; delete its jobs instead")
            if _kept(fabric, wanted | {cable}) - _kept(fabric, wanted):
                raise InputError(f"without {link} the fabric would fall apart; uncordon another link first")
            wanted |= {cable}
        return wanted

    def usable(self, fabric: Fabric) -> Fabric:
        """A fabric without its cordoned cables, but for those without which it would fall apart by now."""
        if not self.cables:
            return fabric
        known = self._usable
        if known is None or known[0] is not fabric or known[1] is not self.cables:
            clear = self.cables - _kept(fabric, self.cables)
            known = (fabric, self.cables, fabric.without_links(link for cable in clear for link in cable))
            self._usable = known
        return known[2]

    def _cable(self, fabric: Fabric, link: LinkId) -> Cable:
        there = fabric.link_by_id.get(link)
        if there is not None and there.reverse_id in fabric.link_by_id:
            return min(link, there.reverse_id), max(link, there.reverse_id)
        # One that is down now may be cordoned still.
        for cable in self.cables:
            if link in cable:
                return cable
        raise InputError(f"no cable begins at {link}; see 'heddle links'")


def _kept(fabric: Fabric, cables: frozenset[Cable]) -> frozenset[Cable]:
    """As few of these cables as join what would be apart without all of them."""
    parts: UnionFind[str] = UnionFind(node.id for node in fabric.nodes)
    spared = frozenset(link for cable in cables for link in cable)
    for link in fabric.links:
        if link.id not in spared:
            parts.union(link.source, link.target)
    kept = set()
    for cable in sorted(cables):
        there = fabric.link_by_id.get(cable[0])
        if there is not None and parts[there.source] != parts[there.target]:
            parts.union(there.source, there.target)
            kept.add(cable)
    return frozenset(kept)
