from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.config import SwitchesConfig
from controller.framing import Violation
from controller.trust import SwitchTrust, trusted_switches
from topologies.errors import InputError
from topologies.fabric import Fabric, Node, NodeKind

OURS, THEIRS = "ab" * 32, "cd" * 32
DPIDS = st.integers(1, (1 << 64) - 1)


def refusal(trust: SwitchTrust, dpid: int, fingerprint: str | None) -> Violation:
    with pytest.raises(Violation) as refused:
        trust.check(dpid, fingerprint)
    return refused.value


@given(DPIDS, st.none() | st.just(OURS))
def test_without_a_word_about_it_every_switch_may_connect(dpid: int, fingerprint: str | None) -> None:
    SwitchTrust().check(dpid, fingerprint)


@given(st.frozensets(DPIDS, max_size=5), DPIDS)
def test_of_a_list_those_on_it_may_connect_and_no_other(listed: frozenset[int], dpid: int) -> None:
    trust = SwitchTrust(allowed=listed)

    for allowed in listed:
        trust.check(allowed, None)
    if dpid not in listed:
        assert refusal(trust, dpid, None).kind == "untrusted"


def test_the_sentence_names_the_dpid_that_is_not_listed() -> None:
    sentence = str(refusal(SwitchTrust(allowed=frozenset({1})), 0xAB, None))

    assert sentence == "has dpid 00000000000000ab, which 'switches.allowed' does not let connect"


def test_a_pinned_dpid_comes_with_one_of_its_certificates_and_others_with_any() -> None:
    trust = SwitchTrust(pins={1: frozenset({OURS, "ef" * 32})})

    trust.check(1, OURS)
    trust.check(2, THEIRS)
    violation = refusal(trust, 1, THEIRS)

    assert violation.kind == "untrusted"
    ours, other, theirs = (":".join([byte] * 32) for byte in ("AB", "EF", "CD"))
    assert f"expects the certificate with fingerprint {ours} or {other}, and came with {theirs}" in str(violation)


def test_a_pinned_dpid_without_a_certificate_is_refused() -> None:
    assert str(refusal(SwitchTrust(pins={1: frozenset({OURS})}), 1, None)).endswith("and came with none")


def test_a_certificate_does_not_let_a_dpid_in_that_is_not_listed() -> None:
    trust = SwitchTrust(frozenset({2}), {1: frozenset({OURS})})

    refusal(trust, 1, OURS)


def test_a_certificate_for_a_dpid_that_may_not_connect_is_refused_at_the_start() -> None:
    fabric = Fabric((Node("s1", NodeKind.SWITCH, dpid=7),), ())
    pins = {"0000000000000001": OURS}

    for allowed in (["0000000000000002"], "declared"):
        with pytest.raises(InputError, match=r"switches\.certificates names dpid 0000000000000001, which"):
            trusted_switches(SwitchesConfig(allowed=allowed, certificates=pins), fabric)
    assert trusted_switches(SwitchesConfig(certificates=pins), fabric).pins == {1: {OURS}}


def test_declared_means_the_switches_of_the_fabric_file() -> None:
    fabric = Fabric((Node("s1", NodeKind.SWITCH, dpid=7), Node("h1", NodeKind.HOST)), ())

    assert trusted_switches(SwitchesConfig(allowed="declared"), fabric).allowed == {7}
    assert trusted_switches(SwitchesConfig(), fabric).allowed is None
    assert trusted_switches(SwitchesConfig(allowed=["00000000000000ff"]), fabric).allowed == {0xFF}


def test_declared_needs_a_dpid_of_every_switch() -> None:
    fabric = Fabric((Node("s1", NodeKind.SWITCH, dpid=7), Node("s2", NodeKind.SWITCH)), ())

    with pytest.raises(InputError, match="switch 's2' of the fabric file has no dpid"):
        trusted_switches(SwitchesConfig(allowed="declared"), fabric)
