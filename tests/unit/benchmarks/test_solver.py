"""The solver's benchmark: what it prints, when it fails, and that peers are asked the same question."""

import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.solver import __main__ as program
from benchmarks.solver.cases import CASES, Case, Settings
from benchmarks.solver.child import Measurement, Reading, measure
from benchmarks.solver.hashing import Hashing
from benchmarks.solver.instances import LINE_RATE_BPS, AllToAll, FatTree, LeafSpine, Rings, State
from benchmarks.solver.key_files import Tunnels
from benchmarks.solver.lines import Limits, Line, Verdict, hashing_line, our_line, peer_line
from benchmarks.solver.ours import AfterFailure, Ours
from benchmarks.solver.peers import MATRIX, TEXTBOOK, PeerTask
from benchmarks.solver.picture import draw
from benchmarks.solver.splitting import worst_link
from solver.baselines import ecmp
from solver.routing import Objective

REPOSITORY = Path(__file__).parents[3]
OURS = Line("a case", "a question", "symmetry", True, Verdict.MET, 0.01, 5, limit_s=0.1, value=0.9, gap=0.0, ports=4)
PEER = Line("a case", "a question", "a peer", False, Verdict.COMPARED, 2.0, 1, ratio=200.0, value=0.9, ports=4)
LATE = replace(OURS, seconds=0.2, verdict=Verdict.MISSED)
WRONG = replace(PEER, value=0.8, verdict=Verdict.WRONG)


def _measured(*seconds, value=0.9, gap=0.0, **more):
    readings = tuple(Reading(each, "an engine", value, value, gap, **more) for each in seconds)
    return Measurement(readings, 2**27, 60.0)


def _cases(*lines):
    return [Case("fake", lambda _settings: iter(lines), quick=True)]


def test_a_quick_run_prints_json_alone_with_every_field():
    words = ["-m", "benchmarks.solver", "--quick", "--json", "--only", "ring-64x32", "--repeat", "1"]

    done = subprocess.run([sys.executable, "-B", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    # How long it takes is not a matter of tests.
    assert done.returncode in (0, program.FAILED), done.stderr
    printed = json.loads(done.stdout)
    assert printed["settings"] | {"quick": True, "repeat": 1} == printed["settings"]
    assert printed["machine"]["libraries"]["highspy"]
    healthy, hashed, *_ = printed["lines"]
    assert set(healthy) == {field.name for field in fields(Line)}
    assert healthy["value"] == pytest.approx(1)
    assert healthy["peak_bytes"] > 2**20
    assert hashed["engine"] == "ECMP"
    assert hashed["value"] > 2


@pytest.mark.parametrize(("lines", "code"), [([OURS, PEER], 0), ([LATE, PEER], 4), ([OURS, WRONG], 4)])
def test_a_missed_limit_or_a_wrong_answer_ends_with_4(lines, code, capsys):
    assert program.main(["--quick"], _cases(*lines)) == code
    assert program.main(["--quick", "--json"], _cases(*lines)) == code
    assert "a peer" in capsys.readouterr().out


def test_peers_that_are_not_installed_are_listed_and_no_error(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.solver.peers.find_spec", lambda name: None if name == "ortools" else name)

    assert program.main(["--quick"], _cases(OURS)) == 0
    assert "absent: OR-Tools GLOP" in capsys.readouterr().out
    assert program.main(["--quick", "--json"], _cases(OURS)) == 0
    assert json.loads(capsys.readouterr().out)["absent"] == ["OR-Tools GLOP", "OR-Tools PDLP"]


def test_a_picture_is_drawn_where_asked(tmp_path):
    cut_off = replace(PEER, engine="a slow peer", cut_off=True, ports=8)

    assert program.main(["--plot", str(tmp_path / "times.png")], _cases(OURS, PEER, cut_off)) == 0

    assert (tmp_path / "times.png").stat().st_size
    bars, growth = draw([OURS, PEER, cut_off]).axes
    assert [patch.get_hatch() for patch in bars.patches] == [None, None, "///"]
    assert len(growth.lines) == 3


def test_a_case_that_is_unknown_or_lacks_its_data_is_refused_by_name():
    with pytest.raises(SystemExit, match="no case 'nonsense'"):
        program.main(["--only", "nonsense"])
    with pytest.raises(SystemExit, match="kdl needs --data"):
        program.main(["--only", "kdl"])


def test_a_quick_run_needs_neither_data_nor_the_large_cases(tmp_path):
    (tmp_path / "repetita").mkdir()
    quick, long = Settings(quick=True, data=tmp_path), Settings(data=tmp_path)

    names = {case.name for case in CASES if case.wanted(quick)}
    assert names == {"all-to-all-k4", "all-to-all-k8", "ring-64x32", "ring-k16", "failure"}
    assert {case.name for case in CASES if not case.wanted(long)} == {"facebook-pod", "kdl"}


def test_what_takes_too_long_is_cut_off_with_the_processes_that_it_started():
    begun = time.monotonic()

    cut_off = measure(partial(partial, subprocess.run, ["sleep", "60"]), repeat=3, limit_s=0.3)

    assert cut_off.cut_off
    assert not cut_off.readings
    assert cut_off.peak_bytes
    # The tests' own fixture sees to it that nothing is left running.
    assert time.monotonic() - begun < 30


def test_what_fails_in_a_child_says_why():
    failed = measure(partial(partial, int, "x"), repeat=1, limit_s=10.0)

    assert failed.error.startswith("ValueError")
    assert our_line("case", "what", failed, Limits()).verdict is Verdict.WRONG


def test_the_median_is_held_against_the_limit():
    assert our_line("case", "what", _measured(0.1, 0.2, 9.0), Limits(0.3)).verdict is Verdict.MET
    assert our_line("case", "what", _measured(0.1, 0.4, 9.0), Limits(0.3)).verdict is Verdict.MISSED
    assert our_line("case", "what", _measured(0.1), Limits(0.3, peak_bytes=2**20)).verdict is Verdict.MISSED
    assert our_line("case", "what", _measured(0.1), Limits()).verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("measured", "limits"),
    [
        (_measured(0.1, gap=0.02), Limits(gap=0.01)),
        (_measured(0.1, value=0.5), Limits(value=(0.8, 0.9))),
        (_measured(0.1, wrong="not the key's values"), Limits(1.0)),
    ],
)
def test_an_answer_out_of_bounds_is_wrong(measured, limits):
    assert our_line("case", "what", measured, limits).verdict is Verdict.WRONG


def test_a_peer_that_is_cut_off_has_a_ratio_of_at_least_that(capsys):
    peer = peer_line(OURS, "a peer", Measurement((), None, 120.0, cut_off=True), exact=True)

    assert (peer.ratio, peer.cut_off, peer.verdict) == (pytest.approx(12_000), True, Verdict.COMPARED)
    program.main([], _cases(OURS, peer))
    assert re.search(r"> 120 s\s+> 1.2e\+04", capsys.readouterr().out)


def test_an_exact_peer_with_another_value_is_wrong_and_one_that_stops_near_it_is_not():
    measured = _measured(0.5, value=0.9001)

    assert peer_line(OURS, "a peer", measured, exact=True).verdict is Verdict.WRONG
    assert peer_line(OURS, "a peer", measured, exact=False).verdict is Verdict.COMPARED
    assert hashing_line(OURS, {0: 1.8, 1: 3.6}).note.endswith("3.00 times ours")


@pytest.mark.parametrize("objective", [Objective.MIN_DELAY, Objective.MIN_MAX_UTILISATION])
@pytest.mark.parametrize("state", [State.DEGRADED, State.FAILED])
@pytest.mark.parametrize("peer", [peer for peer in (*TEXTBOOK, *MATRIX) if peer.here], ids=lambda peer: peer.name)
def test_peers_are_asked_what_we_are_asked(peer, state, objective):
    recipe = AllToAll(4, state)

    ours, theirs = Ours(recipe, objective)()(), PeerTask(peer, recipe, objective)()()

    assert theirs.value == pytest.approx(ours.value, rel=1e-6 if peer.exact else 1e-3)


def test_rings_visit_every_host_once_and_lose_the_share_of_cables_asked_for():
    whole, demands = Rings(LeafSpine(4, 4)).build()
    thinned, again = Rings(LeafSpine(4, 4), failed=0.25).build()

    assert sorted(demand.source for demand in demands) == sorted(host.id for host in whole.hosts)
    assert sorted(demand.target for demand in demands) == sorted(host.id for host in whole.hosts)
    assert again == demands
    assert len(whole.links) - len(thinned.links) == 2 * 4


def test_hashing_over_arrays_is_the_hashing_of_the_baseline():
    fabric, demands = Rings(FatTree(4)).build()
    hashing = Hashing.of(fabric, demands)

    ours = [hashing.utilisations(seed) for seed in range(300)]
    baseline = [ecmp(fabric, demands, seed).utilisations() for seed in range(300)]

    assert {load.sum() for load in ours} == {load.sum() for load in baseline}
    assert np.mean([load.max() for load in ours]) == pytest.approx(np.mean([load.max() for load in baseline]), rel=0.05)
    assert hashing.capacities_bps.max() == LINE_RATE_BPS


@pytest.mark.parametrize(("state", "worst"), [(State.HEALTHY, 1.0), (State.DEGRADED, 0.9), (State.FAILED, 0.9)])
def test_equal_splitting_knows_no_capacities(state, worst):
    # A leaf with two uplinks sends 0.9 of one: 0.45 on each, which is 0.9 of the one that has half its capacity.
    assert worst_link(AllToAll(4, state)) == pytest.approx(worst)


def test_a_session_goes_on_after_a_failure():
    for warm in (True, False):
        reading = AfterFailure(Rings(FatTree(4)), ("e0-0", "a0-0"), warm=warm)()()

        assert reading.value == pytest.approx(2)


@pytest.mark.parametrize(("key", "wrong"), [("0.5 1.0", ""), ("0.5 0.9", "not the key's values")])
def test_matrices_over_tunnels_are_held_against_their_key(tmp_path, key, wrong):
    links = [{"source": a, "target": b, "capacity": 10.0} for a, b in [(0, 1), (1, 0), (0, 2), (2, 1)]]
    graph = {"directed": True, "multigraph": False, "graph": {}, "nodes": [{"id": n} for n in range(3)], "links": links}
    (tmp_path / "Facebook_pod_a.json").write_text(json.dumps(graph))
    (tmp_path / "tunnels.txt").write_text("0 1:0-1,0-2-1\n1 0:1-0\n")
    (tmp_path / "5.hist").write_text("0 10 0 0 0 0 0 0 0\n0 5 0 10 0 0 0 0 0\n")
    (tmp_path / "5.opt").write_text(key.replace(" ", "\n"))

    reading = Tunnels(tmp_path)()()

    assert reading.wrong == wrong


def test_the_commands_and_cases_of_the_page_are_real():
    page = (REPOSITORY / "docs" / "benchmarks.md").read_text()
    commands = re.findall(r"^\$ python -m benchmarks\.solver(.*)$", page, re.MULTILINE)

    assert commands
    for words in commands:
        options = program._parser().parse_args(shlex.split(words))
        assert set(options.only or ()) <= {case.name for case in CASES}
    explained = page.partition("| case | what is asked |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", explained)) == {case.name for case in CASES}
    flags = set(re.findall(r"^\| `(--[\w-]+)", page, re.MULTILINE))
    assert flags == set(re.findall(r"(--[\w-]+)", program._parser().format_help())) - {"--help"}
