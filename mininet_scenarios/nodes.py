"""Mininet's hosts, switches and links, as an emulation with namespaces of its own needs them."""

from __future__ import annotations

import subprocess
from typing import Any

from mininet_scenarios.requirements import load_mininet, program

load_mininet()
from mininet.link import Intf, Link  # noqa: E402
from mininet.log import setLogLevel  # noqa: E402
from mininet.net import Mininet  # noqa: E402
from mininet.node import Host, Switch  # noqa: E402

ENTER = ("--net", "--mount", "--uts", "--ipc")
"""The namespaces in which a rank's host differs from the machine, as options of nsenter and unshare."""


class RankHost(Host):  # type: ignore[misc]
    """A host with its own host name, shared memory and IPC, besides Mininet's own network.

    MPI takes ranks with one host name and one ``/dev/shm`` for neighbours and moves their data through
    memory: results are right, times are far below what the links allow, and no byte is on the wire.
    """

    def __init__(self, name: str, environment: dict[str, str], **params: Any) -> None:
        self._environment = environment
        super().__init__(name, **params)

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[bytes]:
        if self.shell is None:
            cmd = [program("unshare"), "--uts", "--ipc", "--mount", *cmd]
        process: subprocess.Popen[bytes] = super()._popen(cmd, env=self._environment, **params)
        return process


class PortSwitch(Switch):  # type: ignore[misc]
    """A switch as Mininet sees it: a shell in the namespace of its ports; one Open vSwitch runs all of them."""

    def __init__(self, name: str, environment: dict[str, str], namespace: str, **params: Any) -> None:
        self._environment = environment
        self._namespace = namespace
        super().__init__(name, **params)

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[bytes]:
        if self.shell is None:
            cmd = [program("ip"), "netns", "exec", self._namespace, *cmd]
        process: subprocess.Popen[bytes] = super()._popen(cmd, env=self._environment, **params)
        return process

    def stop(self, deleteIntfs: bool = False) -> None:  # noqa: N803 - Mininet's name
        """Nothing to do: the ports go with their namespace."""


class WiredIntf(Intf):  # type: ignore[misc]
    """An interface that exists and is configured already."""

    def config(self, mac: str | None = None, ip: str | None = None, **_params: Any) -> dict[str, Any]:
        """Note the addresses; nothing is run."""
        if mac:
            self.mac = mac
        if ip:
            self.ip, self.prefixLen = ip.split("/")
        return {}


class WiredLink(Link):  # type: ignore[misc]
    """A cable that exists already; it goes with the namespaces of its ends."""

    @classmethod
    def makeIntfPair(cls, *_names: Any, **_params: Any) -> None:  # noqa: N802 - Mininet's name
        """Nothing to do."""

    def stop(self) -> None:
        """Nothing to do."""


def empty_network() -> Any:
    """A Mininet network with nothing in it, no controller, and no change to the machine.

    Mininet would raise a dozen limits of the whole machine at first use and never put them back.
    """
    setLogLevel("critical")
    Mininet.inited = True
    return Mininet(controller=None, build=False, link=WiredLink, intf=WiredIntf)
