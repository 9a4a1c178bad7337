"""The ways of planned pairs: from the classify rules of their ingress along the labels that these push."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.fates import IN_PORT, SAME_LABEL, Unreadable
from dataplane.flowspace import looks_at_flows, share_out
from dataplane.reading import SwitchReading
from dataplane.rules import ETH_TYPE_IPV4, FlowRule, PushLabel, Table
from dataplane.survival import Crossing, LabelGuard
from dataplane.trees import LabelTrees, Ways
from dataplane.unlabelled import Unlabelled
from dataplane.wiring import Attached
from solver.routing import Path
from topologies.fabric import LinkId


class _Strayed(Exception):
    """Packets do something that only sending them one by one can tell."""


class Labelled:
    """All packets that some host's classify rules treat apart.

    Attributes
    ----------
    crossings : dict of int to dict of Crossing to int
        By link, the packets that are sent into it, and where they go, since `begin`.
    labels : set of int
        The labels that they are given at first.
    """

    def __init__(
        self, default: Unlabelled, readings: Sequence[SwitchReading], guard: LabelGuard, trees: LabelTrees
    ) -> None:
        self.default = default
        self._wiring = default.wiring
        self._readings = readings
        self._guard = guard
        self._trees = trees
        self._addresses = {one.host.id: one.host.ip for one in self._wiring.attached}
        self._keeping: dict[tuple[int, int, int], bool] = {}
        self.begin()

    def begin(self) -> None:
        """Forget what was sent so far."""
        self.crossings: dict[int, dict[Crossing, int]] = {}
        self.labels: set[int] = set()

    def ways(self, source: Attached, address: str, rules: Sequence[FlowRule]) -> tuple[frozenset[Path] | None, bool]:
        """Where rules for packets from one host to one address lead.

        Returns
        -------
        frozenset of Path or None, bool
            The ways that they set, and whether some flows take default routing; None where no ways can be read.
        """
        met = [rule for rule, _ in share_out(rules)] if looks_at_flows(rules[0].match) else [rules[0]]
        found: list[Path] = []
        by_default = False
        try:
            for rule in met:
                if rule is None or (rule.goto is Table.DEFAULT and not rule.actions):
                    by_default = True
                else:
                    ways = self._begin(source, rule)
                    if self._addresses.get(ways.end) != address:
                        raise _Strayed
                    self._cross(ways, self.default.space.of(ETH_TYPE_IPV4, address))
                    found += [(source.access, *path) for path in ways.paths]
        except _Strayed:
            return None, by_default
        return frozenset(found), by_default

    def _cross(self, ways: Ways, atoms: int) -> None:
        for link, crossing in ways.crossings:
            crossings = self.crossings.setdefault(self._wiring.link_number[link], {})
            crossings[crossing] = crossings.get(crossing, 0) | atoms

    def _begin(self, source: Attached, rule: FlowRule) -> Ways:
        if rule.goto is Table.TRANSIT:
            match rule.actions:
                case (PushLabel(label),):
                    return self._follow(source.switch, source.port, label)
        if rule.goto is not None:
            raise Unreadable(f"{self._wiring.names[source.switch]} does not only label packets by {rule}")
        doing = self._readings[source.switch].fates.number(rule.actions)
        return self._onward(Crossing(source.switch, source.port, doing, None))

    def _follow(self, switch: int, in_port: int, label: int) -> Ways:
        self.labels.add(label)
        tree = self._trees.of(label)
        if (switch, in_port) in tree:
            ways = tree[switch, in_port]
        else:
            # Whoever comes here again before this is known goes round.
            tree[switch, in_port] = None
            doing = self._readings[switch].switched(label, in_port)
            try:
                ways = tree[switch, in_port] = self._onward(Crossing(switch, in_port, doing, label))
            except (_Strayed, Unreadable):
                self._trees.passing.add(label)
                raise
        if ways is None:
            raise _Strayed
        return ways

    def _onward(self, crossing: Crossing) -> Ways:
        """Where some actions send packets, whichever way a hash chooses."""
        switch, in_port, doing, label = crossing
        fate = self._readings[switch].fates.of(doing, ETH_TYPE_IPV4, labelled=label is not None)
        if not fate.is_one:
            raise _Strayed
        paths: list[Path] = []
        crossings: dict[tuple[LinkId, Crossing], None] = {}
        ends = set()
        links_at = self._wiring.link_at[switch]
        for out, new_label in fate.outs:
            port = in_port if out == IN_PORT else out
            if out == in_port:
                raise _Strayed
            link = links_at.get(port)
            following = label if new_label == SAME_LABEL else new_label
            if link is not None and following is not None and self._guard.admits(link):
                here = self._wiring.links[link]
                onward = self._follow(self._wiring.target[link], self._wiring.in_port[link], following)
                paths += [(here, *path) for path in onward.paths]
                crossings[here, self._crossing(crossing, port)] = None
                crossings.update(dict.fromkeys(onward.crossings))
                ends.add(onward.end)
            elif link is None and following is None:
                here = LinkId(self._wiring.names[switch], port)
                paths.append((here,))
                ends.add(self._wiring.host_at[switch].get(port, ""))
            else:
                raise _Strayed
            if label is not None:
                self._trees.note(label, here)
                if following not in (label, None):
                    self._trees.passing.add(label)
        if len(ends) != 1:
            raise _Strayed
        return Ways(tuple(paths), ends.pop(), tuple(crossings))

    def _crossing(self, crossing: Crossing, dead: int) -> Crossing:
        """What of a crossing matters if the port fails: what packets come with only if they may fall back with it."""
        switch, in_port, doing, label = crossing
        if label is None:
            return crossing
        key = (switch, doing, dead)
        keeps = self._keeping.get(key)
        if keeps is None:
            fallback = self._readings[switch].fates.of(doing, ETH_TYPE_IPV4, labelled=True, dead=dead)
            keeps = self._keeping[key] = any(new_label == SAME_LABEL for _, new_label in fallback.outs)
        return crossing if keeps else Crossing(switch, in_port, doing, SAME_LABEL)
