"""What an emulation needs of its machine: checked before anything is built, each lack in one sentence."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from topologies.errors import HeddleError

OVS_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_SYSTEM_PATH = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"))
_PACKAGES = {
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-common",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-ofctl": "openvswitch-common",
    "ovsdb-tool": "openvswitch-common",
    "mnexec": "mininet",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "tc": "iproute2",
    "ss": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "ping": "iputils-ping",
}
_MININET_IN_DEBIAN = Path("/usr/lib/python3/dist-packages/mininet")
# An anonymous namespace vanishes with the shell, so the probe leaves nothing behind.
_KERNEL_PROBES = (
    ("network namespaces (CONFIG_NET_NS)", "true"),
    ("veth pairs (CONFIG_VETH)", "ip link add probe0 type veth peer name probe1"),
    ("the HTB queueing discipline (CONFIG_NET_SCH_HTB)", "tc qdisc add dev probe0 root handle 1: htb default 1"),
    ("HTB classes (CONFIG_NET_SCH_HTB)", "tc class add dev probe0 parent 1: classid 1:1 htb rate 10mbit burst 15k"),
    ("the bfifo queue (CONFIG_NET_SCHED)", "tc qdisc add dev probe0 parent 1:1 handle 2: bfifo limit 90000"),
)


class MissingRequirement(HeddleError):
    """The machine lacks something that an emulation cannot do without. Exit code 1."""


def program(name: str) -> str:
    """Full path of a program; the system's directories are searched too, which a user's PATH may lack.

    Raises
    ------
    MissingRequirement
        It is not installed; the message names its Debian package.
    """
    found = shutil.which(name) or shutil.which(name, path=_SYSTEM_PATH)
    if found is None:
        package = _PACKAGES.get(name, name)
        raise MissingRequirement(f"{name} is not installed; run 'apt-get install {package}'")
    return found


def check_root() -> None:
    """Check that we may make and remove network namespaces.

    Raises
    ------
    MissingRequirement
        The user is not root.
    """
    if os.geteuid() != 0:
        raise MissingRequirement("an emulated cluster needs root (network namespaces); run the command with sudo")


def check_machine() -> None:
    """Check user, programs, Open vSwitch's schema, Mininet and the kernel.

    Raises
    ------
    MissingRequirement
        Something is missing; the message says what to do about it.
    """
    check_root()
    for name in _PACKAGES:
        program(name)
    if not OVS_SCHEMA.exists():
        raise MissingRequirement(f"{OVS_SCHEMA} is missing; run 'apt-get install openvswitch-switch'")
    load_mininet()
    script = "; ".join(f"{command} || {{ echo {index}; exit 1; }}" for index, (_, command) in enumerate(_KERNEL_PROBES))
    probe = subprocess.run(
        [program("unshare"), "--net", "sh", "-c", script],
        capture_output=True, text=True, check=False, env={**os.environ, "PATH": _SYSTEM_PATH},
    )  # fmt: skip
    if probe.returncode:
        failed = _KERNEL_PROBES[int(probe.stdout.strip() or 0)][0]
        detail = probe.stderr.strip().splitlines()
        raise MissingRequirement(
            f"the kernel refuses {failed} here ({detail[-1] if detail else 'no reason given'}); "
            "use a kernel with it, or a container with CAP_NET_ADMIN and CAP_SYS_ADMIN"
        )


def load_mininet() -> ModuleType:
    """Import Mininet, from Debian's package where the virtual environment has none.

    Debian installs it for the system's Python, which a virtual environment does not see; it is pure
    Python, so that one package is loaded by its path and ``sys.path`` stays as it is.

    Raises
    ------
    MissingRequirement
        Neither place has it, or what it imports is missing.
    """
    if "mininet" not in sys.modules and importlib.util.find_spec("mininet") is None:
        spec = importlib.util.spec_from_file_location(
            "mininet", _MININET_IN_DEBIAN / "__init__.py", submodule_search_locations=[str(_MININET_IN_DEBIAN)]
        )
        if spec is None or spec.loader is None or not _MININET_IN_DEBIAN.exists():
            raise MissingRequirement("Mininet is not installed; run 'apt-get install mininet'")
        package = importlib.util.module_from_spec(spec)
        sys.modules["mininet"] = package
        spec.loader.exec_module(package)
    try:
        importlib.import_module("mininet.net")
    except ImportError as error:
        # Python 3.12 dropped distutils, which Mininet 2.3 imports; setuptools brings a copy.
        raise MissingRequirement(f"Mininet cannot be imported ({error}); run 'pip install setuptools'") from error
    return sys.modules["mininet"]


def mpi_program() -> Path:
    """MPICH's ``mpiexec`` in this Python environment, with mpi4py beside it.

    Raises
    ------
    MissingRequirement
        The extra ``emulation`` is not installed.
    """
    mpiexec = Path(sys.executable).with_name("mpiexec.hydra")
    if importlib.util.find_spec("mpi4py") is None or not mpiexec.exists():
        raise MissingRequirement("MPI is not installed here; run \"pip install '.[emulation]'\" in Heddle's folder")
    return mpiexec
