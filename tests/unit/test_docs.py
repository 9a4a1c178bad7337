"""What the documentation shows works: commands are run, files are read, tables are compared with the code."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.attacks import __main__ as attack_rows
from benchmarks.channel import __main__ as channel_rows
from controller import channel, core, metrics
from controller.api import create_app
from controller.api_models import JobFile
from controller.client import Client
from controller.config import Config, TlsConfig, load_config
from controller.eventlog import is_warning
from controller.service import JobState, JobStatus
from controller.testing import FakeService
from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.files import RulesFile, rules_to_json
from mininet_scenarios.daemon import free_address
from topologies.fat_tree import fat_tree
from topologies.files import fabric_from_json, write_fabric
from workloads.job import Job

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.glob("*.md"))]
OPENFLOW, API = "127.0.0.1:6653", "127.0.0.1:8080"
PATIENCE_S = 60

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
_FLAG = re.compile(r"`(--[a-z]+)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text()) if kind == language]


def commands() -> Iterator[list[str]]:
    """All commands that the pages show, in their order, without comments and variables."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    yield words


def commands_of(program: str) -> list[list[str]]:
    return [list(words) for words in dict.fromkeys(map(tuple, commands())) if words[0] == program]


def table(page: Path, first_column: str) -> list[list[str]]:
    """Rows of the table whose first column has this heading."""
    lines = iter(page.read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            next(lines)
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert rows, f"{page.name} has no table of {first_column}"
    return rows


def heddle(*words: str, where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "heddle.main", *words],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's files, on free ports, and a fabric."""
    folder = tmp_path_factory.mktemp("site")
    (configuration,) = blocks(README, "yaml")
    for shown in (OPENFLOW, API):
        assert shown in configuration
        configuration = configuration.replace(shown, "{}:{}".format(*free_address()))
    (folder / "heddle.yaml").write_text(configuration)
    (job,) = blocks(README, "json")
    (folder / "job.json").write_text(job)
    (demands,) = blocks(README, "csv")
    (folder / "demands.csv").write_text(demands)
    fabric = fat_tree(4, capacity_bps=10e9)
    write_fabric(fabric, folder / "fabric.json")
    rules = compile_rules(fabric, default=DefaultRouting.ECMP)
    (folder / "rules.json").write_text(json.dumps(rules_to_json(rules)))
    return folder


@pytest.fixture(scope="module")
def api(site: Path) -> Iterator[str]:
    """Address of the daemon's API; the daemon runs by the README's command and configuration, and knows the fabric."""
    words = commands_of("heddle")[0]
    assert words == ["heddle", "run", "-c", "heddle.yaml"]
    address = str(load_config(site / "heddle.yaml").api)
    here = {"PYTHONPATH": str(REPOSITORY), "HEDDLE_STATE": str(site / "state"), "HEDDLE_FABRIC": "fabric.json"}
    with (site / "log").open("w") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "heddle.main", *words[1:]], cwd=site, env={**os.environ, **here}, stderr=log
        )
    try:
        with Client(address) as client:
            client.wait_healthy(PATIENCE_S)
        yield address
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE_S)


def test_every_command_that_the_pages_show_is_of_a_kind_that_is_tested() -> None:
    assert {words[0] for words in commands()} <= {"heddle", "curl", "make", "pip", "openssl", "ovs-vsctl"}


def test_the_heddle_commands_of_the_pages_work_in_their_order(site: Path, api: str) -> None:
    for words in commands_of("heddle"):
        if words[1] in ("run", "emulate"):
            continue
        done = heddle(*words[1:], where=site, HEDDLE_API=api)
        assert done.returncode == 0, f"{words}: {done.stderr}"


def test_every_verb_that_asks_the_daemon_is_shown_and_takes_json(site: Path, api: str) -> None:
    for verb in ("status", "switches", "links", "hosts", "rules", "events", "jobs"):
        assert any(words[1] == verb for words in commands_of("heddle"))
        assert isinstance(json.loads(heddle(verb, "--json", where=site, HEDDLE_API=api).stdout), dict | list)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_commands_of_the_pages_work(site: Path, api: str, tmp_path: Path) -> None:
    job = json.loads((site / "job.json").read_text())
    (tmp_path / "job.json").write_text(json.dumps({**job, "name": "train-2"}))
    for words in commands_of("curl"):
        command = [*(word.replace(API, api) for word in words), "--fail-with-body", "--noproxy", "*"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        json.loads(done.stdout)


def test_the_extras_that_the_pages_install_exist() -> None:
    provided = metadata.metadata("heddle-sdn").get_all("Provides-Extra") or []
    for words in commands_of("pip"):
        assert set(re.findall(r"\[(\w+)\]", words[-1])) <= set(provided)


def test_the_make_targets_of_the_pages_exist() -> None:
    for words in commands_of("make"):
        subprocess.run([*words, "--dry-run"], cwd=REPOSITORY, capture_output=True, check=True)


def test_the_optional_lines_of_the_configuration_shown_are_right(tmp_path: Path) -> None:
    (shown,) = blocks(README, "yaml")
    path = tmp_path / "heddle.yaml"
    path.write_text(re.sub(r"^# (\w+: )", r"\1", shown, flags=re.MULTILINE))

    assert load_config(path).model_fields_set == set(Config.model_fields)


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in _LINK.findall(page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_files_page_shows_a_fabric_and_a_job_that_are_read() -> None:
    fabric, job = blocks(DOCS / "files.md", "json")

    assert fabric_from_json(json.loads(fabric), "files.md").hosts
    assert JobFile.model_validate_json(job).to_job()


def test_the_files_page_shows_rules_that_are_read() -> None:
    *_, shown = blocks(DOCS / "files.md", "yaml")

    assert RulesFile.model_validate(yaml.safe_load(shown)).switches


def test_the_page_on_proving_has_every_flag_and_no_other(tmp_path: Path) -> None:
    described = heddle("verify", "rules", "--help", where=tmp_path, COLUMNS="200", TERM="dumb").stdout
    shown = {_FLAG.search(row[0]).group(1) for row in table(DOCS / "verifying.md", "flag")}

    assert shown == set(re.findall(r"--[a-z]+", described)) - {"--help"}


def test_the_table_of_configuration_has_every_key_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {key.strip("`"): default.strip("`") for key, default, *_ in table(DOCS / "configuration.md", "key")}
    defaults = Config().model_dump(mode="json")
    for section in ("routing", "switches"):
        defaults |= {f"{section}.{key}": value for key, value in defaults.pop(section).items()}
    assert defaults.pop("openflow_tls") is None
    defaults |= {f"openflow_tls.{key}": None for key in TlsConfig.model_fields}

    assert set(shown) == set(defaults)
    for key, value in defaults.items():
        if key not in ("state_dir", "fabric"):
            assert shown[key] == (str(value) if value else "none")


def test_flags_and_variables_in_the_table_of_configuration_are_those_of_run(tmp_path: Path) -> None:
    described = heddle("run", "--help", where=tmp_path, COLUMNS="200", TERM="dumb").stdout
    for row in table(DOCS / "configuration.md", "key"):
        for word in re.findall(r"`(--[\w-]+|HEDDLE_\w+)`", " ".join(row[3:])):
            assert word in described


def test_the_emulation_page_has_every_flag_and_no_other(tmp_path: Path) -> None:
    described = heddle("emulate", "--help", where=tmp_path, COLUMNS="200", TERM="dumb").stdout
    shown = {_FLAG.search(row[0]).group(1) for row in table(DOCS / "emulation.md", "flag")}

    assert shown == set(re.findall(r"--[a-z]+", described)) - {"--help"}


def test_the_api_page_has_every_path_and_no_other() -> None:
    shown = {
        (method, path.replace("NAME", "{name}"))
        for row in table(DOCS / "api.md", "request")
        for method, path in re.findall(r"`?(GET|POST|DELETE) (/[\w/]+)", row[0])
    }
    paths: dict[str, dict[str, Any]] = create_app(FakeService()).openapi()["paths"]

    assert shown == {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_the_api_page_has_every_metric_with_its_labels() -> None:
    service = FakeService(statuses={"train": JobStatus(Job("train", ("h1", "h2"), 8), JobState.ACTIVE)})
    given = metrics.exposition(service)
    labels = {name: set[str]() for name in re.findall(r"^# TYPE (\w+)", given, re.MULTILINE)}
    for name, inside in re.findall(r"^(\w+)\{(.*)\}", given, re.MULTILINE):
        labels[name] |= set(re.findall(r"(\w+)=\"", inside))

    shown = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in table(DOCS / "api.md", "metric")}
    assert shown == labels


def test_the_api_page_explains_every_status_of_an_error() -> None:
    code = "".join(
        (REPOSITORY / "controller" / f"{name}.py").read_text() for name in ("guard", "problems", "api_routes")
    )
    answered = {HTTPStatus[name].value for name in re.findall(r"HTTPStatus\.([A-Z_]+)", code)}
    explained = set(map(int, re.findall(r"\b[45]\d\d\b", (DOCS / "api.md").read_text().partition("Errors are")[2])))

    assert explained == {status for status in answered if status >= HTTPStatus.BAD_REQUEST}


def strings(call: ast.Call) -> list[str | None]:
    """Arguments of a call, None for those that are no literal strings."""
    constants = [argument.value if isinstance(argument, ast.Constant) else None for argument in call.args]
    return [value if isinstance(value, str) else None for value in constants] + [None] * 3


def kinds_in(tree: ast.AST) -> Iterator[str]:
    """Kinds of the events that some code makes."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        first, second, third, *_ = strings(call)
        if name in ("note", "_note", "_refused", "_observer") and first:
            yield first
        elif name == "Change" and second and third != "":
            yield second
        elif name == "Violation" and first:
            yield f"channel-{first}"
        elif name == "close" and second:
            yield f"channel-{second}"


def counters_in(tree: ast.AST) -> Iterator[str]:
    """What some code counts without an event."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
            counter = node.target
            counts = getattr(counter.value, "attr", "").strip("_") == "counts"
            if counts and isinstance(counter.slice, ast.Constant) and isinstance(counter.slice.value, str):
                yield counter.slice.value


def test_the_events_page_has_every_kind_and_says_rightly_which_are_warnings() -> None:
    page = DOCS / "events.md"
    rows = [line.strip("|").split("|") for line in page.read_text().splitlines() if line.startswith("| `")]
    shown = {kind: cells[1].strip() == "warning" for cells in rows for kind in re.findall(r"`([a-z-]+)`", cells[0])}
    counted = {kind for row in table(page, "counter") for kind in re.findall(r"`([a-z-]+)`", row[0])}
    code = {path: ast.parse(path.read_text()) for path in (REPOSITORY / "controller").glob("*.py")}
    kinds = {kind for tree in code.values() for kind in kinds_in(tree)}
    counters = {
        f"channel-{kind}" if path.stem in ("channel", "connection") else kind
        for path, tree in code.items()
        for kind in counters_in(tree)
    }

    assert len(kinds) > 40
    assert shown.keys() - counted == kinds - counted
    assert counted >= (counters - kinds) | {f"channel-{kind}" for kind in channel._COMMON} | core._COUNTED_ONLY
    assert {kind: warns for kind, warns in shown.items() if kind not in counted} == {
        kind: is_warning(kind) for kind in kinds - counted
    }


def test_the_tests_that_the_security_page_names_exist() -> None:
    text = (DOCS / "security.md").read_text()

    for path in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (REPOSITORY / path).exists(), path
    assert not re.findall(r"`(\w+\.py)`", text)
    for row in re.findall(r"rows? ((?:`[\w-]+`(?:, | and )?)+)", text):
        assert set(re.findall(r"`([\w-]+)`", row)) <= {*attack_rows.ROWS, *channel_rows.ROWS}, row


def test_the_architecture_page_names_every_module_of_the_controller_and_no_other() -> None:
    shown = {name for row in table(DOCS / "architecture.md", "module") for name in re.findall(r"`(\w+\.py)`", row[0])}
    modules = {path.name for path in (REPOSITORY / "controller").glob("*.py")} - {"__init__.py"}

    assert shown == modules


def test_the_architecture_page_names_every_folder_of_code() -> None:
    shown = {name for row in table(DOCS / "architecture.md", "folder") for name in re.findall(r"`(\w+)/`", row[0])}

    assert shown >= {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}


@pytest.mark.parametrize(
    ("heading", "rows"), [("`benchmarks.channel`", channel_rows.ROWS), ("`benchmarks.attacks`", attack_rows.ROWS)]
)
def test_the_robustness_page_has_every_row_of_the_benchmarks(
    heading: str, rows: dict[str, Any], tmp_path: Path
) -> None:
    section = (DOCS / "robustness.md").read_text().partition(f"### {heading}\n")[2].partition("\n### ")[0]
    page = tmp_path / "section.md"
    page.write_text(section)

    assert [row[0].strip("`") for row in table(page, "row")] == list(rows)
