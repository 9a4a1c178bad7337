"""The daemon's log: lines on standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping


def set_up(level: str, environment: Mapping[str, str] = os.environ) -> None:
    """Log to standard error from ``level`` on.

    The time is left out under systemd, whose journal has its own.
    """
    time = "" if "JOURNAL_STREAM" in environment else "%(asctime)s "
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{time}%(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They narrate every step at INFO.
    for name in ("uvicorn", "httpx", "httpcore", "ryu.base", "os_ken.base"):
        logging.getLogger(name).setLevel(logging.WARNING)
