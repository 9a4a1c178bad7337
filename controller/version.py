"""The version of this installation."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Version of the installed distribution; ``unknown`` where the code runs without being installed."""
    try:
        return metadata.version("heddle-sdn")
    except metadata.PackageNotFoundError:
        return "unknown"
