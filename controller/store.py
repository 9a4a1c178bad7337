"""The daemon's memory across restarts: jobs, hosts, the active plan and events, in SQLite.

Only the OpenFlow thread uses it. What is committed here is on disk before the switches are told.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from controller.cordons import Cable
from controller.discovery import PortId
from controller.service import Event, PlannedPath, PlanStatus
from dataplane.detours import Tunnel
from topologies.errors import HeddleError, InputError
from topologies.fabric import LinkId
from workloads.job import Algorithm, Collective, Job

log = logging.getLogger(__name__)

APPLICATION_ID = 0x48454444
"""``HEDD``: tells our database from others (https://sqlite.org/fileformat.html, section 1.3.14)."""
SCHEMA_VERSION = 3
MAX_EVENTS = 10_000
SECRET_BYTES = 32
BUSY_TIMEOUT_S = 5.0

_SCHEMA = """
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    place INTEGER NOT NULL UNIQUE,
    ranks TEXT NOT NULL,
    message_bytes INTEGER NOT NULL,
    collective TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    flows_per_pair INTEGER NOT NULL,
    rate_cap_bps REAL
) STRICT;
CREATE TABLE hosts (ip TEXT PRIMARY KEY, mac TEXT NOT NULL, dpid TEXT NOT NULL, port INTEGER NOT NULL) STRICT;
CREATE TABLE plan (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    proof TEXT NOT NULL
) STRICT;
CREATE TABLE paths (
    place INTEGER PRIMARY KEY,
    label INTEGER NOT NULL,
    job TEXT NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    links TEXT NOT NULL,
    rate_bps REAL NOT NULL
) STRICT;
CREATE TABLE detours (label INTEGER PRIMARY KEY, links TEXT NOT NULL, eth_type INTEGER NOT NULL) STRICT;
CREATE TABLE resting_labels (
    label INTEGER NOT NULL,
    switch TEXT NOT NULL,
    PRIMARY KEY (label, switch)
) STRICT, WITHOUT ROWID;
CREATE TABLE cordons (low TEXT PRIMARY KEY, high TEXT NOT NULL) STRICT;
CREATE TABLE events (id INTEGER PRIMARY KEY, at_s REAL NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL) STRICT;
"""


class StoredHost(NamedTuple):
    """A host as it was last seen."""

    ip: str
    mac: str
    at: PortId


class Pushed(NamedTuple):
    """A label, and a switch that pushes it."""

    label: int
    switch: str


class Store:
    """The state directory: one daemon at a time holds it.

    Parameters
    ----------
    directory : Path
        Made, readable by its owner alone, where it does not exist.

    Raises
    ------
    HeddleError
        The directory cannot be used, another daemon uses it, or its database is damaged, of a newer
        version, or somebody else's. Nothing is overwritten then.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "heddle.db"
        # The paths and detours of the last plan saved; None where it is not known what is.
        self._saved: tuple[tuple[PlannedPath, ...], dict[Tunnel, int]] | None = None
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(directory, error) from None
        try:
            self._take_lock()
            self._secret = self._load_secret()
            self._database = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and let another daemon have the directory."""
        self._database.close()
        os.close(self._lock)

    def secret(self) -> bytes:
        """The key of this controller's signatures: 32 random bytes, the same at every start."""
        return self._secret

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────

    def jobs(self) -> tuple[Job, ...]:
        """All jobs, in the order in which they were first saved."""
        rows = self._query(
            "SELECT name, ranks, message_bytes, collective, algorithm, flows_per_pair, rate_cap_bps "
            "FROM jobs ORDER BY place"
        )
        with self._reading():
            return tuple(
                Job(name, tuple(json.loads(ranks)), size, Collective(collective), Algorithm(algorithm), flows, cap_bps)
                for name, ranks, size, collective, algorithm, flows, cap_bps in rows
            )

    def save_job(self, job: Job) -> None:
        """Add a job, or replace the one of its name."""
        with self._changing(durable=True) as database:
            database.execute(
                "INSERT INTO jobs VALUES (?, (SELECT coalesce(max(place), 0) + 1 FROM jobs), ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET ranks = excluded.ranks, message_bytes = excluded.message_bytes, "
                "collective = excluded.collective, algorithm = excluded.algorithm, "
                "flows_per_pair = excluded.flows_per_pair, rate_cap_bps = excluded.rate_cap_bps",
                (
                    job.name,
                    json.dumps(job.ranks),
                    job.message_bytes,
                    job.collective,
                    job.algorithm,
                    job.flows_per_pair,
                    job.rate_cap_bps,
                ),
            )

    def delete_job(self, name: str) -> None:
        """Forget a job."""
        with self._changing(durable=True) as database:
            database.execute("DELETE FROM jobs WHERE name = ?", (name,))

    # ── hosts ────────────────────────────────────────────────────────────────────────────────────

    def hosts(self) -> tuple[StoredHost, ...]:
        """All learned hosts, in the order in which they were last saved."""
        rows = self._query("SELECT ip, mac, dpid, port FROM hosts ORDER BY rowid")
        with self._reading():
            return tuple(StoredHost(ip, mac, PortId(int(dpid, 16), port)) for ip, mac, dpid, port in rows)

    def change_hosts(self, saved: Iterable[StoredHost], forgotten: Iterable[str]) -> None:
        """Remember where hosts were seen, and forget those of these addresses, in one transaction."""
        # As text: a dpid has 64 bits without sign, SQLite's integers have 64 with one.
        rows = ((host.ip, host.mac, f"{host.at.dpid:016x}", host.at.port) for host in saved)
        with self._changing() as database:
            database.executemany("DELETE FROM hosts WHERE ip = ?", ((ip,) for ip in forgotten))
            database.executemany("INSERT OR REPLACE INTO hosts VALUES (?, ?, ?, ?)", rows)

    # ── the plan ─────────────────────────────────────────────────────────────────────────────────

    def load_plan(self) -> PlanStatus | None:
        """The plan that the switches hold or were about to get."""
        plans = self._query("SELECT epoch, proof FROM plan")
        rows = self._query("SELECT job, source, target, label, links, rate_bps FROM paths ORDER BY place")
        with self._reading():
            paths = tuple(
                PlannedPath(job, source, target, label, tuple(map(LinkId.parse, json.loads(links))), rate_bps)
                for job, source, target, label, links, rate_bps in rows
            )
            return next((PlanStatus(epoch=epoch, paths=paths, **json.loads(proof)) for epoch, proof in plans), None)

    def load_detours(self) -> dict[Tunnel, int]:
        """The labels of the detours that the switches hold or were about to get."""
        rows = self._query("SELECT label, links, eth_type FROM detours ORDER BY label")
        with self._reading():
            return {
                Tunnel(tuple(map(LinkId.parse, json.loads(links))), eth_type): label for label, links, eth_type in rows
            }

    def save_plan(
        self, plan: PlanStatus | None, detours: Mapping[Tunnel, int] | None = None, given_up: Iterable[Pushed] = ()
    ) -> None:
        """Replace the plan, None forgets it, and the detours.

        Parameters
        ----------
        detours : mapping of Tunnel to int, optional
            Labels of the detours in the rules that go with the plan.
        given_up : iterable of Pushed, optional
            Labels that switches push by the former rules and not by these: they rest from the same moment on.
        """
        paths, detours = plan.paths if plan is not None else (), dict(detours or {})
        # Of thousands of paths few change, and all that comes before traffic moves costs time.
        saved, self._saved = self._saved, None
        with self._changing(durable=True) as database:
            database.execute("DELETE FROM plan")
            database.executemany("INSERT OR REPLACE INTO resting_labels VALUES (?, ?)", given_up)
            if saved is None or saved[1] != detours:
                database.execute("DELETE FROM detours")
                database.executemany(
                    "INSERT INTO detours VALUES (?, ?, ?)",
                    ((label, _listed(tunnel.links), tunnel.eth_type) for tunnel, label in detours.items()),
                )
            if plan is not None:
                proof = asdict(replace(plan, paths=()))
                del proof["epoch"], proof["paths"]
                database.execute("INSERT INTO plan VALUES (1, ?, ?)", (plan.epoch, json.dumps(proof)))
            before = saved[0] if saved is not None else ()
            database.execute("DELETE FROM paths WHERE place >= ?", (len(paths) if before else 0,))
            database.executemany(
                "INSERT OR REPLACE INTO paths VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (place, path.label, path.job, path.source, path.target, _listed(path.links), path.rate_bps)
                    for place, path in enumerate(paths)
                    if place >= len(before) or before[place] != path
                ),
            )
        self._saved = paths, detours

    def resting_labels(self) -> tuple[Pushed, ...]:
        """Labels that were given up and not released, each with who pushed it."""
        return tuple(Pushed(*row) for row in self._query("SELECT label, switch FROM resting_labels"))

    def release_labels(self, labels: Iterable[Pushed]) -> None:
        """Forget labels whose rest is over."""
        with self._changing() as database:
            database.executemany("DELETE FROM resting_labels WHERE label = ? AND switch = ?", labels)

    # ── cordons ──────────────────────────────────────────────────────────────────────────────────

    def cordons(self) -> frozenset[Cable]:
        """Cables that are kept clear."""
        rows = self._query("SELECT low, high FROM cordons")
        with self._reading():
            return frozenset((LinkId.parse(low), LinkId.parse(high)) for low, high in rows)

    def save_cordons(self, cables: Iterable[Cable]) -> None:
        """Replace them all."""
        with self._changing(durable=True) as database:
            database.execute("DELETE FROM cordons")
            database.executemany("INSERT INTO cordons VALUES (?, ?)", ((str(low), str(high)) for low, high in cables))

    # ── events ───────────────────────────────────────────────────────────────────────────────────

    def events(self) -> tuple[Event, ...]:
        """The latest events, oldest first."""
        return tuple(Event(*row) for row in self._query("SELECT id, at_s, kind, message FROM events ORDER BY id"))

    def add_event(self, *events: Event) -> None:
        """Keep events, oldest first, in one transaction, and drop the oldest above `MAX_EVENTS`.

        A disk that takes no events must not stop what they tell of, so that is logged and not raised.
        """
        rows = ((event.id, event.at_s, event.kind, event.message) for event in events)
        first_id, last_id = events[0].id, events[-1].id
        try:
            with self._changing() as database:
                database.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)", rows)
                database.execute("DELETE FROM events WHERE id <= ?", (last_id - MAX_EVENTS,))
        except HeddleError as error:
            missing = f"event {last_id} is" if first_id == last_id else f"events {first_id} to {last_id} are"
            log.warning("%s not recorded: %s", missing, error)

    # ── the files ────────────────────────────────────────────────────────────────────────────────

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeddleError(
                f"another daemon uses the state directory {self._directory}; stop it or choose another with --state"
            ) from None

    def _load_secret(self) -> bytes:
        path = self._directory / "secret"
        try:
            with suppress(FileNotFoundError):
                secret = path.read_bytes()
                if len(secret) != SECRET_BYTES:
                    raise HeddleError(f"{path} is damaged ({len(secret)} bytes); remove it and a new one is made")
                path.chmod(0o600)
                return secret
            secret = secrets.token_bytes(SECRET_BYTES)
            # Written aside and renamed, so that a crash leaves no half of it.
            aside = path.with_suffix(".new")
            aside.unlink(missing_ok=True)
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secret)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
        except OSError as error:
            raise HeddleError(
                f"{path} cannot be used: {error.strerror}; choose another state directory with --state"
            ) from None
        return secret

    def _open(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise self._unusable(self._path, error) from None
        database = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            if self._is_empty(database):
                # One transaction, so that a crash leaves either nothing or all of it.
                database.executescript(
                    f"BEGIN; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
                    f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
                )
            self._check(database)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:
            database.close()
            raise self._damaged(error) from None
        except BaseException:
            database.close()
            raise
        return database

    @staticmethod
    def _is_empty(database: sqlite3.Connection) -> bool:
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = database.execute("PRAGMA application_id").fetchone()
        return not tables and not application

    def _check(self, database: sqlite3.Connection) -> None:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise HeddleError(f"{self._path} is not Heddle's database; choose another directory with --state")
        (schema,) = database.execute("PRAGMA user_version").fetchone()
        if schema != SCHEMA_VERSION:
            raise HeddleError(
                f"{self._path} is of schema {schema}, this Heddle knows {SCHEMA_VERSION}; "
                "upgrade Heddle or choose another state directory with --state"
            )
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise self._damaged(verdict)

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        with self._reading():
            return self._database.execute(statement).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, InputError, ValueError, TypeError) as error:
            raise self._damaged(error) from None

    @contextmanager
    def _changing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction; a durable one is on disk even if the power fails next."""
        database = self._database
        try:
            database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise HeddleError(f"{self._path} cannot be written: {error}; free space or repair the disk") from None

    @staticmethod
    def _unusable(path: Path, error: OSError) -> HeddleError:
        return HeddleError(f"{path} cannot be used: {error.strerror}; choose another state directory with --state")

    def _damaged(self, reason: object) -> HeddleError:
        return HeddleError(
            f"{self._path} is damaged ({reason}); move it away (its jobs are lost) "
            "or choose another state directory with --state"
        )


@lru_cache(maxsize=65_536)
def _listed(links: tuple[LinkId, ...]) -> str:
    return json.dumps([str(link) for link in links])
