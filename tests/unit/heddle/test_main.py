import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import typer
import yaml

from controller import channel
from controller.service import Event, JobState, JobStatus, Readiness
from controller.testing import FakeService, served
from heddle import main as command
from solver.errors import Infeasible
from topologies.errors import HeddleError, InputError
from workloads.job import Algorithm, Collective, Job

REPOSITORY = Path(__file__).parents[3]


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
def heddle(server, service, monkeypatch, capsys):
    """Run the command against the fake daemon; gives the exit code, standard output and standard error."""
    _, url = server
    monkeypatch.setenv("HEDDLE_API", url)

    def run(line):
        code = command.main(shlex.split(line))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def job_file(tmp_path):
    def write(content, name="job.yaml"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def assert_refused(outcome, code, said):
    assert outcome[0] == code
    assert outcome[1] == ""
    assert outcome[2].startswith("heddle: ")
    assert outcome[2].count("\n") == 1
    assert said in outcome[2]


@pytest.mark.parametrize("verb", ["switches", "links", "hosts"])
def test_a_list_is_json_alone_where_asked(heddle, verb):
    code, out, err = heddle(f"{verb} --json")

    assert (code, err) == (0, "")
    assert json.loads(out)[0]["id"]


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("switches", ["s1", "ffff000000000001", "up", "127.0.0.1:40000", "12"]),
        ("links", ["h1:1", "s1:1", "10 Mbit/s", "1 µs", "5 Mbit/s", "50.0 %"]),
        ("hosts", ["h2", "10.0.0.2", "02:00:00:00:00:02", "s1:2", "arp"]),
    ],
)
def test_a_list_is_a_table_for_people(heddle, verb, words):
    code, out, _ = heddle(verb)

    assert code == 0
    for word in words:
        assert word in out


def test_status_tells_all_that_matters(heddle, service):
    job = Job("train", ("h1", "h2"), 8)
    service.statuses["train"] = JobStatus(job, JobState.ACTIVE, share=0.95)

    _, out, _ = heddle("status")

    for words in (
        "yes",
        "1 connected of 1",
        "4 directed",
        "h1:1 carries 5 Mbit/s",
        "1 active",
        "bound 38, gap 0",
        "2 paths",
    ):
        assert words in out


def test_status_says_what_a_daemon_waits_for(heddle, service):
    service.ready, service.active = Readiness(False, "waiting for switches"), None

    _, out, _ = heddle("status")

    assert "no: waiting for switches" in out
    assert "default routing carries everything" in out


def test_status_as_json_has_the_plan_without_its_paths(heddle):
    _, out, _ = heddle("status --json")

    status = json.loads(out)
    assert status["switches"] == {"connected": 1, "known": 1}
    assert status["plan"]["gap"] == 0.0
    assert "paths" not in status["plan"]


def test_status_tells_what_is_refused_and_warned_of(heddle, service):
    now_s = time.time()
    service.counts = {"switch-up": 4, "channel-up": 4, "channel-accepted": 9, "channel-tls": 5, "channel-version": 2}
    service.happened = [
        Event(1, now_s - 3600, "lldp-forged", "an old one"),
        Event(2, now_s - 9, "channel-tls", "192.0.2.1 does not speak TLS"),
        Event(3, now_s - 8, "channel-version", "192.0.2.7 does not offer OpenFlow 1.3"),
        Event(4, now_s - 7, "channel-packet-shed", "a flood"),
        Event(5, now_s - 6, "switch-up", "switch s1 is connected"),
    ]

    _, out, _ = heddle("status")
    status = json.loads(heddle("status --json")[1])

    assert "refused   7 connections since the daemon's start (5 tls, 2 version); last " in out
    assert ", channel-version: 192.0.2.7 does not offer OpenFlow 1.3\n" in out
    assert "events    3 warnings in the last 10 min (1 channel-tls, 1 channel-version, 1 channel-packet-shed)" in out
    assert status["refused"]["by_reason"] == {"tls": 5, "version": 2}
    assert status["refused"]["last"]["id"] == 3
    assert status["warnings"]["events"] == 3


def test_status_says_that_nothing_is_amiss(heddle):
    _, out, _ = heddle("status")

    assert "refused   no connection since the daemon's start\n" in out
    assert "events    no warning in the last 10 min\n" in out


def test_every_offence_on_the_channel_counts_as_refused(heddle, service):
    service.counts = {f"channel-{kind}": 1 for kind in channel._OFFENCES | {"too-many", "half-open", "backed-off"}}

    assert json.loads(heddle("status --json")[1])["refused"]["connections"] == len(service.counts)


@pytest.fixture
def eventful(service):
    """Sixty events, every tenth a forged probe."""
    kinds = ["lldp-forged" if number % 10 == 0 else "channel-tls" for number in range(1, 61)]
    service.happened = [Event(number, 1e9 + number, kind, f"[{number}]") for number, kind in enumerate(kinds, start=1)]
    return service


def numbers(out):
    return [int(number) for number in re.findall(r"\[(\d+)\]", out)]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("events", list(range(11, 61))),
        ("events --after 57", [58, 59, 60]),
        ("events --after 0", list(range(1, 61))),
        ("events --kind lldp-forged", [10, 20, 30, 40, 50, 60]),
        ("events --kind 'lldp-*' --kind channel-tls --after 48", list(range(49, 61))),
        ("events --json --after 58", [59, 60]),
    ],
)
def test_events_are_told_newest_last(heddle, eventful, line, shown):
    code, out, _ = heddle(line)

    assert code == 0
    assert numbers(out) == shown


def test_an_event_is_a_line_with_time_kind_and_message(heddle, service, monkeypatch):
    service.happened = [Event(1, 1e9, "switch-up", "switch s1 is connected")]
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        _, out, _ = heddle("events")
    finally:
        monkeypatch.undo()
        time.tzset()

    assert out == "2001-09-09 01:46:40  switch-up             switch s1 is connected\n"


@pytest.mark.parametrize(
    ("line", "said"), [("events", "Nothing"), ("events --after 9", "No such"), ("events --kind x", "No such")]
)
def test_that_there_are_no_events_is_said(heddle, service, line, said):
    service.happened = []

    assert heddle(line)[1].startswith(said)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_events_are_followed_until_the_user_has_enough(server, service, flags):
    _, url = server
    words = [sys.executable, "-m", "heddle.main", "events", "--follow", "--api", url, "--kind", "link-*", *flags]
    service.happened = [Event(1, 1.0, "link-silent", "first"), Event(2, 2.0, "switch-up", "hidden")]
    process = subprocess.Popen(
        words,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background may have SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        first = process.stdout.readline()
        service.happened += [Event(3, 3.0, "switch-down", "hidden"), Event(4, 4.0, "link-moved", "second")]
        second = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, log = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()

    assert "first" in first
    assert "second" in second
    if flags:
        assert json.loads(second)["id"] == 4
    assert (process.returncode, rest, log) == (130, "", "")


@pytest.mark.parametrize("name", ["job.yaml", "job.json"])
def test_a_job_is_submitted_shown_listed_and_deleted(heddle, job_file, name):
    path = job_file(json.dumps({"name": "train", "ranks": ["h1", "h2"], "message_bytes": 8}), name)

    code, out, _ = heddle(f"jobs submit {path} --json")
    assert (code, json.loads(out)["state"]) == (0, "planning")

    _, out, _ = heddle("jobs show train")
    assert "h1:1 s1:2" in out
    assert len(json.loads(heddle("jobs show train --json")[1])["paths"]) == 2

    assert [job["name"] for job in json.loads(heddle("jobs --json")[1])] == ["train"]
    assert "ring all-reduce" in heddle("jobs")[1]

    code, out, _ = heddle("jobs --json delete train")
    assert (code, json.loads(out)["state"]) == (0, "removing")
    assert heddle("jobs")[1] == "No job was submitted.\n"


def test_a_job_shows_the_paths_of_its_pairs_whichever_job_they_were_planned_for(heddle, service):
    for name in ("train", "second"):
        service.statuses[name] = JobStatus(Job(name, ("h1", "h2"), 8), JobState.ACTIVE, share=0.95)

    _, out, _ = heddle("jobs show second")

    assert "h1:1 s1:2" in out
    assert "h2:1 s1:1" in out
    paths = json.loads(heddle("jobs show second --json")[1])["paths"]
    assert [(path["job"], path["source"]) for path in paths] == [("train", "h1"), ("train", "h2")]


def test_a_job_of_all_to_all_shows_the_paths_of_all_its_pairs(heddle, service):
    everyone = Job("all", ("h1", "h2", "h3"), 8, Collective.ALL_TO_ALL, Algorithm.PAIRWISE)
    service.statuses["all"] = JobStatus(everyone, JobState.ACTIVE)

    paths = json.loads(heddle("jobs show all --json")[1])["paths"]

    assert {(path["source"], path["target"]) for path in paths} == {("h1", "h2"), ("h2", "h1")}


def test_a_job_shows_each_path_of_a_split_pair_with_its_share(heddle, service):
    service.statuses["train"] = JobStatus(Job("train", ("h1", "h2"), 8, flows_per_pair=4), JobState.ACTIVE)
    first, back = service.active.paths
    split = [replace(first, label=label, rate_bps=rate_bps) for label, rate_bps in ((16, 7.5e6), (18, 2.5e6))]
    service.active = replace(service.active, paths=(*split, back))

    _, out, _ = heddle("jobs show train")

    assert [line.split()[5:7] for line in out.splitlines() if line.startswith("h1")] == [["75.0", "%"], ["25.0", "%"]]
    paths = json.loads(heddle("jobs show train --json")[1])["paths"]
    assert [path["share"] for path in paths] == [0.75, 0.25, 1.0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"name": "train", "ranks": ["h1", "nobody"], "message_bytes": 8}, "'nobody', which is no known host"),
        ({"name": "train", "ranks": ["h1", "h1"], "message_bytes": 8}, "job.yaml: job 'train' has host 'h1' twice"),
        ({"name": "train", "ranks": ["h1", "h2"], "message_bytes": 0}, "job.yaml: job 'train' has message_bytes 0"),
        ("name: train\nsize: 8\n", "job.yaml, line 2: unknown key 'size'; known keys: algorithm, collective"),
        (
            "name: train\nranks: [h1, 2]\nmessage_bytes: 8\n",
            "job.yaml, line 2: ranks[1]: input should be a valid string",
        ),
        ("name: {", "job.yaml, line 1: no YAML"),
        ("", "job.yaml: key 'name' is missing"),
    ],
)
def test_a_job_file_that_does_not_fit_is_bad_input(heddle, service, job_file, content, said):
    assert_refused(heddle(f"jobs submit {job_file(content)}"), 2, said)

    assert not service.statuses


def test_malformed_json_in_a_job_file_is_bad_input(heddle, job_file):
    path = job_file('{"name": "train",\n "ranks": [}', "job.json")

    assert_refused(heddle(f"jobs submit {path}"), 2, "job.json, line 2: no JSON")


def test_a_job_twice_and_a_job_unknown_are_bad_input(heddle, job_file):
    path = job_file({"name": "train", "ranks": ["h1", "h2"], "message_bytes": 8})
    heddle(f"jobs submit {path}")

    assert_refused(heddle(f"jobs submit {path}"), 2, "'train' exists already")
    assert_refused(heddle("jobs delete none"), 2, "no job is named 'none'")
    assert_refused(heddle("jobs show none"), 2, "no job is named 'none'")


def test_without_a_daemon_the_command_fails_and_says_how_to_start_one(heddle):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]

    outcome = heddle(f"links --api 127.0.0.1:{port}")

    assert_refused(outcome, 1, "start one with 'heddle run'")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("weave", "weave"),
        ("links --bogus", "--bogus"),
        ("run --routing random", "random"),
        ("run --api 0.0.0.0:80", "api: the API has no log-in yet"),
        ("run --openflow nowhere", "'nowhere' is no address with a port"),
        ("run --config /nonexistent.yaml", "/nonexistent.yaml cannot be read"),
        ("jobs submit", "FILE"),
        ("links --api ftp://x", "no URL"),
    ],
)
def test_a_wrong_command_line_is_bad_input(heddle, line, said):
    assert_refused(heddle(line), 2, said)


def test_an_unknown_configuration_key_is_bad_input_with_its_line(heddle, tmp_path):
    path = tmp_path / "heddle.yaml"
    path.write_text("# ours\nopenflw: 127.0.0.1:6653\n")

    assert_refused(heddle(f"run -c {path}"), 2, f"{path}, line 2: unknown key 'openflw' (did you mean 'openflow'?)")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HeddleError("it broke"), 1),
        (InputError("it is wrong"), 2),
        (Infeasible((), 1.0, 2.0), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(heddle, monkeypatch, error, code):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr("heddle.switches.show_switches", fail)

    assert heddle("switches")[0] == code


def test_flags_of_run_win_over_the_environment_and_that_over_the_file(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("heddle.run.run_daemon_with", lambda *given, **_: seen.append(given) or 0)
    monkeypatch.setenv("HEDDLE_OPENFLOW", "127.0.0.1:1")
    monkeypatch.setenv("HEDDLE_STATE", str(tmp_path))

    code = command.main(["run", "--openflow", "127.0.0.1:2", "--routing", "shortest"])

    assert code == 0
    assert seen[0][1] == {
        "openflow": "127.0.0.1:2", "api": None, "state_dir": str(tmp_path), "fabric": None,
        "openflow_tls.certificate": None, "openflow_tls.key": None, "openflow_tls.authority": None,
        "routing.default": "shortest",
    }  # fmt: skip


def test_the_exit_code_of_the_daemon_is_the_commands(monkeypatch):
    monkeypatch.setattr("heddle.run.run_daemon_with", lambda *_, **__: 130)

    assert command.main(["run"]) == 130


def test_the_version_is_printed(heddle):
    assert heddle("--version")[1].startswith("heddle ")


def test_without_a_verb_the_verbs_are_listed(heddle):
    code, out, _ = heddle("")

    assert code == 0
    for verb in ("run", "status", "switches", "links", "hosts", "events", "jobs", "emulate"):
        assert verb in out


def verbs(command, *words):
    """All verbs, those within verbs too."""
    for name, verb in getattr(command, "commands", {}).items():
        yield " ".join((*words, name)), verb
        yield from verbs(verb, *words, name)


VERBS = dict(verbs(typer.main.get_command(command.app)))


def test_the_verbs_within_verbs_are_found():
    assert {"run", "emulate", "jobs", "jobs submit"} <= set(VERBS)


@pytest.mark.parametrize("line", VERBS)
def test_every_verb_has_help_and_json(heddle, line):
    code, out, _ = heddle(f"{line} --help")

    assert code == 0
    assert "Usage: heddle" in out
    assert any("--json" in option.opts for option in VERBS[line].params)


def test_the_command_loads_nothing_heavy_before_a_verb_needs_it():
    program = (
        "import sys; from heddle.main import main; main(['--version']); "
        "heavy = {'numpy', 'networkx', 'fastapi', 'httpx', 'matplotlib', 'ryu', 'os_ken', 'pulp'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, timeout=120, cwd=REPOSITORY, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("verb", ["links --json", "links", "--help"])
def test_a_reader_that_stops_reading_gets_no_traceback(server, verb):
    _, url = server
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "heddle.main", *verb.split()]

    with os.fdopen(writer, "wb") as pipe:
        ended = subprocess.run(
            words, check=False, timeout=120, cwd=REPOSITORY, stdout=pipe, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "HEDDLE_API": url},
        )  # fmt: skip

    assert ended.stderr == ""


def test_the_systemd_unit_starts_the_command_with_options_that_it_has(heddle):
    unit = (REPOSITORY / "deploy" / "heddle.service").read_text()
    (start,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    words = start.removeprefix("ExecStart=").split()

    help_text = heddle("run --help")[1]

    assert words[0].endswith("/bin/heddle")
    assert words[1] == "run"
    for option in (word for word in words if word.startswith("--")):
        assert option in help_text


def test_links_are_cordoned_and_uncordoned(heddle):
    assert heddle("links cordon s1:1 s1:2") == (0, "cordoned: s1:1 s1:2\n", "")
    assert "cordoned" in heddle("links")[1]
    assert heddle("links uncordon s1:1")[1] == "cordoned: s1:2\n"
    assert json.loads(heddle("links uncordon s1:2 --json")[1]) == {"cordoned": []}
    assert heddle("links uncordon s1:2")[1] == "No link is cordoned.\n"
    assert "cordoned" not in heddle("links")[1]


def test_an_unknown_link_is_not_cordoned(heddle):
    code, _, said = heddle("links cordon s1:9")
    assert code == 2
    assert "s1:9" in said
