"""The Heddle daemon as a process of its own, started and spoken to as a user would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import yaml

from controller.client import POLL_S, Client, DaemonUnreachable
from mininet_scenarios.machine import DAEMON_NICENESS, set_niceness
from topologies.errors import HeddleError
from topologies.fabric import Fabric
from topologies.files import write_fabric

READY_S = 60.0
_STOP_S = 15.0
_FOR_OTHER_DAEMONS = frozenset({
    "HEDDLE_CONFIG", "HEDDLE_OPENFLOW", "HEDDLE_API", "HEDDLE_STATE", "HEDDLE_FABRIC", "HEDDLE_ROUTING",
    "HEDDLE_TLS_CERTIFICATE", "HEDDLE_TLS_KEY", "HEDDLE_TLS_AUTHORITY",
})  # fmt: skip


def free_address() -> tuple[str, int]:
    """A loopback address that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return ("127.0.0.1", int(probe.getsockname()[1]))


class Daemon:
    """A daemon with a configuration, a state directory and a log of its own.

    Parameters
    ----------
    directory : Path
        Where its files go; made where it does not exist. Used again, it is the same daemon after a restart.
    fabric : Fabric or None
        Written to a file that the daemon is given; None lets it discover everything.
    openflow : (str, int)
        Where it listens for switches.
    default : str
        Default routing, ``ecmp`` or ``shortest``.
    environment : mapping of str to str, optional
        Of the process; the emulation's own, so that its clearing away finds the daemon too.
    """

    def __init__(
        self,
        directory: Path,
        fabric: Fabric | None,
        openflow: tuple[str, int],
        default: str = "ecmp",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.log = directory / "daemon.log"
        self._fabric = fabric
        self._openflow = openflow
        self._default = default
        inherited = environment if environment is not None else os.environ
        # What the user set for a daemon of their own must not reach this one: it would win over its file.
        self._environment = {name: value for name, value in inherited.items() if name not in _FOR_OTHER_DAEMONS}
        self._api = free_address()
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Client(f"http://{self._api[0]}:{self._api[1]}")

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.client.close()

    @property
    def pid(self) -> int:
        """Process id.

        Raises
        ------
        HeddleError
            It does not run.
        """
        if self._process is None:
            raise HeddleError(f"the daemon in {self.directory} does not run")
        return self._process.pid

    def start(self) -> None:
        """Write its files and start it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config: dict[str, object] = {
            "openflow": f"{self._openflow[0]}:{self._openflow[1]}",
            "api": f"{self._api[0]}:{self._api[1]}",
            "state_dir": "state",
            "routing": {"default": self._default},
        }
        if self._fabric is not None:
            write_fabric(self._fabric, self.directory / "fabric.json")
            config["fabric"] = "fabric.json"
        (self.directory / "heddle.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        command = [sys.executable, "-m", "heddle", "run", "-c", str(self.directory / "heddle.yaml")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        set_niceness(self._process.pid, DAEMON_NICENESS)

    def wait_ready(self, progress: Callable[[str], None] | None = None, timeout_s: float = READY_S) -> None:
        """Return once the fabric is known and carries traffic.

        Raises
        ------
        HeddleError
            It ended, or is not ready in time; the message ends with the last line of its log.
        """
        deadline_s, told = time.monotonic() + timeout_s, None
        while (missing := self._missing()) is not None:
            if progress is not None and missing != told:
                told = missing
                progress(missing)
            if self._process is None or self._process.poll() is not None:
                raise HeddleError(f"the daemon ended before it was ready; its log says: {self._last_words()}")
            if time.monotonic() >= deadline_s:
                raise HeddleError(
                    f"the daemon is not ready after {timeout_s:g} s: {missing}; its log says: {self._last_words()}"
                )
            time.sleep(POLL_S)

    def _missing(self) -> str | None:
        """What it waits for until it is ready; None when it is."""
        try:
            readiness = self.client.ready()
        except DaemonUnreachable as error:
            return f"no daemon answers at {error.url} yet ({error.reason})"
        return None if readiness.ready else readiness.reason

    def stop(self) -> None:
        """End it as a service manager would, and wait for its end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """End it with SIGKILL: no farewell to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1] if lines else "nothing"
