"""The pipelines of all switches joined by the fabric's links: one packet after another is followed to its end."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from dataplane.pipeline import Alternative, Emission, Packet, SwitchPipeline, is_punt
from dataplane.rules import RuleSet, SwitchRules
from solver.routing import Path
from topologies.errors import HeddleError
from topologies.fabric import Fabric, Link, LinkId


class VerificationError(HeddleError):
    """The rules do not do what they should; the message names packet, place and rule. Nothing was installed."""


class Network:
    """The pipelines of all switches, joined by the fabric's links.

    Parameters
    ----------
    failed : set of LinkId
        Links that carry nothing; a switch knows it of its own ports.
    pipelines : mapping of str to SwitchPipeline, optional
        Those of ``rules``, where they are made already.
    """

    def __init__(
        self,
        fabric: Fabric,
        rules: RuleSet,
        failed: AbstractSet[LinkId] = frozenset(),
        *,
        pipelines: Mapping[str, SwitchPipeline] | None = None,
    ) -> None:
        self._fabric = fabric
        self._failed = failed
        self._pipelines = pipelines or {
            node.id: SwitchPipeline(node.id, rules.get(node.id, SwitchRules())) for node in fabric.switches
        }
        self._dead: dict[str, set[int]] = {node.id: set() for node in fabric.switches}
        for link in failed:
            self._dead.get(link.node, set()).add(link.port)

    def step(self, switch: str, in_port: int, packet: Packet) -> frozenset[Alternative]:
        """What a switch may do with a packet."""
        return self._pipelines[switch].process(packet, in_port, self._dead[switch])

    def ways(self, source: str, packet: Packet, target: str) -> frozenset[Path]:
        """Every way by which a packet may reach a host.

        Raises
        ------
        VerificationError
            Some choice drops, copies or punts it, brings it elsewhere, or sends it round.
        """
        what = f"a packet {source} → {target}"
        access = self._fabric.access_link(source)
        found: set[Path] = set()
        stack: list[tuple[Link, Packet, Path]] = [(access, packet, (access.id,))]
        while stack:
            link, current, way = stack.pop()
            if self._ends(link, current, what, target):
                found.add(way)
                continue
            if len(way) > 2 * len(self._fabric.switches) + 1:
                raise self._error(f"{what} loops: {' '.join(map(str, way[:12]))} …")
            for alternative in self.step(link.target, link.target_port, current):
                emission, following = self._only(alternative, link, current, what)
                stack.append((following, emission.packet, (*way, following.id)))
        return frozenset(found)

    def deliver(self, source: str, packet: Packet, target: str) -> None:
        """Prove that a packet arrives, without listing its ways: each state is looked at once.

        Raises
        ------
        VerificationError
            As for `ways`.
        """
        what = f"a packet {source} → {target}"
        self._deliver(self._fabric.access_link(source), packet, what, target, set(), set())

    def _deliver(
        self,
        link: Link,
        packet: Packet,
        what: str,
        target: str,
        proved: set[tuple[LinkId, Packet]],
        on_way: set[tuple[LinkId, Packet]],
    ) -> None:
        state = (link.id, packet)
        if self._ends(link, packet, what, target) or state in proved:
            return
        if state in on_way:
            raise self._error(f"{what} loops through {link.target}")
        on_way.add(state)
        for alternative in self.step(link.target, link.target_port, packet):
            emission, following = self._only(alternative, link, packet, what)
            self._deliver(following, emission.packet, what, target, proved, on_way)
        on_way.discard(state)
        proved.add(state)

    def end(self, source: str, packet: Packet) -> None:
        """Prove that a packet goes round nowhere, whether it arrives or not.

        Raises
        ------
        VerificationError
            It may loop.
        """
        what = f"a packet {source} → {packet.ipv4_dst or packet.arp_tpa}"
        self._end(self._fabric.access_link(source), packet, what, set(), set())

    def _end(
        self,
        link: Link,
        packet: Packet,
        what: str,
        proved: set[tuple[LinkId, Packet]],
        on_way: set[tuple[LinkId, Packet]],
    ) -> None:
        state = (link.id, packet)
        if link.target not in self._pipelines or state in proved:
            return
        if state in on_way:
            raise self._error(f"{what} loops through {link.target}")
        on_way.add(state)
        for alternative in self.step(link.target, link.target_port, packet):
            for emission in alternative:
                following = self._following(link, emission)
                if following is not None:
                    self._end(following, emission.packet, what, proved, on_way)
        on_way.discard(state)
        proved.add(state)

    def _ends(self, link: Link, packet: Packet, what: str, target: str) -> bool:
        if link.target == target:
            if packet.labels:
                raise self._error(f"{what} arrives with a label on it, at {link.id}")
            return True
        if link.target not in self._pipelines:
            raise self._error(f"{what} is delivered to {link.target}, at {link.id}")
        return False

    def _following(self, arriving: Link, emission: Emission) -> Link | None:
        """The link that an emission takes, where it lives."""
        out = LinkId(arriving.target, emission.port)
        return None if out in self._failed else self._fabric.link_by_id.get(out)

    def _only(self, alternative: Alternative, arriving: Link, packet: Packet, what: str) -> tuple[Emission, Link]:
        """The one emission of an alternative, and the link that it takes."""
        switch = arriving.target
        if len(alternative) == 1 and not is_punt(alternative[0]):
            emission = alternative[0]
            following = self._following(arriving, emission)
            if following is not None:
                return emission, following
            fate = f"lost at {LinkId(switch, emission.port)}, where no link leads on,"
        elif not alternative:
            fate = f"dropped at {switch}"
        elif len(alternative) > 1:
            fate = f"copied at {switch}"
        else:
            fate = f"sent to the controller at {switch}"
        rule = self._pipelines[switch].decided_by(packet, arriving.target_port)
        raise self._error(f"{what} is {fate} by {rule}")

    def _error(self, sentence: str) -> VerificationError:
        if not self._failed:
            return VerificationError(sentence)
        failed = " and ".join(sorted(map(str, self._failed)))
        return VerificationError(f"{sentence}, while {failed} {'is' if len(self._failed) == 1 else 'are'} down")
