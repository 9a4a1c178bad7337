"""``heddle run``: the daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.endpoint import Endpoint


def run_daemon_with(config: Path | None, flags: Mapping[str, str | None], log_level: str, *, as_json: bool) -> int:
    """Read the configuration, then run the daemon until it is told to stop; returns its exit code.

    ``as_json`` prints one line once switches and users can connect, for whoever started the daemon: where, by port 0
    too, and what it is.
    """
    from controller.config import load_config

    settings = load_config(config, flags)

    from controller import framework, logs
    from controller.daemon import run_daemon

    def tell(openflow: Endpoint, api: str) -> None:
        about = {
            "openflow": str(openflow),
            "api": api,
            "state_dir": str(settings.state_dir),
            "pid": os.getpid(),
            "framework": f"{framework.FRAMEWORK} {framework.VERSION}",
        }
        print(json.dumps(about), flush=True)

    logs.set_up(log_level)
    return run_daemon(settings, tell if as_json else None)
