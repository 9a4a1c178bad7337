"""What the verifier says of classes of packets is what becomes of each packet that is sent."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given, settings
from hypothesis import strategies as st

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.proof import Proof
from dataplane.reading import SwitchReading
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    FlowRule,
    Masked,
    Match,
    Output,
    PopLabel,
    PushLabel,
    RuleSet,
    SetLabel,
    Table,
)
from dataplane.testing import cables, fault, labelled_paths, mutated
from dataplane.verifier import VerificationReport, Verifier, verify
from dataplane.wiring import Wiring
from solver.testing import fabrics
from topologies.errors import HeddleError
from topologies.fabric import Fabric


@st.composite
def installed(draw: st.DrawFn) -> tuple[Fabric, tuple[LabelledPath, ...], RuleSet]:
    """A fabric, a plan, and the rules for both."""
    fabric = draw(fabrics(max_switches=5, max_hosts=4))
    paths = draw(labelled_paths(fabric))
    return fabric, paths, compile_rules(fabric, default=draw(st.sampled_from(DefaultRouting)), paths=paths)


def refusal(verifier: Verifier, fabric: Fabric, rules: RuleSet, paths: tuple[LabelledPath, ...], failures: bool) -> str:
    """Why a verifier refuses rules; empty where it accepts them."""
    try:
        verifier.verify(fabric, rules, paths, failures=failures)
    except HeddleError as error:
        return str(error)
    return ""


def outcome(
    verifier: Verifier, fabric: Fabric, rules: RuleSet, paths: tuple[LabelledPath, ...], failures: bool
) -> VerificationReport | type[HeddleError]:
    """What a verifier reports, or how it refuses."""
    try:
        return verifier.verify(fabric, rules, paths, failures=failures)
    except HeddleError as error:
        return type(error)


ADDRESSES = st.sampled_from(
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.0/30", "10.0.0.0/8", "192.0.2.1", "128.0.0.0/1"]
)
ACTIONS = st.lists(
    st.one_of(
        st.builds(Output, st.sampled_from([1, 2, 3, 4, PORT_IN_PORT, PORT_CONTROLLER])),
        st.builds(PushLabel, st.sampled_from([16, 17])),
        st.builds(SetLabel, st.sampled_from([16, 17])),
        st.builds(PopLabel, st.sampled_from([ETH_TYPE_IPV4, ETH_TYPE_ARP])),
    ),
    max_size=3,
).map(tuple)


@st.composite
def strange_flows(draw: st.DrawFn) -> FlowRule:
    """A flow of any table that looks at anything and does anything, most of it senseless."""
    fields: dict[str, object] = {"in_port": draw(st.none() | st.integers(1, 4))}
    fields["eth_type"] = draw(st.sampled_from([None, ETH_TYPE_IPV4, ETH_TYPE_ARP, ETH_TYPE_MPLS]))
    fields["eth_dst"] = draw(st.none() | st.just("02:00:00:00:00:01"))
    match fields["eth_type"]:
        case 0x0800:
            fields |= {name: draw(st.none() | ADDRESSES) for name in ("ipv4_src", "ipv4_dst")}
            fields["ip_proto"] = draw(st.sampled_from([None, IP_PROTO_TCP, IP_PROTO_UDP]))
            if fields["ip_proto"] == IP_PROTO_UDP:
                fields["udp_src"] = draw(st.sampled_from([None, 5, Masked(1, 1), Masked(2, 6)]))
        case 0x0806:
            fields["arp_tpa"] = draw(st.none() | ADDRESSES)
        case 0x8847:
            fields["mpls_label"] = draw(st.sampled_from([None, 16, 17]))
    table = draw(st.sampled_from(Table))
    goto = draw(st.sampled_from([None, *(later for later in Table if later > table)]))
    return FlowRule(table, draw(st.integers(0, 300)), Match(**fields), draw(ACTIONS), goto)  # type: ignore[arg-type]


@given(installed(), st.data(), st.booleans())
@settings(max_examples=200)
def test_whatever_a_table_holds_besides_what_is_accepted_is_right(
    drawn: tuple, data: st.DataObject, failures: bool
) -> None:
    fabric, paths, rules = drawn
    switch = data.draw(st.sampled_from(sorted(rules)))
    extra = frozenset(data.draw(st.lists(strange_flows(), min_size=1, max_size=2)))
    strange = {**rules, switch: replace(rules[switch], flows=rules[switch].flows | extra)}
    if refusal(Verifier(), fabric, strange, paths, failures):
        event("refused")
    else:
        event("accepted")
        assert fault(fabric, strange, paths, failures=failures) is None


def without_a_cable(data: st.DataObject, fabric: Fabric) -> Fabric:
    """A fabric, whole or without one of its cables."""
    inner = list(cables(fabric))
    return fabric.without_links(data.draw(st.sampled_from([frozenset(), *inner])))


@given(installed(), st.booleans())
@settings(max_examples=60)
def test_what_is_compiled_is_accepted_and_right(drawn: tuple, failures: bool) -> None:
    fabric, paths, rules = drawn
    assert fault(fabric, rules, paths, failures=failures) is None
    assert verify(fabric, rules, paths, failures=failures).planned == len(paths)


@given(installed(), st.data(), st.booleans())
@settings(max_examples=150)
def test_rules_with_a_fault_are_refused_and_others_are_not(drawn: tuple, data: st.DataObject, failures: bool) -> None:
    fabric, paths, rules = drawn
    for _ in range(data.draw(st.integers(1, 2))):
        rules = data.draw(mutated(rules))
    wrong = fault(fabric, rules, paths, failures=failures)
    said = refusal(Verifier(), fabric, rules, paths, failures)
    if said and wrong is None and "forged packet" in said:
        event("only the guard is open")
        return
    event("wrong" if wrong else "right")
    assert bool(said) == (wrong is not None), said or wrong


@given(installed(), st.data())
@settings(max_examples=60)
def test_a_verifier_that_remembers_says_what_a_new_one_says(drawn: tuple, data: st.DataObject) -> None:
    fabric, paths, rules = drawn
    verifier = Verifier()
    for _ in range(4):
        changed = data.draw(st.one_of(st.just(rules), mutated(rules)))
        part = without_a_cable(data, fabric)
        alive = tuple(path for path in paths if all(link in part.link_by_id for link in path.links))
        failures = data.draw(st.booleans())
        afresh = outcome(Verifier(), part, changed, alive, failures)
        event("accepted" if isinstance(afresh, VerificationReport) else "refused")
        assert outcome(verifier, part, changed, alive, failures) == afresh


@given(installed(), st.data())
@settings(max_examples=100)
def test_a_verifier_that_remembers_is_not_misled_by_plans_that_were_refused(drawn: tuple, data: st.DataObject) -> None:
    fabric, paths, rules = drawn
    default = data.draw(st.sampled_from(DefaultRouting))
    verifier = Verifier()
    outcome(verifier, fabric, rules, paths, failures=True)
    for _ in range(data.draw(st.integers(2, 5))):
        if data.draw(st.booleans()):
            paths = data.draw(labelled_paths(fabric))
        rules = compile_rules(fabric, default=default, paths=paths)
        for _ in range(data.draw(st.integers(0, 2))):
            rules = data.draw(mutated(rules))
        afresh = outcome(Verifier(), fabric, rules, paths, failures=True)
        event("accepted" if isinstance(afresh, VerificationReport) else "refused")
        assert outcome(verifier, fabric, rules, paths, failures=True) == afresh


@given(installed(), st.data())
@settings(max_examples=60)
def test_a_verifier_that_remembers_proves_one_plan_after_another(drawn: tuple, data: st.DataObject) -> None:
    whole, paths, rules = drawn
    verifier = Verifier()
    verifier.verify(whole, rules, paths, failures=True)
    for _ in range(3):
        fabric = without_a_cable(data, whole)
        kept = [path for path in paths if all(link in fabric.link_by_id for link in path.links)]
        pairs = {(path.source, path.target) for path in kept}
        taken = {path.label for path in kept}
        fresh = [
            path for path in data.draw(labelled_paths(fabric))
            if (path.source, path.target) not in pairs and path.label not in taken
        ]  # fmt: skip
        paths = (*kept, *fresh)
        compiled = compile_rules(fabric, default=DefaultRouting.ECMP, paths=paths)
        assert verifier.verify(fabric, compiled, paths, failures=True) == verify(fabric, compiled, paths, failures=True)


@given(installed(), st.data(), st.booleans())
@settings(max_examples=60)
def test_packets_sent_one_by_one_give_the_same_numbers(drawn: tuple, data: st.DataObject, failures: bool) -> None:
    fabric, paths, rules = drawn
    rules = data.draw(st.one_of(st.just(rules), mutated(rules)))
    planned = {(path.source, path.target): {path.links} for path in paths}
    try:
        report = verify(fabric, rules, paths, failures=failures)
        readings = {node.id: SwitchReading(node.id, rules[node.id]) for node in fabric.switches}
        proof = Proof(fabric, Wiring(fabric), readings, planned, None)
    except HeddleError:
        return
    pairs, cut_off = proof.one_by_one(failures=failures)
    assert (report.pairs, report.cut_off, len(report.unprotected)) == (pairs, sum(cut_off.values()), len(cut_off))
