"""One TCP flow between two emulated hosts: ``tcp_probe.py receive`` in one, ``tcp_probe.py send …`` in the other.

It imports nothing of Heddle. The receiver says on standard output which port it has, then what it got.
"""

from __future__ import annotations

import json
import socket
import sys
import time

_CHUNK = bytes(1 << 16)


def receive() -> None:
    """Take one connection; report its bytes and the seconds from the first to the last of them."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - an emulated host's own namespace
        _say({"port": server.getsockname()[1]})
        connection, _ = server.accept()
        with connection:
            first = len(connection.recv(1 << 16))
            start_s, received = time.monotonic(), 0
            while chunk := connection.recv(1 << 16):
                received += len(chunk)
            # What came with the first reading came before the clock started.
            _say({"bytes": received, "seconds": time.monotonic() - start_s, "first_bytes": first})


def send(address: str, port: int, size_bytes: int) -> None:
    """Send so many bytes."""
    with socket.create_connection((address, port)) as connection:
        for start in range(0, size_bytes, len(_CHUNK)):
            connection.sendall(_CHUNK[: size_bytes - start])


def _say(message: dict[str, float]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive()
    else:
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
