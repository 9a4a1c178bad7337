"""What is read from actions is what the pipeline does with packets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.fates import IN_PORT, SAME_LABEL, Fate, Fates, Unreadable
from dataplane.pipeline import Packet, RuleError, SwitchPipeline
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Match,
    Output,
    PopLabel,
    PushLabel,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)

PORT, LABEL = 9, 77
PORTS = st.sampled_from([1, 2, 3, PORT_IN_PORT, PORT_CONTROLLER])
SIMPLE: st.SearchStrategy[Action] = st.one_of(
    st.builds(Output, PORTS),
    st.builds(PushLabel, st.just(50)),
    st.builds(SetLabel, st.just(60)),
    st.builds(PopLabel, st.sampled_from([ETH_TYPE_IPV4, ETH_TYPE_ARP])),
)
BUCKETS = st.builds(
    Bucket, st.lists(SIMPLE, max_size=3).map(tuple), st.none() | st.sampled_from([1, 2, 3]), st.integers(1, 3)
)
GROUPS = st.builds(Group, st.just(5), st.sampled_from(GroupType), st.lists(BUCKETS, max_size=4).map(tuple))
ACTIONS = st.lists(SIMPLE | st.just(ToGroup(5)), max_size=4).map(tuple)


@given(GROUPS, ACTIONS, st.sampled_from([ETH_TYPE_IPV4, ETH_TYPE_ARP]), st.booleans(), st.sampled_from([0, 1, 2, 3]))
@settings(max_examples=300)
def test_a_fate_is_what_the_pipeline_does(
    group: Group, actions: tuple[Action, ...], eth_type: int, labelled: bool, dead: int
) -> None:
    fates = Fates("s1", {group})
    packet = Packet("", "", eth_type, labels=(LABEL,) if labelled else ())
    rules = SwitchRules(frozenset({FlowRule(Table.GUARD, 1, Match(), actions)}), frozenset({group}))
    pipeline = SwitchPipeline("s1", rules)
    try:
        outcomes = pipeline.process(packet, PORT, {dead})
    except RuleError:
        assert not fates.of(fates.number(actions), eth_type, labelled=labelled, dead=dead).is_one
        return
    sent = {emission for alternative in outcomes for emission in alternative}
    if any(len(emission.packet.labels) > 1 for emission in sent):
        with pytest.raises(Unreadable, match="s1 puts two labels on a packet"):
            fates.of(fates.number(actions), eth_type, labelled=labelled, dead=dead)
        return
    fate = fates.of(fates.number(actions), eth_type, labelled=labelled, dead=dead)
    assert {
        (PORT if port == IN_PORT else port, LABEL if label == SAME_LABEL else label) for port, label in fate.outs
    } == {(emission.port, emission.packet.labels[0] if emission.packet.labels else None) for emission in sent}
    assert fate.is_one == all(
        len(alternative) == 1 and alternative[0].port != PORT_CONTROLLER for alternative in outcomes
    )


def failover(port: int) -> Group:
    return Group(5, GroupType.FAST_FAILOVER, (Bucket((Output(port),), port), Bucket((Output(3),), 3)))


def test_what_is_known_of_a_group_is_forgotten_once_it_means_something_else() -> None:
    fates = Fates("s1", {failover(1)})
    doing = fates.number((ToGroup(5),))
    assert fates.of(doing, ETH_TYPE_IPV4, labelled=False) == Fate(((1, None),), True)

    assert fates.after({failover(1)}) is fates
    assert fates.after(frozenset()) is fates
    changed = fates.after({failover(2)})
    assert changed.of(changed.number((ToGroup(5),)), ETH_TYPE_IPV4, labelled=False) == Fate(((2, None),), True)


def test_a_group_that_was_gone_and_comes_back_otherwise_means_something_else() -> None:
    fates = Fates("s1", {failover(1)}).after(frozenset())
    assert fates.after({failover(2)}) is not fates
