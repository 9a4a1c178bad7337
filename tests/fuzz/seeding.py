"""Runs a fuzzing target from a set of seeds, and cleans up behind the fuzzer, which never returns."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris


def fuzz(
    judge: Callable[[bytes], object],
    seeds: Iterable[bytes],
    mutate: Callable[[bytes, int, int], bytes] | None = None,
) -> int:
    """Fuzz a function until libFuzzer's options, from the command line, end it; returns the fuzzer's exit code.

    What it finds worth keeping goes to the first folder on the command line; without one it is forgotten.
    """
    with tempfile.TemporaryDirectory(prefix="heddle-fuzz-") as directory:
        for seed in seeds:
            (Path(directory) / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
        child = os.fork()
        if child == 0:
            atheris.Setup([*sys.argv, directory], judge, **({"custom_mutator": mutate} if mutate else {}))
            atheris.Fuzz()
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
