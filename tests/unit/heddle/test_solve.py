"""heddle solve: tables, JSON, files, exit codes and progress."""

import json
import re
import shlex
from pathlib import Path

import pytest

from heddle.main import main
from heddle.solve import objective_text
from solver.choice import Engine
from solver.errors import CertificateError
from solver.routing import Objective
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree
from topologies.files import write_fabric

SOLVING = Path(__file__).parents[3] / "docs" / "solving.md"
OBJECTIVES = [objective.value for objective in Objective]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A fabric with a fast and a slow way from a to d, a fat-tree, and demands on both."""
    links = []
    for port, (a, b, delay_s) in enumerate((("a", "b", 1.0), ("b", "d", 1.0), ("a", "c", 3.0), ("c", "d", 3.0)), 1):
        links += [Link(a, port, b, port, 10e6, delay_s), Link(b, port, a, port, 10e6, delay_s)]
    write_fabric(Fabric(tuple(Node(name, NodeKind.SWITCH) for name in "abcd"), tuple(links)), tmp_path / "ways.json")
    write_fabric(fat_tree(4, capacity_bps=10e9), tmp_path / "tree.json")
    for name, rate in (("some", 15e6), ("much", 30e6)):
        (tmp_path / f"{name}.csv").write_text(f"source,target,rate_bps\na,d,{rate}\n")
    uneven = "".join(f"h{n},h{(5 * n) % 16 + 1},{n}e8\n" for n in range(2, 17) if (5 * n) % 16 + 1 != n)
    (tmp_path / "tree.csv").write_text(f"source,target,rate_bps\n{uneven}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def solve(folder, capsys):
    """Run the verb; gives the exit code, standard output and standard error."""

    def run(line="--fabric ways.json --demands some.csv"):
        code = main(["solve", *shlex.split(line)])
        return code, *capsys.readouterr()

    return run


WAYS = "--fabric ways.json --demands some.csv"
MUCH = "--fabric ways.json --demands much.csv"
TREE = "--fabric tree.json --demands tree.csv"


def test_people_read_the_proof_the_fullest_links_and_the_routes(solve):
    code, out, err = solve()

    assert (code, err) == (0, "")
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "min-delay" in lines["objective"]
    assert lines["value"].endswith("50 Mbit on the way")
    assert lines["bound"].endswith("50 Mbit on the way")
    assert "optimal" in lines["gap"]
    assert lines["worst link"].endswith("a:1 → b, 100.0 % used")
    assert "aggregated" in lines["engine"]
    assert lines["b:2"].split() == ["b:2", "d:2", "10", "Mbit/s", "10", "Mbit/s", "100.0", "%"]
    assert out.splitlines()[-1].split() == ["a", "d", "15", "Mbit/s", "15", "Mbit/s", "2", "66.7", "%"]


def test_ten_links_are_shown_at_most_and_routes_of_few_demands_only(solve, folder):
    rows = "".join(f"h{n},h{(n + 5) % 16 + 1},1e8\nh{n},h{(n + 7) % 16 + 1},1e8\n" for n in range(1, 17))
    (folder / "many.csv").write_text("source,target,rate_bps\n" + rows)

    _, out, _ = solve("--fabric tree.json --demands many.csv")

    table = out.partition("\n\n")[2].splitlines()
    assert table[0].split() == ["link", "to", "capacity", "load", "used"]
    assert len(table) == 11


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_json_is_alone_on_standard_output_and_complete(solve, objective):
    code, out, err = solve(f"{TREE} --objective {objective} --json")

    routing = json.loads(out)
    assert (code, err) == (0, "")
    assert routing["status"] == "optimal"
    assert routing["objective"]["name"] == objective
    assert set(routing) >= {
        "max_utilisation", "total_delay", "violation", "loads", "prices", "routes", "engine", "reason", "seconds",
    }  # fmt: skip
    assert ("levels" in routing) == (objective == "max-min-fair")


def test_an_overload_is_said_in_a_sentence(solve):
    code, out, _ = solve(f"{MUCH} --objective min-max-utilisation")

    assert code == 0
    assert "do not fit: the worst link would have to carry 150.0 % of its capacity" in out


def test_what_cannot_fit_is_exit_code_3_with_its_cut(solve):
    code, out, err = solve(f"{MUCH} --json")

    answer = json.loads(out)
    assert code == 3
    assert answer["status"] == "infeasible"
    assert set(answer["cut"]["links"]) in ({"a:1", "a:3"}, {"b:2", "c:4"})
    assert (answer["cut"]["capacity_bps"], answer["cut"]["demand_bps"]) == pytest.approx((20e6, 30e6))
    assert err == f"heddle: {answer['message']}\n"
    assert solve(MUCH)[:2] == (3, "")


def test_an_overload_may_be_carried_fairly(solve):
    code, out, _ = solve(f"{MUCH} --on-overload fair")

    assert code == 0
    assert "max-min-fair" in out
    assert "66.6667 % of what is asked" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--fabric none.json --demands some.csv", "none.json cannot be read"),
        ("--fabric ways.json --demands none.csv", "none.csv cannot be read"),
        ("--fabric tree.json --demands some.csv", "'a'"),
        (f"{WAYS} --engine magic", "no engine 'magic'"),
        (f"{WAYS} --max-utilisation 2", "max_utilisation is 2"),
        (f"{WAYS} --gap 0", "gap is 0"),
        (f"{WAYS} --max-hops 0", "max_hops is 0"),
        (f"{WAYS} --time-limit 0", "time limit is 0 s"),
        (f"{WAYS} -o routing.txt", "name the file routing.json"),
        (f"{WAYS} -o none/routing.json", "no directory none"),
        (f"{WAYS} --plot picture.gif", "end its name in .png, .svg, .pdf"),
        (f"{WAYS} --plot none/picture.png", "no directory none"),
    ],
)
def test_bad_input_is_exit_code_2_and_named_in_both_outputs(solve, flags, said):
    code, out, err = solve(f"{flags} --json")

    assert code == 2
    assert json.loads(out) == {"status": "error", "message": err.removeprefix("heddle: ").rstrip("\n")}
    assert said in err
    assert solve(flags)[:2] == (2, "")


@pytest.mark.parametrize(
    "flags",
    ["--demands some.csv", f"{WAYS} --objective fastest", f"{WAYS} --seed -1", f"{WAYS} --capacity 10Q", f"{WAYS} --x"],
)
def test_wrong_flags_are_exit_code_2(solve, flags):
    code, out, err = solve(flags)

    assert (code, out) == (2, "")
    assert err.startswith("heddle: ")


def test_an_answer_that_fails_its_check_is_exit_code_4(solve, monkeypatch):
    def refuse(*_, **__):
        raise CertificateError("the routing loses 1 bit/s")

    monkeypatch.setattr("solver.solve.solve", refuse)

    code, out, _ = solve(f"{WAYS} --json")

    assert code == 4
    assert json.loads(out) == {"status": "refused", "message": "the routing loses 1 bit/s"}


def test_an_interrupt_is_exit_code_130(solve, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("solver.solve.solve", interrupt)

    assert solve(f"{WAYS} --json") == (130, "", "")


def test_every_flag_reaches_the_solver(solve, monkeypatch):
    asked = {}

    def note(_fabric, _demands, objective, **options):
        asked.update(options, objective=objective)
        raise CertificateError("noted")

    monkeypatch.setattr("solver.solve.solve", note)
    solve(
        f"{WAYS} --objective max-min-fair --single-path --engine pulp:cbc --time-limit 7 --max-utilisation 0.5 "
        "--max-hops 3 --on-overload fair --gap 0.02 --seed 5"
    )

    assert asked.pop("allowed").max_hops == 3
    assert callable(asked.pop("report"))
    assert asked == {
        "objective": "max-min-fair", "single_path": True, "engine": "pulp:cbc", "time_limit_s": 7.0,
        "max_utilisation": 0.5, "on_overload": "fair", "gap": 0.02, "seed": 5,
    }  # fmt: skip


def test_flags_are_variables_too(solve, monkeypatch):
    for name, value in {
        "FABRIC": "ways.json", "DEMANDS": "some.csv", "OBJECTIVE": "max-concurrent-flow", "SINGLE_PATH": "1",
        "MAX_UTILISATION": "0.5", "JSON": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"HEDDLE_{name}", value)

    code, out, _ = solve("")

    routing = json.loads(out)
    assert code == 0
    assert routing["objective"]["name"] == "max-concurrent-flow"
    assert routing["max_utilisation_allowed"] == 0.5
    assert len(routing["routes"][0]["paths"]) == 1


def test_a_time_limit_leaves_the_best_routing_so_far_with_its_gap(solve):
    code, out, _ = solve(f"{TREE} --objective min-max-utilisation --engine aggregated --time-limit 1e-9 --json")

    routing = json.loads(out)
    assert code == 0
    assert (routing["status"], routing["objective"]["gap"] > 1e-6) == ("feasible", True)


def test_what_is_not_proven_optimal_says_how_far_it_may_be(solve):
    code, out, _ = solve(f"{WAYS} --objective min-max-utilisation --single-path")

    assert code == 0
    assert "feasible, at most 50 % from the best" in out


def test_paths_are_limited_to_few_hops(solve):
    code, out, _ = solve(f"{TREE} --max-hops 6 --json")

    assert code == 0
    assert max(len(path["links"]) for route in json.loads(out)["routes"] for path in route["paths"]) <= 6


def test_paths_are_limited_to_candidates(solve, folder):
    (folder / "slow.json").write_text(json.dumps([{"source": "a", "target": "d", "paths": [["a:3", "c:4"]]}]))
    (folder / "few.csv").write_text("source,target,rate_bps\na,d,5e6\n")

    code, out, _ = solve("--fabric ways.json --demands few.csv --candidates slow.json --json")

    assert code == 0
    assert json.loads(out)["loads"] == pytest.approx({"a:3": 5e6, "c:4": 5e6})


def test_links_without_capacity_get_the_one_given(solve, folder):
    fabric = json.loads((folder / "ways.json").read_text())
    for link in fabric["links"]:
        del link["capacity_bps"]
    (folder / "bare.json").write_text(json.dumps(fabric))

    assert solve("--fabric bare.json --demands some.csv")[0] == 2
    _, out, _ = solve("--fabric bare.json --demands some.csv --capacity 20M --objective min-max-utilisation --json")
    assert json.loads(out)["max_utilisation"] == pytest.approx(15 / 40)


def test_a_matrix_of_bytes_is_carried_in_a_window(solve, folder):
    (folder / "bytes.matrix").write_text("0 1000\n0 0\n")

    _, out, _ = solve("--fabric ways.json --demands bytes.matrix --window 0.001 --ranks a,d --json")

    (route,) = json.loads(out)["routes"]
    assert (route["source"], route["target"], route["rate_bps"]) == ("a", "d", pytest.approx(8e6))


def test_files_are_written_and_named(solve, folder):
    code, out, _ = solve(f"{TREE} -o routing.json --plot picture.svg")

    assert code == 0
    assert out.endswith("Routing: routing.json\nPicture: picture.svg\n")
    assert json.loads((folder / "routing.json").read_text())["routes"]
    assert (folder / "picture.svg").read_text().startswith("<?xml")


def test_json_is_cut_off_where_not_all_paths_are_asked_for(solve, folder, monkeypatch):
    monkeypatch.setattr("solver.routing_files.MOST_PATHS", 3)

    shown = json.loads(solve(f"{TREE} --json -o routing.json")[1])
    whole = json.loads(solve(f"{TREE} --json --paths")[1])

    assert shown["routes_omitted"] + len(shown["routes"]) == len(whole["routes"])
    assert "routes_omitted" not in whole
    assert json.loads((folder / "routing.json").read_text())["routes"] == whole["routes"]


def test_without_a_terminal_progress_is_a_line_now_and_then(solve, monkeypatch):
    line = f"{TREE} --objective min-max-utilisation --engine aggregated --json"
    assert solve(line)[2] == ""
    monkeypatch.setattr("heddle.solve._LINE_EVERY_S", 0.0)

    code, out, err = solve(line)

    assert code == 0
    assert json.loads(out)
    assert "least utilisation, value " in err
    assert re.search(r"gap \S+ % \(\d+ s\)\n", err)


def test_on_a_terminal_progress_is_shown_after_a_while_and_taken_away(solve, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    line = f"{TREE} --objective min-max-utilisation --engine aggregated --json"
    assert "value" not in solve(line)[2]
    monkeypatch.setattr("heddle.solve._SHOWN_AFTER_S", 0.0)

    _, out, err = solve(line)

    assert json.loads(out)
    assert "least delay, value " in err


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (Objective.MIN_DELAY, "1.5 Mbit on the way"),
        (Objective.MIN_QUEUEING_DELAY, "1.5e+06"),
        (Objective.MIN_MAX_UTILISATION, "1.5e+08 %"),
        (Objective.MAX_MIN_FAIR, "1.5e+08 % of what is asked"),
    ],
)
def test_values_have_units(objective, text):
    assert objective_text(objective, 1.5e6) == text


def rows(first_column):
    """The first cells of the page's table whose first column has this heading."""
    lines = SOLVING.read_text().split(f"| {first_column} |")[1].split("\n\n")[0].splitlines()[2:]
    return [line.split(" | ")[0] for line in lines]


def test_the_page_has_every_flag_objective_and_engine_and_no_other(solve, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    described = solve("--help")[1]

    assert {re.findall(r"--[a-z-]+", row)[0] for row in rows("flag")} == set(re.findall(r"--[a-z-]{3,}", described)) - {
        "--help"
    }
    assert {row.strip("| `") for row in rows("objective")} == set(OBJECTIVES)
    assert {re.findall(r"`(\w+)`", row)[0] for row in rows("engine")} == set(Engine)
