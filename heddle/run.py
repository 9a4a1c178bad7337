"""``heddle run``: the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def run_daemon_with(config: Path | None, flags: Mapping[str, str | None], log_level: str) -> int:
    """Read the configuration, then run the daemon until it is told to stop; returns its exit code."""
    from controller.config import load_config

    settings = load_config(config, flags)

    from controller import logs
    from controller.daemon import run_daemon

    logs.set_up(log_level)
    return run_daemon(settings)
