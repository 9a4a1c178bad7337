"""Every interleaving of an update with one packet in flight: it follows one plan whole, and arrives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from timelines import Timeline, Window, ways_of

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.labels import allocate
from dataplane.operations import Operation
from dataplane.rules import RuleSet
from dataplane.testing import labelled_paths
from dataplane.update import Schedule, Stage, StageKind, schedule
from solver.testing import fabrics
from topologies.fabric import Fabric, LinkId
from topologies.shortest import distances


@dataclass(frozen=True)
class Scene:
    """Two plans on a fabric; each may use only a part of it, but all links work."""

    whole: Fabric
    fabrics: tuple[Fabric, Fabric]
    paths: tuple[tuple[LabelledPath, ...], tuple[LabelledPath, ...]]
    rules: tuple[RuleSet, RuleSet]

    def schedule(self) -> Schedule:
        return schedule(*self.rules, fabric=self.fabrics[1], before=self.fabrics[0])

    @property
    def hosts(self) -> list[str]:
        return [host.id for host in self.whole.hosts]

    def planned(self) -> dict[tuple[str, str], set[tuple[LinkId, ...]]]:
        """The ways of pairs that both plans have."""
        old, new = ({(path.source, path.target): path.links for path in paths} for paths in self.paths)
        return {pair: {old[pair], new[pair]} for pair in old.keys() & new.keys()}

    def connected(self) -> list[tuple[str, str]]:
        """All pairs that both fabrics connect."""
        return [
            (source, target)
            for target in self.hosts
            for source in self.hosts
            if source != target and all(source in distances(fabric, target) for fabric in self.fabrics)
        ]


@st.composite
def scenes(draw: st.DrawFn, *, max_switches: int = 5, max_hosts: int = 4) -> Scene:
    """Fabrics that lose or gain links, with plans of which some pairs stay, move, come and go."""
    whole = draw(fabrics(max_switches=max_switches, max_hosts=max_hosts))
    switches = {node.id for node in whole.switches}
    inner = [link for link in whole.links if link.source in switches and link.target in switches]
    parts = []
    for _ in range(2):
        gone = draw(st.lists(st.sampled_from(inner), max_size=2)) if inner else []
        parts.append(whole.without_links({end for link in gone for end in (link.id, link.reverse_id)}))
    before = draw(labelled_paths(parts[0]))
    pairs = [(path.source, path.target) for path in before]
    pairs = [pair for pair in pairs if pair[0] in distances(parts[1], pair[1]) and draw(st.booleans())]
    moved = draw(labelled_paths(parts[1], pairs))
    labels = allocate(len(moved), {path.label for path in before})
    after = tuple(replace(path, label=label) for path, label in zip(moved, labels, strict=True))
    kept = tuple(
        path
        for path in before
        if (path.source, path.target) not in pairs
        and all(link in parts[1].link_by_id for link in path.links)
        and draw(st.booleans())
    )
    paths = (before, after + kept)
    rules = tuple(
        compile_rules(part, default=draw(st.sampled_from(DefaultRouting)), paths=found)
        for part, found in zip(parts, paths, strict=True)
    )
    return Scene(whole, (parts[0], parts[1]), paths, (rules[0], rules[1]))


def windows(stages: tuple[Stage, ...]) -> list[Window]:
    return [Window(stage.operations, drained=stage.kind is StageKind.CLEARING) for stage in stages]


def check(scene: Scene, timeline: Timeline) -> None:
    planned = scene.planned()
    for pair in scene.connected():
        ways = ways_of(timeline.fates(*pair))
        if pair in planned:
            assert ways <= planned[pair], f"{pair} takes a way of neither plan"


@given(scenes())
@settings(max_examples=60)
def test_every_packet_arrives_and_a_planned_one_follows_one_plan_whole(scene: Scene) -> None:
    found = scene.schedule()
    timeline = Timeline(scene.whole, scene.rules[0], windows(found.stages))
    check(scene, timeline)
    assert {switch: timeline.final[switch] for switch in found.new} == found.new
