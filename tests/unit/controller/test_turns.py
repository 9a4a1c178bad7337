"""Turns in a process of their own, since they need the framework's hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLAY = """
import json
from controller import framework
from controller.turns import TURN_S, Account, Turns

# Time passes where somebody works, and nowhere else: a machine that is busy elsewhere changes nobody's share.
clock_s = 1000.0
framework.now_s = lambda: clock_s


class Play(framework.App):
    def start(self):
        super().start()
        self.turns, self.order = Turns(), []
        self.server = framework.spawn(self.turns.serve)
        framework.spawn(self.play)

    def work(self, name, account, pieces):
        global clock_s
        for _ in range(pieces):
            began_s = self.turns.take(account)
            self.order.append(name)
            clock_s += TURN_S
            self.turns.give(account, began_s)

    def play(self):
        busy = [(f"busy {number}", Account()) for number in range(20)]
        tasks = [framework.spawn(self.work, name, account, 40) for name, account in busy]
        quiet = Account()
        while len(self.order) < 200:
            framework.sleep(0)
        at = len(self.order)
        tasks.append(framework.spawn(self.work, "quiet", quiet, 1))
        while "quiet" not in self.order:
            framework.sleep(0)
        waited = self.order.index("quiet") - at
        for task in tasks:
            task.wait()
        shares = [self.order[:400].count(name) for name, _ in busy]
        self.turns.close()
        self.server.cancel()
        self.work("late", Account(), 1)
        print(json.dumps({"waited": waited, "shares": shares, "all": len(self.order)}), flush=True)
        framework.stop()

    def close(self):
        pass


framework.run(Play)
"""


@pytest.mark.parametrize("name", ["ryu", "os-ken"])
def test_who_has_taken_little_goes_before_the_busy_and_these_share_alike(name: str):
    run = subprocess.run(
        [sys.executable, "-c", PLAY],
        env={**os.environ, "HEDDLE_FRAMEWORK": name, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    seen = json.loads(run.stdout)

    # The turn under way, and one that was called already.
    assert seen["waited"] <= 2
    assert max(seen["shares"]) - min(seen["shares"]) <= 6
    assert seen["all"] == 20 * 40 + 2
