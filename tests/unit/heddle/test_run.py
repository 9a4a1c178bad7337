import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.client import Client
from controller.store import Store

REPOSITORY = Path(__file__).parents[3]
PATIENCE_S = 60


@pytest.fixture(params=["ryu", "os-ken"])
def framework(request):
    pytest.importorskip(request.param.replace("-", "_"))
    return request.param


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def daemon(framework, state, api_port, openflow_port, *more):
    """A started ``heddle run``, killed at the end at the latest."""
    words = ["run", "--state", str(state), "--api", f"127.0.0.1:{api_port}", "--openflow", f"127.0.0.1:{openflow_port}"]
    words += more
    environment = {**os.environ, "HEDDLE_FRAMEWORK": framework, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-m", "heddle.main", *words],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def wait_until_it_answers(port):
    with Client(f"http://127.0.0.1:{port}") as client:
        client.wait_healthy(PATIENCE_S)
        return client.ready()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_daemon_answers_and_ends_when_told(framework, tmp_path, sent, code):
    api_port = free_port()
    with daemon(framework, tmp_path / "state", api_port, 0) as process:
        assert "0 switches" in wait_until_it_answers(api_port).reason

        process.send_signal(sent)
        _, log = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == code
    assert "Traceback" not in log
    assert framework in log


def test_json_tells_once_and_on_one_line_where_the_daemon_listens(framework, tmp_path):
    with daemon(framework, tmp_path / "state", 0, 0, "--json") as process:
        told = json.loads(process.stdout.readline())

        address, _, port = told["openflow"].partition(":")
        with socket.create_connection((address, int(port))) as switch:
            assert switch.recv(1) == b"\x04"
        with Client(told["api"]) as client:
            assert "0 switches" in client.ready().reason
        process.terminate()
        rest, _ = process.communicate(timeout=PATIENCE_S)

    assert rest == ""
    assert told["state_dir"] == str(tmp_path / "state")
    assert told["pid"] == process.pid
    assert told["framework"].split()[0] == framework


def test_without_json_the_daemon_prints_nothing_on_standard_output(framework, tmp_path):
    api_port = free_port()
    with daemon(framework, tmp_path / "state", api_port, 0) as process:
        wait_until_it_answers(api_port)
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE_S)

    assert out == ""


@pytest.mark.parametrize("taken", ["api", "openflow", "state"])
def test_what_another_program_uses_is_one_clear_sentence(framework, tmp_path, taken):
    with socket.socket() as other, Store(tmp_path / "used"):
        other.bind(("127.0.0.1", 0))
        other.listen()
        used_port = other.getsockname()[1]
        state = tmp_path / ("used" if taken == "state" else "free")
        ports = [used_port if taken == what else 0 for what in ("api", "openflow")]

        with daemon(framework, state, *ports) as process:
            _, log = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert "Traceback" not in log
    said = {
        "api": f"heddle: the API cannot listen on 127.0.0.1:{used_port}: another program uses this port",
        "openflow": f"heddle: cannot listen for switches on 127.0.0.1:{used_port}",
        "state": f"heddle: another daemon uses the state directory {tmp_path}/used",
    }[taken]
    assert log.splitlines()[-1].startswith(said)


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("ryu", "pip install 'heddle-sdn[ryu]' with its build constraint, see README.md"),
        ("os-ken", "pip install os-ken"),
    ],
)
def test_a_framework_that_is_missing_is_one_sentence_with_what_installs_it(missing, remedy, tmp_path):
    program = "import sys; sys.modules[sys.argv[1]] = None; from heddle.main import main; sys.exit(main(['run']))"

    ended = subprocess.run(
        [sys.executable, "-c", program, missing.replace("-", "_")],
        env={**os.environ, "HEDDLE_FRAMEWORK": missing, "HEDDLE_STATE": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        check=False, timeout=PATIENCE_S, capture_output=True, text=True,
    )  # fmt: skip

    assert ended.returncode == 1
    assert ended.stderr == (
        f"heddle: the OpenFlow framework {missing} is not installed; install it ({remedy}) "
        "or choose another one by HEDDLE_FRAMEWORK\n"
    )
