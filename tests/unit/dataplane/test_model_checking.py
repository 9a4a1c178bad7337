"""Every interleaving of an update with one packet in flight: it follows one plan whole, and arrives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from played import Fault, Faults, Mishap, Played, play
from timelines import Timeline, Window, ways_of

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.flips import Move, along
from dataplane.machine import UpdateMachine
from dataplane.rules import RuleSet
from dataplane.testing import free_labels, labelled_paths
from dataplane.update import Schedule, Stage, StageKind, schedule
from dataplane.updating import Commit, Follows
from solver.testing import fabrics
from topologies.fabric import Fabric, LinkId
from topologies.shortest import distances


@dataclass(frozen=True)
class Scene:
    """Two plans on a fabric; each may use only a part of it, but all links work."""

    whole: Fabric
    fabrics: tuple[Fabric, Fabric]
    paths: tuple[tuple[LabelledPath, ...], tuple[LabelledPath, ...]]
    rules: tuple[RuleSet, RuleSet] = field(repr=False)

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
    labels = free_labels(len(moved), {path.label for path in before})
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


def small_enough(found: list[Window]) -> bool:
    """Whether all states of all switches can be walked through one by one."""
    states = 1
    for window in found:
        for operations in window.operations.values():
            states *= len(operations) + 1
    return states <= 3000


@given(scenes(max_switches=3, max_hosts=3), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=40)
def test_the_search_finds_what_a_walk_through_every_step_finds(scene: Scene, random: Random, right: bool) -> None:
    found = windows(scene.schedule().stages)
    if not right:
        random.shuffle(found)
    assume(small_enough(found))
    timeline = Timeline(scene.whole, scene.rules[0], found)
    for pair in scene.connected():
        assert timeline.fates(*pair) == timeline.every_step(*pair)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────

FAULTS = (
    Fault(Mishap.GONE),
    *(Fault(mishap, part) for mishap in (Mishap.REFUSE, Mishap.LATE, Mishap.STALL) for part in (0.0, 0.5, 1.0)),
)


def machine(scene: Scene, moves: tuple[Move, ...] = ()) -> UpdateMachine:
    return UpdateMachine(*scene.rules, fabric=scene.fabrics[1], before=scene.fabrics[0], moves=moves, queue_s=1.0)


def moves_of(scene: Scene, rate_bps: float) -> tuple[Move, ...]:
    old, new = ({(path.source, path.target): path.links for path in paths} for paths in scene.paths)
    addresses = {node.id: node.ip or "" for node in scene.whole.nodes}
    return tuple(
        along(
            addresses[source], addresses[target], rate_bps, old.get((source, target), ()), new.get((source, target), ())
        )
        for source, target in sorted(old.keys() | new.keys())
    )


def check_played(scene: Scene, played: Played) -> None:
    """Nothing was lost on the way, and the result says truly which plan packets follow."""
    timeline = Timeline(scene.whole, scene.rules[0], played.windows)
    check(scene, timeline)
    assert played.result is not None
    in_the_end = Timeline(scene.whole, timeline.final, [])
    old, new = ({(path.source, path.target): path.links for path in paths} for paths in scene.paths)
    for pair in scene.planned():
        ingress = scene.whole.access_link(pair[0]).target
        says = played.result.switches[ingress].follows
        ways = ways_of(in_the_end.fates(*pair))
        if says is not Follows.EITHER:
            assert ways == {old[pair] if says is Follows.OLD else new[pair]}
        if played.result.follows is not Follows.EITHER:
            assert says in (played.result.follows, Follows.NEW if old[pair] == new[pair] else says)


def only_at(place: int, fault: Fault) -> Faults:
    return lambda number, _: fault if number == place else None


@given(scenes(max_switches=4, max_hosts=3))
@settings(max_examples=6)
def test_one_fault_anywhere_leaves_every_packet_on_one_plan(scene: Scene) -> None:
    count = play(machine(scene), scene.rules[0]).commits
    for number in range(count):
        for fault in FAULTS:
            check_played(scene, play(machine(scene), scene.rules[0], only_at(number, fault)))


@given(scenes(), st.randoms(use_true_random=False), st.sampled_from((0.05, 0.2, 0.5)), st.booleans())
@settings(max_examples=60)
def test_many_faults_leave_every_packet_on_one_plan(
    scene: Scene, random: Random, often: float, known_loads: bool
) -> None:
    def faults(_number: int, _commit: Commit) -> Fault | None:
        return random.choice(FAULTS) if random.random() < often else None

    update = machine(scene, moves_of(scene, 1e6) if known_loads else ())
    check_played(scene, play(update, scene.rules[0], faults))


@given(scenes())
@settings(max_examples=30)
def test_without_faults_the_new_plan_is_whole_and_nothing_is_left(scene: Scene) -> None:
    played = play(machine(scene), scene.rules[0])
    check_played(scene, played)
    assert played.result is not None
    assert played.result.cleared
    final = Timeline(scene.whole, scene.rules[0], played.windows).final
    assert final == scene.schedule().new
