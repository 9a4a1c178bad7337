"""Runs inside an emulated host: frames in and out of its card as lines of hex, and floods of ARP.

``tap DEVICE ETHERTYPE``: every frame of that type that comes in is a line ``<monotonic ns> <hex>`` on standard output;
every line of hex on standard input is sent. ``flood DEVICE COUNT PER_SECOND SECONDS``: ARP requests, each with another
sender and for another target, until all were sent and the time is over. It needs nothing but the standard library.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time

_OUTGOING = 4
_ARP = struct.Struct("!HHBBH6s4s6s4s")


def tap(device: str, ethertype: int) -> None:
    """Frames in both directions until standard input ends."""
    card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    card.bind((device, ethertype))

    def read() -> None:
        while True:
            frame, where = card.recvfrom(65535)
            if where[2] != _OUTGOING:
                sys.stdout.write(f"{time.monotonic_ns()} {frame.hex()}\n")
                sys.stdout.flush()

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Thread(target=read, daemon=True).start()
    for line in sys.stdin:
        card.send(bytes.fromhex(line))


def flood_frame(number: int) -> bytes:
    """An ARP request of the ``number``-th invented host for another invented one."""
    sender = b"\x02\xaa" + number.to_bytes(4)
    sender_ip = (0x0A80_0000 + number).to_bytes(4)
    target_ip = (0x0AC0_0000 + number).to_bytes(4)
    frame = b"\xff" * 6 + sender + b"\x08\x06"
    return (frame + _ARP.pack(1, 0x0800, 6, 4, 1, sender, sender_ip, bytes(6), target_ip)).ljust(60, b"\0")


def flood(device: str, count: int, per_second: float, seconds: float) -> None:
    """Keep the rate, and never send in bursts of more than a tenth of a second."""
    card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    card.bind((device, 0))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    begun_s, sent = time.monotonic(), 0
    while sent < count or time.monotonic() - begun_s < seconds:
        card.send(flood_frame(sent % count))
        sent += 1
        ahead_s = sent / per_second - (time.monotonic() - begun_s)
        if ahead_s > 0.002:
            time.sleep(ahead_s)
    sys.stdout.write(f"{sent}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "tap":
        tap(sys.argv[2], int(sys.argv[3], 0))
    else:
        flood(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
