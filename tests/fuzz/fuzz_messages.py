"""Coverage-guided fuzzing of what a switch sends: header, every length, and the framework's parser.

``python tests/fuzz/fuzz_messages.py [FOLDER] -max_total_time=600``: libFuzzer's options, by Atheris; what is new is
kept in the folder. ``HEDDLE_FRAMEWORK`` chooses the framework. Ends with code 77 and the input where an exception
escapes.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(
        include=["controller.checking", "controller.framing", "ryu.ofproto", "os_ken.ofproto"]
    ):
        from benchmarks.judging import Messages

from seeding import fuzz

from benchmarks.fuzzing import message_pool
from benchmarks.mutations import with_header_length


def whole(data: bytes, max_bytes: int, seed: int) -> bytes:
    """A mutation, mostly with the header's length made right: else most would wait for more bytes, or be cut."""
    mutation = atheris.Mutate(data, max_bytes)
    return mutation if seed % 16 == 0 else with_header_length(bytearray(mutation))


def main() -> int:
    logging.disable()
    return fuzz(Messages().judge, [each.message for each in message_pool(Random(1))], whole)


if __name__ == "__main__":
    sys.exit(main())
