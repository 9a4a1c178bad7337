"""Socket buffers of the whole machine, raised while a switch opens its sockets and put back after.

All ports of one ``ovs-vswitchd`` send through one socket, and what waits in a shaped link's queue counts
against that socket: with the usual 212,992 bytes one congested link made another lose 83 % of its packets,
with no drop in any counter. A socket takes its size when it is opened, so the raise is needed only then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mininet_scenarios.rundir import ROOT, machine_lock
from topologies.errors import HeddleError

_SETTINGS = Path("/proc/sys/net/core")
SEND_BUFFER_BYTES = 64 << 20
_WANTED = {
    "wmem_max": SEND_BUFFER_BYTES,
    "wmem_default": SEND_BUFFER_BYTES,
    "rmem_max": 16 << 20,
    "rmem_default": 16 << 20,
}
_LOCK = "buffers"


@contextmanager
def raised_buffers() -> Iterator[None]:
    """Raise the machine's default socket buffers inside the block, one emulation at a time.

    The former values are on disk before the first is changed: should we die inside, the next emulation or
    `restore_buffers` puts them back.

    Raises
    ------
    HeddleError
        The kernel does not let us.
    """
    with machine_lock(_LOCK):
        _restore()
        former = {name: int((_SETTINGS / name).read_text()) for name in _WANTED}
        _record().write_text(json.dumps(former))
        try:
            _write({name: max(former[name], value) for name, value in _WANTED.items()})
            yield
        finally:
            _restore()


def restore_buffers() -> None:
    """Put back what an emulation that died had raised."""
    with machine_lock(_LOCK):
        _restore()


def _record() -> Path:
    return ROOT / "buffers.json"


def _restore() -> None:
    record = _record()
    try:
        former = json.loads(record.read_text())
    except (OSError, ValueError):
        return
    _write(former)
    record.unlink()


def _write(values: dict[str, int]) -> None:
    for name, value in values.items():
        try:
            (_SETTINGS / name).write_text(str(value))
        except OSError as error:
            raise HeddleError(
                f"cannot set net.core.{name} to {value} ({error.strerror}); run as root on the host"
            ) from error
