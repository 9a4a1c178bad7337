"""The benchmark of proofs: what it compares is what it says."""

from benchmarks.dataplane import verification
from benchmarks.dataplane.cases import Setting


def test_a_short_run_tells_both_proofs_and_both_states_of_the_verifier():
    cases = list(verification.row(Setting(quick=True)))

    assert [case.row for case in cases] == [verification.ROW] * 3
    assert "packet by packet" in cases[0].case
    assert [case.case for case in cases[1:]] == [
        "k=4, 240 planned paths: from nothing",
        "k=4, 240 planned paths: after a link died",
    ]
    assert "32 cables" in cases[1].measured
