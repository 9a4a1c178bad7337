"""Runs inside an emulated host: equal flows from source ports that follow each other, and what takes them.

``udp-take PORT``, ``udp-give ADDRESS PORT FIRST_PORT FLOWS PACKETS PER_SECOND``, ``tcp-take PORT FLOWS``,
``tcp-give ADDRESS PORT FIRST_PORT FLOWS BYTES BITS_PER_SECOND`` (with FIRST_PORT 0, the kernel chooses the ports);
``tcp-take-in-turn PORT FLOWS``, ``tcp-give-in-turn ADDRESS PORT FLOWS BYTES``: each connection ends before the next.
Takers say a line once they listen. Nothing but the standard library is needed.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

PAYLOAD_BYTES = 1000
TCP_STEP = 2
"""Linux gives connections every other port; so do we."""


def udp_take(port: int) -> None:
    """Listen, so that nothing is sent back; nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))  # noqa: S104 - an emulated host's own namespace
        _say_ready()
        sys.stdin.buffer.read()


def udp_give(address: str, port: int, first_port: int, flows: int, packets: int, per_second: float) -> None:
    """Send as many packets of each flow, one flow after the other, at a steady rate in all."""
    payload, socks = bytes(PAYLOAD_BYTES), []
    for number in range(flows):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", first_port + number))  # noqa: S104
        sock.connect((address, port))
        socks.append(sock)
    begun_s = time.monotonic()
    for number in range(packets * flows):
        ahead_s = number / per_second - (time.monotonic() - begun_s)
        if ahead_s > 0:
            time.sleep(ahead_s)
        socks[number % flows].send(payload)


def tcp_take(port: int, flows: int) -> None:
    """Read all that comes on so many connections, to their end."""
    with socket.create_server(("0.0.0.0", port), backlog=flows) as server, selectors.DefaultSelector() as selector:  # noqa: S104
        _say_ready()
        for _ in range(flows):
            connection, _ = server.accept()
            selector.register(connection, selectors.EVENT_READ)
        left = flows
        while left:
            for key, _ in selector.select():
                connection = key.fileobj
                if not connection.recv(1 << 16):  # type: ignore[union-attr]
                    selector.unregister(connection)
                    connection.close()  # type: ignore[union-attr]
                    left -= 1


def tcp_give(address: str, port: int, first_port: int, flows: int, size: int, bits_per_second: float) -> None:
    """Send as many bytes by each connection, in turns, at a steady rate in all."""
    socks = [
        socket.create_connection(
            (address, port), source_address=("", first_port + TCP_STEP * n) if first_port else None
        )
        for n in range(flows)
    ]
    chunk, sent, begun_s = bytes(PAYLOAD_BYTES), 0, time.monotonic()
    while sent < size * flows:
        ahead_s = sent * 8 / bits_per_second - (time.monotonic() - begun_s)
        if ahead_s > 0:
            time.sleep(ahead_s)
        for sock in socks:
            sock.sendall(chunk)
        sent += len(chunk) * flows
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
    for sock in socks:
        sock.recv(1)


def tcp_take_in_turn(port: int, flows: int) -> None:
    """Read one connection after another to its end."""
    with socket.create_server(("0.0.0.0", port), backlog=64) as server:  # noqa: S104
        _say_ready()
        for _ in range(flows):
            connection, _ = server.accept()
            with connection:
                while connection.recv(1 << 16):
                    pass


def tcp_give_in_turn(address: str, port: int, flows: int, size: int) -> None:
    """Send as many bytes by each of many connections."""
    chunk = bytes(size)
    for _ in range(flows):
        with socket.create_connection((address, port)) as sock:
            sock.sendall(chunk)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)


def _say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["udp-take", port]:
            udp_take(int(port))
        case ["udp-give", address, port, first, flows, packets, rate]:
            udp_give(address, int(port), int(first), int(flows), int(packets), float(rate))
        case ["tcp-take", port, flows]:
            tcp_take(int(port), int(flows))
        case ["tcp-give", address, port, first, flows, size, rate]:
            tcp_give(address, int(port), int(first), int(flows), int(size), float(rate))
        case ["tcp-take-in-turn", port, flows]:
            tcp_take_in_turn(int(port), int(flows))
        case ["tcp-give-in-turn", address, port, flows, size]:
            tcp_give_in_turn(address, int(port), int(flows), int(size))
        case _:
            sys.exit(__doc__)
