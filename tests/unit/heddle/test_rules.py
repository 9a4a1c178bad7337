"""heddle rules and heddle verify rules: what is shown, what is proved, and what is refused."""

import json
import shlex
from dataclasses import replace

import pytest

from controller.testing import FakeService, served, two_host_fabric, two_host_plan, two_host_rules
from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.files import read_rules, rules_to_json
from dataplane.rules import SwitchRules, Table
from heddle.main import main
from topologies.fat_tree import fat_tree
from topologies.files import write_fabric

TREE = fat_tree(4, capacity_bps=10e9)


@pytest.fixture(scope="module")
def server():
    service = FakeService()
    with served(service) as url:
        yield service, url


@pytest.fixture
def service(server):
    shared, _ = server
    vars(shared).update(vars(FakeService()))
    return shared


@pytest.fixture
def heddle(server, service, tmp_path, monkeypatch, capsys):
    """Run a verb in a folder with a fat-tree and its rules; gives the exit code, standard output and standard error."""
    write_fabric(TREE, tmp_path / "tree.json")
    (tmp_path / "rules.json").write_text(json.dumps(rules_to_json(compile_rules(TREE, default=DefaultRouting.ECMP))))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEDDLE_API", server[1])
    monkeypatch.setattr("heddle.verify_rules._PAUSE_S", 0.0)

    def run(line):
        code = main(shlex.split(line))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def changed(tmp_path):
    """Change a switch's flows in the file."""

    def change(switch, edit):
        data = json.loads((tmp_path / "rules.json").read_text())
        (entry,) = (entry for entry in data["switches"] if entry["id"] == switch)
        entry["flows"] = edit(entry["flows"])
        (tmp_path / "rules.json").write_text(json.dumps(data))

    return change


def without(rules, switch, table):
    flows = frozenset(flow for flow in rules[switch].flows if flow.table is not table)
    return {**rules, switch: replace(rules[switch], flows=flows)}


def test_rules_are_shown_table_by_table(heddle):
    code, out, err = heddle("rules s1")

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("s1: ")
    assert [line for line in lines if line.startswith("  table")] == [
        f"  table {table.value}, {table.name.lower()}" for table in Table
    ]
    assert any("ipv4_dst=10.0.0.2" in line and line.endswith(" port 2") for line in lines)
    assert any(line.endswith(" go to default") for line in lines)
    assert lines.index("  groups") < lines.index("  meters") if "  groups" in lines else "  meters" in lines


def test_groups_tell_their_choices(heddle, service):
    service.installed = compile_rules(TREE, default=DefaultRouting.ECMP)

    edge, core = heddle("rules e0-0")[1], heddle("rules c1")[1]

    assert "by hash: 32 of 64 port 3 while 3 is up; 32 of 64 port 4 while 4 is up" in edge
    assert "first that lives: port 1 while 1 is up; else push label " in core
    assert ", back while " in core


def test_rules_as_json_are_a_rules_file(heddle, service, tmp_path):
    code, out, _ = heddle("rules --json")
    (tmp_path / "copy.json").write_text(out)

    assert code == 0
    assert read_rules(tmp_path / "copy.json") == service.installed


def test_rules_of_an_unknown_switch_are_bad_input(heddle):
    code, _, err = heddle("rules s9")
    assert (code, "no rules are known of 's9'" in err) == (2, True)


def test_that_no_switch_is_connected_is_said(heddle, service):
    service.installed = {}
    assert heddle("rules") == (0, "No switch is connected.\n", "")


def test_the_rules_of_a_file_hold(heddle):
    code, out, err = heddle("verify rules --rules rules.json --fabric tree.json --failures")

    assert (code, err) == (0, "")
    assert "240 reach each other" in out
    assert "32 cables between switches, each alone: all pairs still do" in out
    assert out.endswith("holds\n")


def test_what_was_proved_is_json_where_asked(heddle):
    code, out, _ = heddle("verify rules --rules rules.json --fabric tree.json --failures --json")

    assert code == 0
    assert json.loads(out) == {
        "status": "holds", "pairs": 240, "planned": 0, "failures": 32, "cut_off": 0, "unprotected": [],
        "worst_link_utilisation": 0.0,
    }  # fmt: skip


def test_rules_that_lose_packets_fall_short(heddle, changed):
    changed("c1", lambda flows: [flow for flow in flows if flow["table"] != "default"])

    code, out, err = heddle("verify rules --rules rules.json --fabric tree.json --json")

    assert code == 4
    assert "is dropped at c1 by the default table, which has no rule for it" in err
    assert json.loads(out) == {"status": "refused", "message": err.removeprefix("heddle: ").strip()}


def test_rules_that_a_switch_would_refuse_fall_short(heddle, changed):
    changed("c1", lambda flows: [*flows, {"table": "default", "priority": 7, "actions": [{"group": 5}]}])

    code, _, err = heddle("verify rules --rules rules.json --fabric tree.json")
    assert (code, "c1 has no group 0x5" in err) == (4, True)


def test_only_letting_cables_fail_finds_what_is_unprotected(heddle, tmp_path):
    cut = TREE.without_links(
        end for link in TREE.links if str(link.id) == "e0-0:4" for end in (link.id, link.reverse_id)
    )
    write_fabric(cut, tmp_path / "tree.json")
    rules = rules_to_json(compile_rules(cut, default=DefaultRouting.ECMP))
    (tmp_path / "rules.json").write_text(json.dumps(rules))

    assert "not looked at" in heddle("verify rules --rules rules.json --fabric tree.json")[1]
    _, out, _ = heddle("verify rules --rules rules.json --fabric tree.json --failures")
    assert "unprotected  e0-0:3: nothing leads round, 56 pairs lost" in out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("verify rules --rules rules.json", "--fabric is missing"),
        ("verify rules --plan plan.json", "--plan says which paths"),
        ("verify rules --rules none.json --fabric tree.json", "none.json cannot be read"),
        ("verify rules --rules tree.json --fabric tree.json", "tree.json: unknown key"),
    ],
)
def test_wrong_flags_and_files_are_bad_input(heddle, monkeypatch, line, said):
    monkeypatch.delenv("HEDDLE_FABRIC", raising=False)
    code, _, err = heddle(line)
    assert (code, said in err) == (2, True), err


def test_rules_of_another_fabric_are_bad_input(heddle, tmp_path):
    write_fabric(fat_tree(2, capacity_bps=1e9), tmp_path / "small.json")
    code, _, err = heddle("verify rules --rules rules.json --fabric small.json")
    assert (code, "which is no switch in small.json" in err) == (2, True)

    content = rules_to_json({"c1": SwitchRules()})
    (tmp_path / "rules.json").write_text(json.dumps(content))
    code, _, err = heddle("verify rules --rules rules.json --fabric tree.json")
    assert (code, "rules.json has no rules of switch" in err) == (2, True)


def test_a_plan_is_proved_with_what_it_asks_of_links(heddle, tmp_path):
    path = {"source": "h1", "target": "h2", "label": 16, "links": ["h1:1", "s1:2"]}
    write_fabric(two_host_fabric(), tmp_path / "two.json")
    (tmp_path / "rules.json").write_text(json.dumps(rules_to_json(two_host_rules())))

    def verify(rate_bps, links=("h1:1", "s1:2")):
        plan = {"paths": [{**path, "links": links, "rate_bps": rate_bps}]}
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        return heddle("verify rules --rules rules.json --fabric two.json --plan plan.json")

    code, out, _ = verify(7.5e6)
    assert (code, "75.0 % of its capacity is planned" in out) == (0, True)
    code, _, err = verify(2e7)
    assert (code, "planned paths ask h1:1 for 2e+07 bit/s, and it carries 1e+07" in err) == (4, True)
    code, _, err = verify(1e6, ("h1:1", "s1:1"))
    assert (code, "h1 → h2 take h1:1 s1:2 and not h1:1 s1:1, as planned" in err) == (4, True)


def test_the_rules_of_a_daemon_hold_with_its_plan(heddle):
    code, out, err = heddle("verify rules --failures --json")

    assert (code, err) == (0, "")
    proved = json.loads(out)
    assert (proved["pairs"], proved["planned"], proved["worst_link_utilisation"]) == (2, 2, 0.95)


def test_a_daemon_whose_rules_lose_packets_and_do_not_change_falls_short(heddle, service):
    service.installed = without(two_host_rules(), "s1", Table.DEFAULT)

    code, _, err = heddle("verify rules")
    assert (code, "dropped at s1" in err) == (4, True)


def test_a_daemon_in_the_middle_of_an_update_is_asked_again(heddle, service, monkeypatch):
    answers = [without(two_host_rules(), "s1", table) for table in (Table.CLASSIFY, Table.DEFAULT)]
    answers.append(two_host_rules())
    monkeypatch.setattr(service, "rules", lambda: answers.pop(0), raising=False)

    assert heddle("verify rules")[0] == 0
    assert not answers


def test_rules_that_never_settle_are_a_failure(heddle, service, monkeypatch):
    asked = []

    def plan():
        asked.append(1)
        wrong = replace(two_host_plan().paths[0], label=len(asked), links=two_host_plan().paths[1].links)
        return replace(two_host_plan(), paths=(wrong,))

    monkeypatch.setattr(service, "plan", plan, raising=False)
    code, _, err = heddle("verify rules")
    assert (code, "change faster than they can be looked at" in err) == (1, True)


def test_a_switch_that_is_not_connected_is_named(heddle, service):
    service.installed = {}
    code, _, err = heddle("verify rules")
    assert (code, "the rules of switch 's1' are not known: it is not connected" in err) == (1, True)
