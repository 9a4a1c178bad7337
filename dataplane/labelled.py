"""The ways of planned pairs: from the classify rules of their ingress along the labels that these push."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from dataplane.fates import IN_PORT, SAME_LABEL, Unreadable
from dataplane.flowspace import looks_at_flows, share_out
from dataplane.reading import SwitchReading
from dataplane.rules import ETH_TYPE_IPV4, FlowRule, PushLabel, Table
from dataplane.survival import Crossing, LabelGuard
from dataplane.unlabelled import Unlabelled
from dataplane.wiring import Attached
from solver.routing import Path
from topologies.fabric import LinkId

_State: TypeAlias = tuple[int, int, int, str]
"""Switch, port by which packets come in, label, and the host's address that they go to."""


class _Strayed(Exception):
    """Packets do something that only sending them one by one can tell."""


class Labelled:
    """All packets that some host's classify rules treat apart.

    Attributes
    ----------
    crossings : list of dict of Crossing to int
        By link, the packets that are sent into it, and where they go.
    """

    def __init__(self, default: Unlabelled, readings: Sequence[SwitchReading], guard: LabelGuard) -> None:
        self.default = default
        self._wiring = default.wiring
        self._readings = readings
        self._guard = guard
        self._ways: dict[_State, frozenset[Path]] = {}
        self._on_way: set[_State] = set()
        self.crossings: list[dict[Crossing, int]] = [{} for _ in self._wiring.links]

    def ways(self, source: Attached, address: str, rules: Sequence[FlowRule]) -> tuple[frozenset[Path] | None, bool]:
        """Where rules for packets from one host to one address lead.

        Returns
        -------
        frozenset of Path or None, bool
            The ways that they set, and whether some flows take default routing; None where no ways can be read.
        """
        met = share_out(rules) if looks_at_flows(rules[0].match) else [(rules[0], None)]
        found: set[Path] = set()
        by_default = False
        try:
            for rule, _ in met:
                if rule is None or (rule.goto is Table.DEFAULT and not rule.actions):
                    by_default = True
                else:
                    found.update((source.access, *way) for way in self._begin(source, address, rule))
        except _Strayed:
            return None, by_default
        return frozenset(found), by_default

    def _begin(self, source: Attached, address: str, rule: FlowRule) -> frozenset[Path]:
        if rule.goto is Table.TRANSIT:
            match rule.actions:
                case (PushLabel(label),):
                    return self._follow(source.switch, source.port, label, address)
        if rule.goto is not None:
            raise Unreadable(f"{self._wiring.names[source.switch]} does not only label packets by {rule}")
        doing = self._readings[source.switch].fates.number(rule.actions)
        return frozenset(self._onward(Crossing(source.switch, source.port, doing, None), address))

    def _follow(self, switch: int, in_port: int, label: int, address: str) -> frozenset[Path]:
        state = (switch, in_port, label, address)
        ways = self._ways.get(state)
        if ways is None:
            if state in self._on_way:
                raise _Strayed
            self._on_way.add(state)
            try:
                doing = self._readings[switch].switched(label, in_port)
                ways = frozenset(self._onward(Crossing(switch, in_port, doing, label), address))
            finally:
                self._on_way.discard(state)
            self._ways[state] = ways
        return ways

    def _onward(self, crossing: Crossing, address: str) -> Iterator[Path]:
        switch, in_port, doing, label = crossing
        fate = self._readings[switch].fates.of(doing, ETH_TYPE_IPV4, labelled=label is not None)
        if not fate.is_one:
            raise _Strayed
        for out, new_label in fate.outs:
            port = in_port if out == IN_PORT else out
            if out == in_port:
                raise _Strayed
            here = LinkId(self._wiring.names[switch], port)
            link = self._wiring.link_at[switch].get(port)
            following = label if new_label == SAME_LABEL else new_label
            if link is not None and following is not None and self._guard.admits(link):
                self._note(crossing, link, address)
                target, arrival = self._wiring.target[link], self._wiring.in_port[link]
                for way in self._follow(target, arrival, following, address):
                    yield (here, *way)
            elif following is None and self._is_host(switch, port, address):
                yield (here,)
            else:
                raise _Strayed

    def _is_host(self, switch: int, port: int, address: str) -> bool:
        host = self._wiring.host_at[switch].get(port)
        atoms = self.default.space.of(ETH_TYPE_IPV4, address)
        return host is not None and bool(self.default.of_host.get(host, 0) & atoms)

    def _note(self, crossing: Crossing, link: int, address: str) -> None:
        """Remember who crosses a link; what they come with matters only where it is what they fall back with."""
        switch, in_port, doing, label = crossing
        if label is not None:
            dead = self._wiring.port[link]
            fallback = self._readings[switch].fates.of(doing, ETH_TYPE_IPV4, labelled=True, dead=dead)
            if all(new_label != SAME_LABEL for _, new_label in fallback.outs):
                crossing = Crossing(switch, in_port, doing, SAME_LABEL)
        crossings = self.crossings[link]
        atoms = self.default.space.of(ETH_TYPE_IPV4, address)
        crossings[crossing] = crossings.get(crossing, 0) | atoms
