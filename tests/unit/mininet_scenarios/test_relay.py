"""The relay carries bytes both ways, and closes what it cannot carry."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from mininet_scenarios.relay import Relay

PATIENCE_S = 30.0


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    connection.connect(str(path))
    return connection


def receive(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (chunk := connection.recv(size - len(got))):
        got += chunk
    return got


def test_bytes_go_both_ways_in_order(tmp_path: Path) -> None:
    path, there, back = tmp_path / "s1.controller", bytes(range(256)) * 4096, b"hello" * 1000
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        relay = Relay([path], server.getsockname())
        relay.start()
        try:
            with connect(path) as switch:
                daemon, _ = server.accept()
                with daemon:
                    daemon.settimeout(PATIENCE_S)
                    sender = threading.Thread(target=switch.sendall, args=(there,))
                    sender.start()
                    assert receive(daemon, len(there)) == there
                    sender.join()
                    daemon.sendall(back)
                    assert receive(switch, len(back)) == back
        finally:
            relay.stop()
    assert not path.exists()


def test_a_switch_is_cut_off_while_the_daemon_is_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()
    relay = Relay([tmp_path / "s1.controller"], nobody)
    relay.start()
    try:
        with connect(tmp_path / "s1.controller") as switch:
            assert switch.recv(1) == b""
    finally:
        relay.stop()
