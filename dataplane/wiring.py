"""A fabric by numbers: which port of which switch leads where, and who reaches whom."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from topologies.fabric import Fabric, LinkId, Node

Cable: TypeAlias = tuple[int, ...]
"""The numbers of the links that fail together: one direction, or both."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A host with addresses, its access link, the number of its switch, and the port there."""

    host: Node
    access: LinkId
    switch: int
    port: int


class Wiring:
    """Switches and the links between them, numbered.

    Attributes
    ----------
    names : tuple of str
        Switches; their places are their numbers.
    links : tuple of LinkId
        Those from switch to switch; their places are their numbers.
    source, port, target, in_port : list of int
        Of each link: the numbers of its switches, and its port at either.
    link_at : list of dict of int to int
        For each switch the link that each port sends into.
    host_at : list of dict of int to str
        For each switch the host that each port sends to.
    arriving : list of list of int
        For each switch the links that lead to it.
    attached : tuple of Attached
        Hosts that have addresses and an access link.
    cables : tuple of Cable
    """

    def __init__(self, fabric: Fabric) -> None:
        self.names = tuple(node.id for node in fabric.switches)
        self.number = {name: number for number, name in enumerate(self.names)}
        inner = [link for link in fabric.links if link.source in self.number and link.target in self.number]
        self.links = tuple(link.id for link in inner)
        self.link_number = {link: number for number, link in enumerate(self.links)}
        self.source = [self.number[link.source] for link in inner]
        self.target = [self.number[link.target] for link in inner]
        self.port = [link.source_port for link in inner]
        self.in_port = [link.target_port for link in inner]
        self.link_at: list[dict[int, int]] = [{} for _ in self.names]
        self.arriving: list[list[int]] = [[] for _ in self.names]
        for number in range(len(inner)):
            self.link_at[self.source[number]][self.port[number]] = number
            self.arriving[self.target[number]].append(number)
        self.host_at: list[dict[int, str]] = [{} for _ in self.names]
        for link in fabric.links:
            if link.source in self.number and link.target not in self.number:
                self.host_at[self.number[link.source]][link.source_port] = link.target
        self.attached = tuple(
            Attached(host, access.id, self.number[access.target], access.target_port)
            for host in fabric.hosts
            if host.ip and host.mac and (access := fabric.access_links.get(host.id)) and access.target in self.number
        )
        self.reverse = [self.link_number.get(link.reverse_id) for link in inner]
        self.cables = tuple(
            (link,) if back is None or self.reverse[back] != link else (link, back)
            for link, back in enumerate(self.reverse)
            if back is None or self.reverse[back] != link or link < back
        )

    @cached_property
    def _switches_of(self) -> dict[str, tuple[int, int]]:
        """Of each attached host: the number of the switch that it sends to, and of those that send to it, as bits."""
        switches = {one.host.id: (one.switch, 0) for one in self.attached}
        for switch, hosts in enumerate(self.host_at):
            for host in hosts.values():
                if host in switches:
                    first, last = switches[host]
                    switches[host] = (first, last | 1 << switch)
        return switches

    def connects(self, source: str, target: str) -> bool:
        """Whether both are attached hosts, and there is a way from one to the other."""
        switches = self._switches_of
        if source not in switches or target not in switches:
            return False
        return bool(self.reached[switches[source][0]] & switches[target][1])

    @cached_property
    def reached(self) -> list[int]:
        """For each switch those that it reaches, itself among them, as bits."""
        return self.reached_without(frozenset())

    def reached_without(self, gone: AbstractSet[int]) -> list[int]:
        """For each switch those that it reaches where some links are gone, as bits."""
        backs = [(link, back) for link, back in enumerate(self.reverse) if link not in gone]
        both_ways = all(
            back is not None and back not in gone and self.reverse[back] == link for link, back in backs
        )  # fmt: skip
        onward: list[list[int]] = [[] for _ in self.names]
        for link, source in enumerate(self.source):
            if link not in gone:
                onward[source].append(self.target[link])
        reached = [0] * len(self.names)
        for switch in range(len(self.names)):
            if reached[switch]:
                continue
            seen, stack, found = {switch}, [switch], 1 << switch
            while stack:
                for target in onward[stack.pop()]:
                    if target not in seen:
                        seen.add(target)
                        stack.append(target)
                        found |= 1 << target
            for same in seen if both_ways else (switch,):
                reached[same] = found
        return reached
