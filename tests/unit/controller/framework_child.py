"""An application that does nothing: for what the framework seam itself promises."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import Future
from typing import Any

from controller import framework
from topologies.errors import HeddleError


def say(**details: Any) -> None:
    sys.stdout.write(json.dumps(details) + "\n")
    sys.stdout.flush()


class Child(framework.App):
    def start(self) -> None:
        super().start()
        if "refuse-to-start" in sys.argv:
            raise HeddleError("the port is in use")
        threading.Thread(target=calls, daemon=True).start()

    def close(self) -> None:
        say(closed=True)


def failing() -> None:
    raise ValueError("as asked")


def outcome(future: Future[Any]) -> str:
    error = future.exception(30)
    return f"{type(error).__name__}: {error}" if error is not None else repr(future.result())


def calls() -> None:
    threads: set[str] = set()

    def noted(n: int) -> int:
        threads.add(threading.current_thread().name)
        return n

    order = [future.result(30) for future in [framework.call_soon(lambda n=n: noted(n)) for n in range(1000)]]
    say(
        framework=framework.FRAMEWORK,
        in_order=order == list(range(1000)),
        threads=sorted(threads),
        failed=outcome(framework.call_soon(failing)),
    )
    gate = threading.Event()
    framework.call_soon(gate.wait)
    crowd = [framework.call_soon(int) for _ in range(11_000)]
    gate.set()
    refused = [future for future in crowd if future.exception(30) is not None]
    say(refused=len(refused), reason=outcome(refused[0]))
    ticked = threading.Event()

    def tick() -> None:
        ticked.set()
        failing()

    first = framework.call_soon(lambda: framework.every(0.01, tick)).result(30)
    ticks = 0
    while ticks < 3 and ticked.wait(30):
        ticked.clear()
        ticks += 1
    framework.call_soon(first.cancel).result(30)
    say(ticks=ticks)
    if "stop" in sys.argv:
        framework.stop()
    say(idle=True)


if __name__ == "__main__":
    early = framework.call_soon(lambda: "early")
    try:
        ended_by = framework.run(Child)
    except HeddleError as error:
        say(error=str(error))
        sys.exit(1)
    say(early=outcome(early), ended_by=ended_by, late=outcome(framework.call_soon(int)))
