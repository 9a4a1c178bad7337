"""What goes on from plan to plan in one process, and makes the next one faster."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from controller.service import PlanStatus
from dataplane.compiler import DefaultRouting, TableCompiler
from dataplane.verifier import Verifier
from solver.solve import Session
from topologies.fabric import Fabric


class PlanMemory:
    """Solver, compiler and verifier with what they found for the plans before.

    Attributes
    ----------
    routed : str
        The name of the default routing made last; one that is made of the same has the same.
    lived : (PlanStatus, Fabric), optional
        The plan made last, and a fabric on which all its paths lived.
    """

    def __init__(self) -> None:
        self.session = Session(Fabric((), ()))
        self.verifier = Verifier()
        self.routed = ""
        self.lived: tuple[PlanStatus, Fabric] | None = None
        self._compiler: TableCompiler | None = None

    def compiler(
        self,
        fabric: Fabric,
        default: DefaultRouting,
        edge_ports: Mapping[str, frozenset[int]],
        in_force: str = "",
    ) -> TableCompiler:
        """What makes the rules for a fabric.

        Parameters
        ----------
        in_force : str
            The name of a default routing that will do if it goes round the one cable that was lost since then.
        """
        known = self._compiler
        if known is not None and (known.default, known.edge_ports) == (default, edge_ports):
            if known.fabric == fabric:
                return known
            if in_force == self.routed and _lost_one_cable(known.fabric, fabric):
                return known
        self._compiler = TableCompiler(fabric, default, edge_ports)
        ports = sorted((name, sorted(numbers)) for name, numbers in edge_ports.items())
        content = repr((fabric.nodes, fabric.links, default, ports))
        self.routed = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
        return self._compiler


def _lost_one_cable(before: Fabric, now: Fabric) -> bool:
    """Whether a fabric is another one without one cable between switches."""
    if before.nodes != now.nodes or not len(now.links) < len(before.links) <= len(now.links) + 2:
        return False
    lost = [link for link in before.links if now.link_by_id.get(link.id) != link]
    hosts = before.access_links.keys()
    return (
        len(lost) == len(before.links) - len(now.links)
        and {link.id for link in lost} <= {lost[0].id, lost[0].reverse_id}
        and hosts.isdisjoint((lost[0].source, lost[0].target))
    )
