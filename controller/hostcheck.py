"""Who claims what another host has: the owner is asked at its place, then the claimant at its own; one is believed.

An owner that answers keeps what it has. A claimant that cannot receive at the port where it sends gets nothing.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from controller.arp import OUR_MACS, probe
from controller.buckets import Buckets
from controller.discovery import Change, PortId
from controller.hosts import Claim, Host, HostTable

PROBES = 3
INTERVAL_S = 0.35
"""Three probes and the wait for the last answer take about a second."""
ROUNDS = 3
"""How often an owner is asked anew that is silent although its port receives: its answers may be crowded out."""
BUSY_CHECKS, BUSY_S = 10, 10.0
"""After so many such checks, so far apart at least, something else receives there: not every answer is crowded out."""
LONGEST_S = 15.0
"""A check that could not end by then (an owner's port is not ready for questions) ends without belief."""
QUIET_S = 10.0
"""For this long after a check failed, a port's claims on the same owner are only counted."""
UNSEEN_S = 300.0
"""A switch that has not come for so long after the start may be no more: its hosts may move, with their MAC."""
MAX_CHECKS, MAX_CHECKS_PER_PORT = 1024, 8
CHECKS_PER_S, CHECKS_BURST = 0.5, 16
"""Checks that the claims of one port may start: each one believed changes rules on every switch."""
_MAX_QUIET = 4096


class Place(StrEnum):
    """Whether the hosts at a port can be asked."""

    ASKABLE = "askable"
    NOT_YET = "not yet"
    """It has link, but its switch would not send answers up so far."""
    LOST = "lost"
    """It has no link, is gone, or leads to a switch."""
    AWAY = "away"
    """Its switch is not connected: nobody knows."""
    UNSEEN = "unseen"
    """Its switch has not connected since the start."""


@dataclass(slots=True)
class _Question:
    """An owner that is being asked, for all the claims on it."""

    host: Host
    claims: set[Claim] = field(default_factory=set)
    sent: int = 0
    next_s: float = 0.0


@dataclass(slots=True)
class _Check:
    """A claim under examination.

    Attributes
    ----------
    asked : dict of str to int
        Owners that may still answer, by address: how many probes each had got when its round began.
    silent : dict of str to Host
        Owners that did not answer.
    sender_mac : str
        By which the claimant is asked; empty until then. Random: only who receives the question can answer it.
    """

    claim: Claim
    began_s: float
    round_s: float
    asked: dict[str, int]
    silent: dict[str, Host] = field(default_factory=dict)
    rounds: int = 1
    sender_mac: str = ""
    sent: int = 0
    next_s: float = 0.0


class HostChecks:
    """Claims under examination; bounded, and each ends by itself.

    Parameters
    ----------
    send : callable
        Sends a frame out of a port.
    place : callable
        Whether the hosts at a port can be asked.
    received_s : callable
        When a port's receive counter was last seen to have moved.
    started_s : float
        Since when switches may have come.
    """

    def __init__(
        self,
        table: HostTable,
        send: Callable[[PortId, bytes], None],
        place: Callable[[PortId], Place],
        received_s: Callable[[PortId], float],
        started_s: float,
    ) -> None:
        self._table = table
        self._send = send
        self._place = place
        self._received_s = received_s
        self._started_s = started_s
        self._checks: dict[Claim, _Check] = {}
        self._per_port: Counter[PortId] = Counter()
        self._questions: dict[str, _Question] = {}
        self._allowed: Buckets[PortId] = Buckets(CHECKS_PER_S, CHECKS_BURST)
        self._quiet_s: OrderedDict[tuple[PortId, str], float] = OrderedDict()
        # By the owner's address: how many checks found its port busy, and from when on the next one counts.
        self._busy: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._checks)

    def claimed(self, claim: Claim, owners: tuple[Host, ...], answered_mac: str, now_s: float) -> list[Change]:
        """Somebody claims what others have.

        Parameters
        ----------
        answered_mac : str
            Whom the claim answers, where it is an answer.
        """
        check = self._checks.get(claim)
        if check is not None:
            if not check.sender_mac or answered_mac != check.sender_mac:
                return []
            self._remove(check)
            return self._table.believe(claim, check.silent, now_s)
        if any(self._quiet_s.get((claim.at, owner.ip), now_s) > now_s for owner in owners):
            return []
        if (
            len(self._checks) >= MAX_CHECKS
            or self._per_port[claim.at] >= MAX_CHECKS_PER_PORT
            or not self._allowed.take(claim.at, now_s)
        ):
            message = f"more claims at {claim.at} on what others have than can be checked"
            return [Change(False, "host-refused", message, claim.at)]
        check = _Check(claim, now_s, now_s, {})
        self._checks[claim] = check
        self._per_port[claim.at] += 1
        for owner in owners:
            question = self._questions.setdefault(owner.ip, _Question(owner, next_s=now_s))
            question.claims.add(claim)
            check.asked[owner.ip] = question.sent
        return self._advance(check, now_s)

    def owner_spoke(self, ip: str, now_s: float) -> list[Change]:
        """A known host spoke at its place: all claims on what it has are settled, however late that is."""
        self._busy.pop(ip, None)
        question = self._questions.get(ip)
        if question is None:
            return []
        return [
            self._fail(self._checks[claim], question.host, "it answers there", now_s)
            for claim in sorted(question.claims)
        ]

    def tick(self, now_s: float) -> list[Change]:
        """Ask what is due and draw conclusions."""
        return [change for check in tuple(self._checks.values()) for change in self._advance(check, now_s)]

    # ── one check ────────────────────────────────────────────────────────────────────────────────

    def _advance(self, check: _Check, now_s: float) -> list[Change]:
        if self._checks.get(check.claim) is not check:
            return []
        for ip in tuple(check.asked):
            question = self._questions[ip]
            now = self._table.find(ip)
            if now is not None and (now.mac, now.at) != (question.host.mac, question.host.at):
                # Somebody else has it by now, or it is elsewhere: another claim will tell.
                self._remove(check)
                return []
            if now is None:
                self._found_silent(check, question)
                continue
            changes = self._ask_owner(check, question, now_s)
            if changes:
                return changes
        if now_s - check.began_s > LONGEST_S:
            return [self._fail(check, self._any_owner(check), "one of the two could not be asked in time", now_s)]
        return [] if check.asked else self._ask_claimant(check, now_s)

    def _ask_owner(self, check: _Check, question: _Question, now_s: float) -> list[Change]:
        if now_s < question.next_s:
            return []
        host = question.host
        place = self._place(host.at) if host.at is not None else Place.LOST
        if place is Place.UNSEEN and check.claim.mac == host.mac and now_s - self._started_s >= UNSEEN_S:
            place = Place.LOST
        if place is Place.LOST:
            self._found_silent(check, question)
        elif place in (Place.AWAY, Place.UNSEEN):
            return [self._fail(check, host, "its switch is not connected, so it cannot be asked", now_s)]
        elif place is Place.NOT_YET:
            question.next_s = now_s + INTERVAL_S
        elif question.sent - check.asked[host.ip] < PROBES:
            self._probe(question, now_s)
        elif not self._is_busy(check, host):
            self._found_silent(check, question)
        elif check.rounds >= ROUNDS:
            if not self._was_busy_for_long(host, now_s):
                return [self._fail(check, host, "its port still receives", now_s)]
            self._found_silent(check, question)
        else:
            check.rounds += 1
            check.round_s = now_s
            check.asked = {ip: self._questions[ip].sent for ip in check.asked}
            self._probe(question, now_s)
        return []

    def _probe(self, question: _Question, now_s: float) -> None:
        host = question.host
        if host.at is not None:
            self._send(host.at, probe(host.ip, host.mac))
        question.sent += 1
        question.next_s = now_s + INTERVAL_S

    def _is_busy(self, check: _Check, host: Host) -> bool:
        """Whether something speaks at an owner's port that can be nobody but the owner."""
        if host.at is None or host.at == check.claim.at or not self._table.is_alone(host):
            return False
        return self._received_s(host.at) >= check.round_s

    def _was_busy_for_long(self, host: Host, now_s: float) -> bool:
        """Count one more check that found an owner's port busy; whether there were enough."""
        count, next_s = self._busy.get(host.ip, (0, now_s))
        if now_s >= next_s:
            count, next_s = count + 1, now_s + BUSY_S
        self._busy[host.ip] = (count, next_s)
        self._busy.move_to_end(host.ip)
        if len(self._busy) > _MAX_QUIET:
            self._busy.popitem(last=False)
        if count < BUSY_CHECKS:
            return False
        del self._busy[host.ip]
        return True

    def _found_silent(self, check: _Check, question: _Question) -> None:
        check.silent[question.host.ip] = question.host
        del check.asked[question.host.ip]

    def _ask_claimant(self, check: _Check, now_s: float) -> list[Change]:
        if now_s < check.next_s:
            return []
        claim = check.claim
        check.next_s = now_s + INTERVAL_S
        place = self._place(claim.at)
        if place is Place.NOT_YET:
            return []
        if check.sent >= PROBES or place is not Place.ASKABLE:
            why = "it is silent, but so is the claimant when asked"
            return [self._fail(check, self._any_owner(check), why, now_s)]
        check.sender_mac = check.sender_mac or OUR_MACS + secrets.token_bytes(3).hex(":")
        self._send(claim.at, probe(claim.ip, claim.mac, check.sender_mac))
        check.sent += 1
        return []

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────

    def _any_owner(self, check: _Check) -> Host:
        return self._questions[next(iter(check.asked or check.silent))].host

    def _fail(self, check: _Check, owner: Host, why: str, now_s: float) -> Change:
        claim = check.claim
        self._remove(check)
        self._quiet_s[claim.at, owner.ip] = now_s + QUIET_S
        self._quiet_s.move_to_end((claim.at, owner.ip))
        if len(self._quiet_s) > _MAX_QUIET:
            self._quiet_s.popitem(last=False)
        has = f"which {owner.name} ({owner.mac}) has" if owner.ip == claim.ip else f"but {owner.name} has {owner.ip}"
        message = f"{claim.mac} at {claim.at} claims {claim.ip}, {has} at {owner.at}: {why}"
        return Change(False, "host-conflict", message, claim.at)

    def _remove(self, check: _Check) -> None:
        claim = check.claim
        del self._checks[claim]
        self._per_port[claim.at] -= 1
        if not self._per_port[claim.at]:
            del self._per_port[claim.at]
        for ip in (*check.asked, *check.silent):
            question = self._questions[ip]
            question.claims.discard(claim)
            if not question.claims:
                del self._questions[ip]
