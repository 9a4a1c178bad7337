"""Coverage-guided fuzzing of frames from hosts: their headers, and what passes for a probe.

``python tests/fuzz/fuzz_frames.py [FOLDER] -max_total_time=600``: libFuzzer's options, by Atheris; what is new is kept
in the folder. Ends with code 77 and the input where an exception escapes, or a forged probe is believed.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["workloads", "controller.lldp"]):
        from benchmarks.judging import Frames

from seeding import fuzz

from benchmarks.fuzzing import frame_pool, probes


def main() -> int:
    frames = Frames(probes(Random(1)))
    return fuzz(frames.judge, [*frame_pool(Random(1)), *frames.signed()])


if __name__ == "__main__":
    sys.exit(main())
