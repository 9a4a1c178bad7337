"""A bare framework that reads hostile inputs: for each line of standard input, says how that ended.

``python victim.py ryu|os_ken`` takes lines ``message HEX`` and ``frame HEX`` and answers ``returned``, ``raised`` or
``stuck``. Each input is read in a process of its own, which dies by itself after a tenth of a second of CPU, some
forty times what a legal message of that size takes, or 512 MiB.
"""

from __future__ import annotations

import importlib
import logging
import os
import resource
import signal
import sys
import warnings

CPU_S, MEMORY_BYTES = 0.1, 512 << 20
RETURNED, RAISED, STUCK = 0, 1, 2


def read(framework: str, kind: str, data: bytes) -> int:
    """Give the framework an input, as it would take it from a switch or out of a packet-in."""
    parser = importlib.import_module(f"{framework}.ofproto.ofproto_parser")
    protocol = importlib.import_module(f"{framework}.ofproto.ofproto_protocol")
    packet = importlib.import_module(f"{framework}.lib.packet.packet")
    try:
        if kind == "frame":
            packet.Packet(data)
            return RETURNED
        version, message_type, length, xid = parser.header(data)
        # The frameworks answer None where their parser raised.
        message = parser.msg(protocol.ProtocolDesc(version), version, message_type, length, xid, data)
        return RAISED if message is None else RETURNED
    except MemoryError:
        return STUCK
    except Exception:
        return RAISED


def outcome(framework: str, kind: str, data: bytes) -> str:
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Counts CPU, not time: a busy machine makes no input look hostile.
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        os._exit(read(framework, kind, data))
    _, status = os.waitpid(child, 0)
    code = (
        STUCK if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF else os.waitstatus_to_exitcode(status)
    )
    return {RETURNED: "returned", RAISED: "raised", STUCK: "stuck"}.get(code, f"died of {code}")


def main() -> None:
    (framework,) = sys.argv[1:]
    os.environ["RYU_HUB_TYPE"] = os.environ["OSKEN_HUB_TYPE"] = "eventlet"
    warnings.simplefilter("ignore")
    logging.disable()
    # All versions' parsers, as in a controller; imported here, so that no child spends its time on it.
    read(framework, "frame", bytes(14))
    for line in sys.stdin:
        kind, data = line.split()
        sys.stdout.write(outcome(framework, kind, bytes.fromhex(data)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
