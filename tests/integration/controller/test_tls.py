"""TLS with a real Open vSwitch, by the commands of docs/tls.md; who may not connect does not."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Certificate

from mininet_scenarios.openvswitch import Bridge, OpenVSwitch
from mininet_scenarios.rundir import RunDirectory

FIRST_FRAMEWORK = "os-ken"

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "tls.md").read_text()
SWITCH_DIRECTORY, ADDRESS = "/etc/openvswitch", "192.0.2.1"
FIRST, SECOND = "0000000000000001", "0000000000000002"
PATIENCE_S = 60
STOP_S = 30
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


def commands(start: str) -> list[list[str]]:
    """Those of the page that start so."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(start):
                found.append(shlex.split(line))
    assert found, f"the page shows no '{start}'"
    return found


def configurations() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


class Stage:
    """Two bridges with a cable between them and a daemon, in a network namespace where the page's address exists."""

    def __init__(self, directory: Path, framework: str) -> None:
        self.directory = directory
        self.log = directory / "daemon.log"
        self.run = RunDirectory.create()
        self.switch = OpenVSwitch(self.run)
        self._framework = framework
        self._daemon: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        namespace = self.run.namespace
        self.call("ip", "netns", "add", namespace)
        for command in ("link set lo up", f"addr add {ADDRESS}/32 dev lo"):
            self.call("ip", "-n", namespace, *command.split())
        self.switch.start([Bridge("br0", 1, {}), Bridge("br1", 2, {})])
        self.switch.configure(
            command.split()
            for here, there in (("br0", "br1"), ("br1", "br0"))
            for command in (
                f"add-port {here} to-{there}",
                f"set Interface to-{there} type=patch options:peer=to-{here}",
            )
        )

    def close(self) -> None:
        self.stop_daemon()
        self.switch.stop()
        self.run.remove()

    def call(self, *words: str) -> str:
        """Run a command of the page, or another one, with the files where this test has them."""
        words = tuple(word.replace(SWITCH_DIRECTORY, str(self.directory)) for word in words)
        environment = {**self.run.environment, "OVS_RUNDIR": str(self.run.path)}
        done = subprocess.run(
            words, cwd=self.directory, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    @property
    def _inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.run.namespace]

    def heddle(self, *words: str) -> list[str]:
        """The command line of a command in the namespace."""
        return [*self._inside, sys.executable, "-B", "-m", "heddle", *words]

    def ask(self, what: str) -> Any:
        """What the daemon's API says; nothing while it is not there."""
        done = subprocess.run(
            [*self._inside, sys.executable, "-I", "-S", "-c", ASK, f"http://127.0.0.1:8080/api/v1/{what}"],
            capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else []

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in self.run.environment.items() if not name.startswith("HEDDLE_")}
        return {
            **kept, "HEDDLE_EMULATION": self.run.tag, "PYTHONPATH": str(REPOSITORY),
            "HEDDLE_FRAMEWORK": self._framework, "HEDDLE_STATE": str(self.directory / "state"),
        }  # fmt: skip

    def start_daemon(self, more: str = "") -> None:
        """Start it by the page's command and configuration, and what is added to that; one that runs ends before."""
        self.stop_daemon()
        (self.directory / "heddle.yaml").write_text(configurations()[0] + more)
        ((program, *words),) = commands("heddle run")
        assert program == "heddle"
        with self.log.open("wb") as log:
            self._daemon = subprocess.Popen(
                self.heddle(*words), cwd=self.directory, env=self.environment, stdout=log, stderr=log
            )

    def stop_daemon(self) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGTERM)
            self._daemon.wait(STOP_S)
            self._daemon = None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def identify(self, certificate: Certificate, trusted: Path) -> None:
        """Have the switches show another certificate."""
        self.call("ovs-vsctl", "set-ssl", str(certificate.key), str(certificate.file), str(trusted))

    def connected(self) -> list[str]:
        return sorted(switch["dpid"] for switch in self.ask("switches") if switch["connected"])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, framework: str) -> Iterator[Stage]:
    """All that the page says before it pins, done."""
    stage = Stage(tmp_path_factory.mktemp("tls"), framework)
    try:
        stage.open()
        for command in commands("openssl req"):
            stage.call(*command)
        stage.start_daemon()
        for command in (*commands("ovs-vsctl set-ssl"), *commands("ovs-vsctl set ")):
            stage.call(*command)
        ((*words, bridge, target),) = commands("ovs-vsctl set-controller")
        for each in (bridge, "br1"):
            stage.call(*words, each, target)
            stage.call("ovs-vsctl", "set", "controller", each, "max_backoff=1000")
        yield stage
    finally:
        stage.close()


@pytest.fixture(scope="module")
def first(stage: Stage) -> Certificate:
    """The certificate that the page makes for a switch."""
    return Certificate(
        stage.directory / "s1-cert.pem", stage.directory / "s1-key.pem", stage.directory / "fabric-ca.pem"
    )


def test_the_page_leads_to_a_switch_that_is_connected(stage: Stage, wait_until: Callable[..., None]) -> None:
    (asked,) = commands("ovs-vsctl get")

    wait_until(lambda: stage.call(*asked).strip() == "true", "the switch says that it is connected")
    wait_until(lambda: stage.connected() == [FIRST, SECOND], "both switches are up")
    (asked,) = commands("heddle switches")
    shown = subprocess.run(stage.heddle(*asked[1:]), env=stage.environment, capture_output=True, text=True, check=True)
    assert f"s-{FIRST}" in shown.stdout
    assert "openflow-unprotected" not in stage.said()


def test_cables_are_found(stage: Stage, wait_until: Callable[..., None]) -> None:
    wait_until(lambda: len(stage.ask("links")) == 2, "the cable is seen in both directions")


def test_what_the_page_reads_off_is_the_fingerprint_and_the_date(stage: Stage, first: Certificate) -> None:
    (fingerprint,), (date,) = commands("openssl x509 -noout -fingerprint"), commands("openssl x509 -noout -enddate")

    assert stage.call(*fingerprint).strip().endswith(first.fingerprint)
    assert stage.call(*date).startswith("notAfter=")


def test_a_pinned_switch_comes_with_its_own_certificate_only(
    stage: Stage, first: Certificate, wait_until: Callable[..., None], tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other").sign("s2")
    (shown,) = configurations()[1:]
    example = re.search(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", shown)
    assert example is not None
    pinned = shown.replace(example.group(), first.fingerprint) + f'    "{SECOND}": "{other.fingerprint}"\n'

    stage.start_daemon(pinned)

    wait_until(lambda: stage.connected() == [FIRST], "the switch with its own certificate is up")
    wait_until(lambda: f"has dpid {SECOND}" in stage.said(), "the other one is refused")
    assert f"fingerprint {other.fingerprint}, and came with {first.fingerprint}" in stage.said()
    assert stage.connected() == [FIRST]


def test_a_switch_that_is_not_listed_is_refused(stage: Stage, wait_until: Callable[..., None]) -> None:
    stage.start_daemon(f'switches: {{allowed: ["{SECOND}"]}}\n')

    wait_until(lambda: stage.connected() == [SECOND], "the listed switch is up")
    wait_until(lambda: f"has dpid {FIRST}, which 'switches.allowed' does not let" in stage.said(), "the other is not")
    assert stage.connected() == [SECOND]


def test_switches_of_another_authority_are_refused_until_they_show_the_right_certificate(
    stage: Stage, first: Certificate, wait_until: Callable[..., None], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").sign("s1")
    stage.identify(stranger, first.authority)

    stage.start_daemon()

    wait_until(lambda: "the authority does not vouch for" in stage.said(), "they are refused")
    assert stage.connected() == []
    stage.identify(first, first.authority)
    stage.start_daemon()
    wait_until(lambda: stage.connected() == [FIRST, SECOND], "both switches are up")


def test_a_switch_whose_certificate_is_replaced_shows_the_new_one(
    stage: Stage, first: Certificate, wait_until: Callable[..., None]
) -> None:
    (*_, make) = commands("openssl req")
    stage.call(*make)
    stage.start_daemon(f'switches: {{certificates: {{"{FIRST}": "{first.fingerprint}"}}}}\n')

    wait_until(lambda: stage.connected() == [FIRST, SECOND], "the switch shows its new certificate")


def test_a_switch_in_the_clear_is_refused(stage: Stage, wait_until: Callable[..., None]) -> None:
    stage.start_daemon()
    stage.call("ovs-vsctl", "set-controller", "br0", f"tcp:{ADDRESS}:6653")

    wait_until(lambda: "it does not speak TLS" in stage.said(), "the switch is refused")
    wait_until(lambda: stage.connected() == [SECOND], "the other one is up")


def test_an_open_port_without_tls_is_warned_of(stage: Stage, wait_until: Callable[..., None]) -> None:
    stage.stop_daemon()
    with stage.log.open("wb") as log:
        daemon = subprocess.Popen(
            stage.heddle("run", "--openflow", "0.0.0.0:6653"), env=stage.environment, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: "openflow-unprotected: switches connect to 0.0.0.0 without TLS" in stage.said(), "a warning")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(STOP_S)
