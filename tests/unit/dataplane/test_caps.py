"""A rate cap's meter is one pair's, at one rate, from the moment it is there until it goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from played import Fault, Mishap, play

from dataplane.machine import UpdateMachine
from dataplane.operations import ChangeMeter, apply_operations
from dataplane.rules import RATE_CAP_ID_BASE, FlowRule, Match, PushLabel, RateCap, SwitchRules, Table
from dataplane.update import difference, stages

Caps = dict[str, tuple[int, int]]
"""By target: the place of its meter among ids, and its rate."""


def capped(caps: Caps, label: int = 16) -> SwitchRules:
    """Pairs of one source, each under its cap."""
    ids = {target: RATE_CAP_ID_BASE + place for target, (place, _) in caps.items()}
    return SwitchRules(
        frozenset(
            FlowRule(
                Table.CLASSIFY,
                100,
                Match(ipv4_src="10.0.0.1", ipv4_dst=target),
                (PushLabel(label),),
                goto=Table.TRANSIT,
                meter_id=ids[target],
            )
            for target in caps
        ),
        meters=frozenset(RateCap(ids[target], rate, rate) for target, (_, rate) in caps.items()),
    )


def meaning(rules: SwitchRules) -> set[tuple[str | None, int]]:
    """Which pair is held to which rate."""
    rates = {meter.id: meter.rate_kbps for meter in rules.meters if isinstance(meter, RateCap)}
    return {(flow.match.ipv4_dst, rates[flow.meter_id or 0]) for flow in rules.flows}


def is_shared(rules: SwitchRules) -> bool:
    used = [flow.meter_id for flow in rules.flows]
    return len(used) != len(set(used))


@st.composite
def some_caps(draw: st.DrawFn) -> SwitchRules:
    """Caps whose ids come from so small a range that they often clash."""
    targets = draw(st.lists(st.sampled_from(["10.0.0.2", "10.0.0.3", "10.0.0.4"]), unique=True))
    places = draw(st.permutations(range(4)))
    rates = [draw(st.sampled_from([1000, 2000])) for _ in targets]
    return capped(dict(zip(targets, zip(places, rates, strict=False), strict=False)), draw(st.sampled_from([16, 17])))


@given(some_caps(), some_caps())
def test_no_step_of_an_update_gives_a_meter_to_another_pair_or_another_rate(old: SwitchRules, new: SwitchRules) -> None:
    rules = old
    for stage in stages({"s1": old}, {"s1": new}):
        for operation in stage.operations["s1"]:
            assert not isinstance(operation, ChangeMeter)
            rules = apply_operations(rules, [operation])
            assert meaning(rules) <= meaning(old) | meaning(new)
            assert not is_shared(rules)
    assert meaning(rules) == meaning(new)
    assert len(rules.meters) == len(new.meters)


def test_a_cap_that_stays_keeps_its_meter_though_its_id_would_be_another_now() -> None:
    both = capped({"10.0.0.2": (0, 1000), "10.0.0.3": (1, 1000)})
    change = difference(both, capped({"10.0.0.3": (0, 1000)}))
    assert (change.add_flows, change.replaced, change.add_meters, change.changed_meters) == ((), (), (), ())
    assert [meter.id for meter in change.remove_meters] == [RATE_CAP_ID_BASE]


def test_an_update_that_is_undone_leaves_every_cap_as_it_was() -> None:
    old, new = capped({"10.0.0.2": (0, 1000)}), capped({"10.0.0.2": (0, 2000)}, label=17)
    rules = {"s1": old, "s2": capped({"10.0.0.5": (0, 1000)})}
    machine = UpdateMachine(rules, {"s1": new, "s2": capped({"10.0.0.5": (0, 1000)}, label=17)})
    flips = 0

    def second_flip_is_refused(_number: int, commit: object) -> Fault | None:
        nonlocal flips
        if getattr(commit, "switch", None) != "s2":
            return None
        flips += 1
        return Fault(Mishap.REFUSE) if flips == 1 else None

    play(machine, rules, second_flip_is_refused)
    assert machine.rules == rules
