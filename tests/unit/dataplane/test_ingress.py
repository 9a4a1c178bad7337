"""A split pair's packets take its paths in the shares planned, and the verifier knows right rules from wrong ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import pytest

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.flowspace import portions
from dataplane.ingress import CapTable
from dataplane.network import Network, VerificationError
from dataplane.pipeline import SwitchPipeline, ipv4_packet
from dataplane.rules import (
    ETH_TYPE_IPV4,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    METER_ID_END,
    RATE_CAP_ID_BASE,
    FlowRule,
    GroupType,
    Masked,
    Match,
    PushLabel,
    RateCap,
    RuleSet,
    SwitchRules,
    Table,
    ToGroup,
)
from dataplane.testing import fault, identity
from dataplane.update import StageKind, apply_operations, apply_stage, stages
from dataplane.verifier import verify
from solver.routing import Path
from topologies.errors import InputError
from topologies.fabric import LinkId
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=1e7)
MANY = 40_000


def path(cores: int, share: float, label: int, **more: float) -> LabelledPath:
    """From h1 to h16 over a core."""
    up, over = divmod(cores - 1, 2)
    links = f"h1:1 e0-0:{3 + up} a0-{up}:{3 + over} c{cores}:4 a3-{up}:2 e3-1:2"
    return LabelledPath("h1", "h16", tuple(map(LinkId.parse, links.split())), label, share, **more)


def split(*shares: float, flows: int, **more: float) -> list[LabelledPath]:
    return [path(1 + place, share, 77 + place, flows=flows, **more) for place, share in enumerate(shares)]


def compiled(paths: list[LabelledPath]) -> RuleSet:
    return compile_rules(K4, default=DefaultRouting.ECMP, paths=paths)


def cores(rules: RuleSet, ip_proto: int | None, ports: range) -> Counter[str]:
    """How many of some flows cross each core; no way counts where a hash may choose."""
    network, taken = Network(K4, rules), Counter[str]()
    for port in ports:
        proto = {"ip_proto": ip_proto, "src_port": port, "dst_port": 4791} if ip_proto is not None else {}
        packet = ipv4_packet(identity(K4, "h1"), identity(K4, "h16"), **proto)
        ways = network.ways("h1", packet, "h16")
        if len(ways) == 1:
            taken[next(iter(ways))[3].node] += 1
    return taken


def classify(rules: RuleSet) -> list[FlowRule]:
    return [rule for rule in rules["e0-0"].flows if rule.table is Table.CLASSIFY and rule.match.ipv4_dst]


@pytest.mark.parametrize(("ip_proto", "step"), [(IP_PROTO_UDP, 1), (IP_PROTO_TCP, 2)])
@pytest.mark.parametrize("flows", [4, 64])
def test_flows_take_the_paths_in_the_shares_planned(ip_proto: int, step: int, flows: int) -> None:
    rules = compiled(split(0.25, 0.75, flows=flows))
    ports = range(49_152, 49_152 + step * flows, step)
    assert cores(rules, ip_proto, ports) == {"c1": flows // 4, "c2": flows - flows // 4}


def test_packets_without_ports_take_the_widest_path() -> None:
    rules = compiled(split(0.25, 0.75, flows=64))
    assert cores(rules, None, range(1)) == {"c2": 1}
    assert cores(rules, 1, range(1)) == {"c2": 1}


def test_two_equal_parts_need_three_rules() -> None:
    rules = classify(compiled(split(0.5, 0.5, flows=4)))
    assert sorted(str(rule.match.udp_src or rule.match.tcp_src or "") for rule in rules) == [
        "",
        "0x0001/0x0001",
        "0x0002/0x0002",
    ]


def test_only_where_flows_are_very_many_does_a_select_group_split_tcp_and_never_udp() -> None:
    paths = [path(1, 0.25, 77, flows=MANY), path(3, 0.75, 78, flows=MANY)]
    rules = compiled(paths)
    (rule,) = [rule for rule in classify(rules) if rule.match.ip_proto == IP_PROTO_TCP]
    (action,) = rule.actions
    assert isinstance(action, ToGroup)
    (group,) = [group for group in rules["e0-0"].groups if group.id == action.group_id]
    assert group.type is GroupType.SELECT
    assert Counter((bucket.actions[0], bucket.watch_port) for bucket in group.buckets) == {
        (PushLabel(77), 3): 16,
        (PushLabel(78), 4): 48,
    }
    udp = [rule for rule in classify(rules) if rule.match.ip_proto == IP_PROTO_UDP]
    assert udp
    assert not any(isinstance(action, ToGroup) for rule in udp for action in rule.actions)
    assert verify(K4, rules, paths, pairs=(), failures=True).planned == 1


def test_paths_that_begin_with_one_link_are_not_left_to_a_hash_that_has_no_other_bucket_then() -> None:
    rules = compiled(split(0.5, 0.5, flows=MANY))
    assert not any(isinstance(action, ToGroup) for rule in classify(rules) for action in rule.actions)


def test_what_cannot_be_split_is_refused_with_the_pair_and_the_numbers() -> None:
    with pytest.raises(InputError, match="the pair h1 → h16: a split of 50 : 50 % is not possible: one flow"):
        compiled(split(0.5, 0.5, flows=1))


def test_shares_that_are_no_whole_are_refused() -> None:
    with pytest.raises(InputError, match="shares of the pair h1 → h16"):
        compiled(split(0.5, 0.4, flows=64))


def test_a_split_survives_every_single_failure() -> None:
    paths = split(0.25, 0.25, 0.5, flows=64)
    rules = compiled(paths)
    assert verify(K4, rules, paths, pairs=(), failures=True).planned == 1
    others = {host.id for host in K4.hosts} - {"h1", "h16"}
    lame = K4.without_links(link.id for link in K4.links if {link.source, link.target} & others)
    assert fault(lame, compile_rules(lame, default=DefaultRouting.ECMP, paths=paths), paths, failures=True) is None


def with_rule(rules: RuleSet, old: FlowRule, *new: FlowRule) -> RuleSet:
    whole = rules["e0-0"]
    return {**rules, "e0-0": SwitchRules(whole.flows - {old} | set(new), whole.groups, whole.meters)}


def test_the_verifier_refuses_a_split_that_leaves_a_path_unused() -> None:
    paths = split(0.25, 0.75, flows=4)
    rules = compiled(paths)
    narrow = [rule for rule in classify(rules) if rule.match.ip_proto is not None]
    for rule in narrow:
        rules = with_rule(rules, rule)
    with pytest.raises(VerificationError, match="packets h1 → h16 take"):
        verify(K4, rules, paths, pairs=())


def test_the_verifier_refuses_a_rule_of_a_split_that_leads_elsewhere() -> None:
    paths = split(0.25, 0.75, flows=4)
    rules = compiled(paths)
    rule = next(rule for rule in classify(rules) if rule.match.ip_proto == IP_PROTO_UDP)
    for wrong in (
        replace(rule, actions=(PushLabel(1000),)),
        replace(rule, actions=(), goto=Table.DEFAULT),
        replace(rule, actions=(), goto=None),
    ):
        with pytest.raises(VerificationError):
            verify(K4, with_rule(rules, rule, wrong), paths, pairs=())


@pytest.mark.parametrize(("ip_proto", "name"), [(IP_PROTO_UDP, "UDP"), (IP_PROTO_TCP, "TCP")])
def test_the_verifier_refuses_masks_that_give_a_path_another_share(ip_proto: int, name: str) -> None:
    paths = split(0.25, 0.75, flows=4)
    rules = compiled(paths)
    (rule,) = [rule for rule in classify(rules) if rule.match.ip_proto == ip_proto]
    half = Masked(2, 2)
    wrong = replace(rule.match, **{"udp_src" if name == "UDP" else "tcp_src": half})
    with pytest.raises(
        VerificationError, match=f"of {name} h1 → h16, 50 % take the path with label 7[78], [27]5 % are"
    ):
        verify(K4, with_rule(rules, rule, replace(rule, match=wrong)), paths, pairs=())


@pytest.mark.parametrize("table", [Table.DEFAULT, Table.CLASSIFY])
def test_shares_are_looked_at_where_rules_cannot_be_read_in_classes_too(table: Table) -> None:
    paths = split(0.25, 0.75, flows=4)
    rules = compiled(paths)
    match = Match(eth_type=ETH_TYPE_IPV4, ipv4_src="10.0.0.0/8", ipv4_dst="203.0.113.0/24")
    unreadable = FlowRule(table, 7, match, goto=Table.DEFAULT if table is Table.CLASSIFY else None)
    (rule,) = [rule for rule in classify(rules) if rule.match.ip_proto == IP_PROTO_UDP]
    assert verify(K4, with_rule(rules, rule, rule, unreadable), paths, pairs=()).planned == 1
    wrong = replace(rule, match=replace(rule.match, udp_src=Masked(2, 2)))
    with pytest.raises(VerificationError, match=r"of UDP h1 → h16, 50 % take the path"):
        verify(K4, with_rule(rules, rule, wrong, unreadable), paths, pairs=())


def test_the_verifier_refuses_a_group_whose_buckets_give_a_path_another_share() -> None:
    paths = [path(1, 0.25, 77, flows=MANY), path(3, 0.75, 78, flows=MANY)]
    rules = compiled(paths)
    (group,) = [group for group in rules["e0-0"].groups if isinstance(group.buckets[0].actions[0], PushLabel)]
    wrong = replace(group, buckets=(*group.buckets, *group.buckets[-1:] * 16))
    whole = rules["e0-0"]
    others = {**rules, "e0-0": SwitchRules(whole.flows, whole.groups - {group} | {wrong}, whole.meters)}
    with pytest.raises(VerificationError, match="of TCP h1 → h16"):
        verify(K4, others, paths, pairs=())


@pytest.mark.parametrize("shares", [(0.25, 0.75), (0.37, 0.63), (0.1, 0.2, 0.7)])
def test_the_parts_that_rules_give_to_paths_are_counted_as_packets_are(shares: tuple[float, ...]) -> None:
    paths = split(*shares, flows=256)
    assert verify(K4, compiled(paths), paths, pairs=()).planned == 1
    rules = sorted(classify(compiled(paths)), key=lambda rule: -rule.priority)
    for ip_proto in (IP_PROTO_TCP, IP_PROTO_UDP):
        counted = Counter[int]()
        for rule, portion in portions(rules, ip_proto):
            counted[rule.actions[0].label] += round(portion * 65_536)
        sent = Counter[int]()
        pipeline = SwitchPipeline("e0-0", SwitchRules(frozenset(rules)))
        for port in range(0, 65_536, 7):
            packet = ipv4_packet(
                identity(K4, "h1"), identity(K4, "h16"), ip_proto=ip_proto, src_port=port, dst_port=1
            )  # fmt: skip
            rule = pipeline.lookup(Table.CLASSIFY, packet, 1)
            assert rule is not None
            sent[rule.actions[0].label] += 7
        assert all(abs(counted[label] - sent[label]) < 0.005 * 65_536 for label in counted | sent)


def test_the_verifier_looks_at_ports_that_only_one_mask_tells_apart() -> None:
    paths = split(0.25, 0.75, flows=4)
    rules = compiled(paths)
    rule = next(rule for rule in classify(rules) if rule.match.ip_proto == IP_PROTO_UDP)
    stray = replace(
        rule, priority=140, match=replace(rule.match, udp_src=Masked(0x8000, 0xFF00)), actions=(), goto=None
    )
    with pytest.raises(VerificationError, match="dropped at e0-0"):
        verify(K4, with_rule(rules, rule, rule, stray), paths, pairs=())


def test_a_capped_pair_has_one_meter_for_all_its_paths() -> None:
    paths = split(0.5, 0.5, flows=4, rate_cap_bps=2_500_000.0)
    rules = compiled(paths)
    (cap,) = [meter for meter in rules["e0-0"].meters if isinstance(meter, RateCap)]
    assert cap.rate_kbps == 2500
    assert {rule.meter_id for rule in classify(rules)} == {cap.id}
    assert RATE_CAP_ID_BASE <= cap.id < METER_ID_END
    assert verify(K4, rules, paths, pairs=()).planned == 1


def test_caps_of_two_pairs_have_two_meters_even_where_their_hashes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.ingress.METER_ID_END", RATE_CAP_ID_BASE + 2)
    caps = CapTable()
    ids = {caps.use(("10.0.0.1", f"10.0.0.{number}"), 1e6) for number in (2, 3)}
    assert ids == {RATE_CAP_ID_BASE, RATE_CAP_ID_BASE + 1}
    assert {meter.id for meter in caps.meters()} == ids


def test_another_cap_is_another_meter_so_that_none_is_ever_changed() -> None:
    one, other = (CapTable().use(("10.0.0.1", "10.0.0.2"), rate) for rate in (1e6, 2e6))
    assert one != other


def states(old: RuleSet, new: RuleSet) -> Iterator[RuleSet]:
    """The rules of the ingress after each single operation of an update, all other switches at their stage's end."""
    rules = old
    for stage in stages(old, new, fabric=K4):
        done = apply_stage(rules, stage)
        operations = stage.operations.get("e0-0", ())
        if stage.kind is not StageKind.CLEARING:
            for count in range(len(operations) + 1):
                yield {**done, "e0-0": apply_operations(rules["e0-0"], operations[:count])}
        rules = done
        yield rules


def ways_of_flows(rules: RuleSet) -> list[frozenset[Path]]:
    """The ways of a packet without ports, and of each of some flows."""
    network, ends = Network(K4, rules), (identity(K4, "h1"), identity(K4, "h16"))
    packets = [ipv4_packet(*ends)] + [
        ipv4_packet(*ends, ip_proto=proto, src_port=port, dst_port=4791)
        for proto in (IP_PROTO_TCP, IP_PROTO_UDP)
        for port in range(16)
    ]
    return [network.ways("h1", packet, "h16") for packet in packets]


SPLITS = {
    "whole": split(1.0, flows=1),
    "halves": split(0.5, 0.5, flows=4),
    "quarters": split(0.25, 0.25, 0.5, flows=4),
    "eighths": split(0.125, 0.5, 0.375, flows=8),
    "hashed": [path(1, 0.5, 77, flows=MANY), path(3, 0.5, 79, flows=MANY)],
    "unplanned": [],
}


@pytest.mark.parametrize(("before", "after"), list(permutations(SPLITS, 2)))
def test_while_a_pair_is_split_otherwise_every_flow_takes_its_old_way_or_its_new_one(before: str, after: str) -> None:
    old, new = (compiled([replace(one, label=one.label + place * 100) for one in SPLITS[name]])
                for place, name in enumerate((before, after)))  # fmt: skip
    was, becomes = ways_of_flows(old), ways_of_flows(new)
    for state in states(old, new):
        for mine, theirs, now in zip(was, becomes, ways_of_flows(state), strict=True):
            assert now in (mine, theirs)
