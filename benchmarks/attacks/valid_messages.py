"""Whatever Open vSwitch says is taken: what is refused as malformed must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.attacks import judge
from benchmarks.attacks.bridge_session import converse
from benchmarks.attacks.figures import Figure, at_least, at_most, told
from benchmarks.attacks.recorder import Recorder
from benchmarks.attacks.stage import PATIENCE_S, stage, wait_until
from topologies.fabric import LinkId

KINDS = frozenset({0, 1, 3, 6, 8, 10, 11, 12, 19, 21, 23, 25, 27})
"""Types of message that a switch sends, an experimenter's aside (section 7.1)."""
MULTIPARTS = frozenset(range(14))
_ROOT = Path(judge.__file__).parents[2]


def row(framework: str) -> Iterator[Figure]:
    """A session with the daemon, and a client that asks one bridge for everything."""
    with Recorder() as recorder, stage(framework, declared=True, through=recorder.stand_before) as made:
        made.acquaint("h2", "h6")
        cable = LinkId("l1", 5)
        made.cluster.set_link(cable, up=False)
        wait_until(lambda: cable not in made.client.fabric().link_by_id, "the link is gone")
        made.cluster.set_link(cable, up=True)
        wait_until(lambda: cable in made.client.fabric().link_by_id, "the link is back")
        said = converse(made)
        session = list(recorder.messages)
    yield told("valid-messages", "foreign flows, groups and meters taken", said.taken)
    yield from judged("valid-messages (session)", session, framework)
    yield from judged("valid-messages (asked)", said.messages, framework)
    verdicts = verdicts_on(said.messages, framework)
    missing = KINDS - {verdict["type"] for verdict in verdicts}
    yield at_most("valid-messages (asked)", "kinds of message missing", len(missing), 0, str(sorted(missing)))
    missing = MULTIPARTS - {verdict["multipart"] for verdict in verdicts}
    yield at_most("valid-messages (asked)", "kinds of multipart reply missing", len(missing), 0, str(sorted(missing)))


def judged(name: str, messages: list[bytes], framework: str) -> Iterator[Figure]:
    """What the checks and the framework make of messages."""
    verdicts = verdicts_on(messages, framework)
    yield at_least(name, "messages", len(verdicts), 1, str(dict(Counter(v["type"] for v in verdicts))))
    refused = [f"type {v['type']}/{v['multipart']}: {v['refused']}" for v in verdicts if v["refused"]]
    yield at_most(name, "refused by our checks", len(refused), 0, "; ".join(sorted(set(refused))[:5]))
    failed = [f"type {v['type']}/{v['multipart']}: {v['failed']}" for v in verdicts if v["failed"]]
    yield at_most(name, "not read by the framework", len(failed), 0, "; ".join(sorted(set(failed))[:5]))
    different = [difference for verdict in verdicts for difference in verdict["differences"]]
    yield told(name, "parts that the framework reads otherwise", len(different), "; ".join(sorted(set(different))[:5]))


def verdicts_on(messages: Iterable[bytes], framework: str) -> list[dict[str, Any]]:
    """What `judge` says of each message."""
    lines = "".join(f"{data.hex()}\n" for data in messages)
    done = subprocess.run(
        [sys.executable, "-B", "-m", "benchmarks.attacks.judge"], input=lines, text=True, capture_output=True,
        cwd=_ROOT, env={**os.environ, "HEDDLE_FRAMEWORK": framework}, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]
