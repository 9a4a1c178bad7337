"""heddle verify routing: what holds, and what is refused."""

import json
import shlex

import pytest

from heddle.main import main
from solver.routing import Objective
from topologies.fat_tree import fat_tree
from topologies.files import write_fabric

QUESTION = "--fabric tree.json --demands tree.csv"


@pytest.fixture
def heddle(tmp_path, monkeypatch, capsys):
    """Run a verb in a folder with a fat-tree and demands; gives the exit code, standard output and standard error."""
    write_fabric(fat_tree(4, capacity_bps=10e9), tmp_path / "tree.json")
    rows = "".join(f"h{n},h{(n + 6) % 16 + 1},{n}e8\n" for n in range(2, 17))
    (tmp_path / "tree.csv").write_text("source,target,rate_bps\n" + rows)
    monkeypatch.chdir(tmp_path)

    def run(line):
        code = main(shlex.split(line))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def tampered(heddle, tmp_path):
    """Verify a routing after a change to its file."""
    heddle(f"solve {QUESTION} -o routing.json")

    def run(change, flags=QUESTION):
        data = json.loads((tmp_path / "routing.json").read_text())
        change(data)
        (tmp_path / "routing.json").write_text(json.dumps(data))
        return heddle(f"verify routing routing.json {flags} --json")

    return run


@pytest.mark.parametrize("flags", ["", "--single-path"])
@pytest.mark.parametrize("objective", [objective.value for objective in Objective])
def test_what_solve_writes_holds(heddle, objective, flags):
    heddle(f"solve {QUESTION} --objective {objective} {flags} -o routing.json")

    code, out, err = heddle(f"verify routing routing.json {QUESTION}")

    assert (code, err) == (0, "")
    assert objective in out
    assert out.endswith("holds\n")


def test_the_proof_is_json_where_asked(heddle):
    solved = json.loads(heddle(f"solve {QUESTION} -o routing.json --json")[1])

    code, out, _ = heddle(f"verify routing routing.json {QUESTION} --json")

    proof = json.loads(out)
    assert code == 0
    assert proof["status"] == "holds"
    assert proof["objective"] == pytest.approx(solved["objective"])
    assert proof["max_utilisation_allowed"] == 1.0
    assert proof["notes"] == []


def test_the_utilisation_that_a_routing_allows_itself_is_said(heddle):
    heddle(f"solve {QUESTION} --max-utilisation 0.8 -o routing.json")

    assert "80.0 % of each capacity, by the file" in heddle(f"verify routing routing.json {QUESTION}")[1]


def test_candidates_and_hops_bind_the_proof(heddle, tmp_path):
    routes = json.loads(heddle(f"solve {QUESTION} --single-path -o routing.json --json")[1])["routes"]
    candidates = [
        {"source": route["source"], "target": route["target"], "paths": [route["paths"][0]["links"]]}
        for route in routes
    ]
    (tmp_path / "candidates.json").write_text(json.dumps(candidates))
    assert heddle(f"verify routing routing.json {QUESTION} --candidates candidates.json --max-hops 6")[0] == 0

    code, _, err = heddle(f"verify routing routing.json {QUESTION} --max-hops 2")

    assert code == 4
    assert "more than 2 links" in err


def test_paths_without_prices_are_checked_and_nothing_is_proven(heddle, tmp_path):
    routes = json.loads(heddle(f"solve {QUESTION} --json")[1])["routes"]
    for route in routes:
        del route["rate_bps"], route["carried_bps"]
    theirs = {"objective": {"name": "min-max-utilisation"}, "routes": routes}
    (tmp_path / "theirs.json").write_text(json.dumps(theirs))

    code, out, _ = heddle(f"verify routing theirs.json {QUESTION}")

    assert code == 0
    assert "no prices are given, so nothing is proven about how good it is" in out


def test_fairness_without_levels_is_said_to_be_unproven(heddle, tmp_path):
    heddle(f"solve {QUESTION} --objective max-min-fair -o routing.json")
    data = json.loads((tmp_path / "routing.json").read_text())
    del data["levels"], data["status"]
    (tmp_path / "routing.json").write_text(json.dumps(data))

    code, out, _ = heddle(f"verify routing routing.json {QUESTION} --json")

    assert code == 0
    assert "only the least share is checked" in json.loads(out)["notes"][0]


def path(data):
    return data["routes"][0]["paths"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: path(data).update(rate_bps=path(data)["rate_bps"] / 2), "do not add up to what is carried"),
        (lambda data: path(data)["links"].pop(1), "the path of h2 → h9 breaks at"),
        (lambda data: data["prices"].update({"h1:1": -1.0}), "price is negative"),
        (lambda data: data["objective"].update(value=1.0), "says value 1"),
        (lambda data: data["objective"].update(bound=1.0), "says bound 1"),
        (lambda data: data.update(max_utilisation_allowed=0.01), "overloads a link"),
    ],
)
def test_a_tampered_routing_is_refused_with_exit_code_4(tampered, change, said):
    code, out, err = tampered(change)

    assert code == 4
    assert said in err
    assert err.startswith("heddle: routing.json is refused: ")
    assert err.count("\n") == 1
    assert "report it" not in err
    assert json.loads(out) == {"status": "refused", "message": err.removeprefix("heddle: ").rstrip("\n")}


def test_a_fabric_with_less_capacity_is_overloaded(tampered, tmp_path):
    write_fabric(fat_tree(4, capacity_bps=1e9), tmp_path / "small.json")

    code, _, err = tampered(lambda _: None, "--fabric small.json --demands tree.csv")

    assert code == 4
    assert "overloads a link" in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.update(colour="red"), "unknown key 'colour'"),
        (lambda data: data.pop("routes"), "lacks 'routes'"),
        (lambda data: path(data).update(links=["h2:1", "nowhere:1"]), "'nowhere:1'"),
        (lambda data: data.update(routes_omitted=3), "leaves out 3 of its routes"),
    ],
)
def test_a_file_that_is_no_routing_of_the_question_is_bad_input(tampered, change, said):
    code, out, err = tampered(change)

    assert code == 2
    assert said in err
    assert json.loads(out)["status"] == "error"


def test_an_infeasible_answer_is_no_routing(heddle, tmp_path):
    (tmp_path / "much.csv").write_text("source,target,rate_bps\nh1,h2,1e11\n")
    (tmp_path / "answer.json").write_text(heddle("solve --fabric tree.json --demands much.csv --json")[1])

    assert heddle(f"verify routing answer.json {QUESTION}")[0] == 2


def test_a_missing_file_is_bad_input(heddle):
    code, out, err = heddle(f"verify routing none.json {QUESTION}")

    assert (code, out) == (2, "")
    assert "none.json cannot be read" in err


def test_verify_alone_asks_what_to_verify(heddle):
    code, out, err = heddle("verify")

    assert (code, out) == (2, "")
    assert err == "heddle: Missing command; see 'heddle --help'\n"
