"""``heddle events``: what happened to a running daemon and its fabric, and what happens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from controller.api_models import EventInfo
from controller.client import DEFAULT_URL, Client
from heddle.output import print_json

LATEST = 50
"""Events that are shown where nobody says since when."""


def show_events(url: str | None, *, after: int | None, kinds: Sequence[str], follow: bool, as_json: bool) -> None:
    """Print events, newest last.

    Parameters
    ----------
    after : int or None
        All with higher ids; without it, the latest.
    kinds : sequence of str
        Only these, or those that fit such a pattern; all where there is none.
    follow : bool
        Go on with those to come, for ever; as JSON then one line each.
    """
    with Client(url or DEFAULT_URL) as client:
        known = client.events(after or 0)
        shown = [event for event in known if _fits(event, kinds)]
        shown = shown if after is not None else shown[-LATEST:]
        if as_json and not follow:
            print_json(shown)
            return
        if not shown and not follow:
            print("No such event." if kinds or after else "Nothing has happened yet.")
        for event in shown:
            _print(event, as_json=as_json)
        if follow:
            for event in client.follow_events(known[-1].id if known else after or 0):
                if _fits(event, kinds):
                    _print(event, as_json=as_json)


def _fits(event: EventInfo, kinds: Sequence[str]) -> bool:
    return not kinds or any(fnmatchcase(event.kind, kind) for kind in kinds)


def _print(event: EventInfo, *, as_json: bool) -> None:
    # Who follows through a pipe wants each line when it happens.
    print(event.model_dump_json() if as_json else line(event), flush=True)


def line(event: EventInfo) -> str:
    """``2026-01-02 03:04:05  switch-up             switch s1 is connected``."""
    return f"{clock(event.at_s)}  {event.kind:<20}  {event.message}"


def clock(at_s: float) -> str:
    """Unix time as people read it: the local date and time."""
    return f"{datetime.fromtimestamp(at_s, tz=UTC).astimezone():%Y-%m-%d %H:%M:%S}"
