"""``heddle verify rules``: the rules of switches proved, from a file or as a daemon's switches have them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.client import DEFAULT_URL, Client
from controller.cordons import Cordons
from dataplane.files import PathEntry, plan_of, read_plan, read_rules
from dataplane.planned import LabelledPath
from dataplane.rules import RuleSet
from dataplane.verifier import RuleError, VerificationError, VerificationReport, verify
from heddle.output import percent, print_json
from heddle.solve import told_as_json
from topologies.errors import HeddleError, InputError
from topologies.fabric import Fabric, LinkId
from topologies.files import read_fabric

_PAUSE_S = 1.0
"""Between two looks at a daemon's rules."""
_STILL, _MOST = 5, 60
"""Looks without a change after which what is wrong is no update that goes on; and looks in all."""
_SHOWN = 8


@dataclass(frozen=True)
class _Question:
    """What is to be proved."""

    fabric: Fabric
    rules: RuleSet
    paths: Sequence[LabelledPath]
    rates_bps: Sequence[float]

    def prove(self, *, failures: bool) -> VerificationReport:
        return verify(self.fabric, self.rules, self.paths, failures=failures, rates_bps=self.rates_bps)


def verify_files(
    rules_file: Path, fabric_source: str | None, plan_file: Path | None, *, failures: bool, as_json: bool
) -> None:
    """Prove the rules of a file.

    Raises
    ------
    InputError
        A file or a flag is wrong.
    VerificationError, RuleError
        The rules do not do what they should.
    """
    with told_as_json(as_json):
        if fabric_source is None:
            raise InputError(f"--fabric is missing: name the fabric that the rules in {rules_file} are for")
        fabric, rules = read_fabric(fabric_source), read_rules(rules_file)
        paths, rates_bps = read_plan(plan_file) if plan_file is not None else ([], [])
        switches = {node.id for node in fabric.switches}
        if missing := switches - rules.keys():
            raise InputError(f"{rules_file} has no rules of switch {min(missing)!r}, which is in {fabric_source}")
        if unknown := rules.keys() - switches:
            raise InputError(f"{rules_file} has rules of {min(unknown)!r}, which is no switch in {fabric_source}")
        _tell(_Question(fabric, rules, paths, rates_bps).prove(failures=failures), failures=failures, as_json=as_json)


def verify_daemon(url: str | None, *, failures: bool, as_json: bool) -> None:
    """Prove the rules that a daemon's switches have, for the fabric that it sees and the plan in force.

    Raises
    ------
    VerificationError, RuleError
        The rules do not do what they should, and nothing is being changed.
    HeddleError
        No daemon answers, a switch's rules are not known, or they change all the time.
    """
    with told_as_json(as_json), Client(url or DEFAULT_URL) as client:
        question, still = _ask(client), 0
        for _ in range(_MOST):
            try:
                report = question.prove(failures=failures)
            except (VerificationError, RuleError):
                # An update goes on, or old rules wait for the last packets that follow them.
                if still >= _STILL:
                    raise
            else:
                _tell(report, failures=failures, as_json=as_json)
                return
            time.sleep(_PAUSE_S)
            before, question = question, _ask(client)
            still = still + 1 if (before.rules, before.paths) == (question.rules, question.paths) else 0
        raise HeddleError(
            "the rules change faster than they can be looked at; ask again when 'heddle jobs' has settled"
        )


def _ask(client: Client) -> _Question:
    fabric, plan, rules = client.fabric(), client.plan(), client.rules()
    if not fabric.switches:
        raise HeddleError("no switch is known yet, so there is nothing to prove; see 'heddle status'")
    # The daemon makes no use of these, so what goes round other cables does not lead over them either.
    cordoned = {LinkId.parse(link.id) for link in client.links() if link.cordoned}
    clear = [link for link in fabric.links if link.id in cordoned]
    cables = {(min(link.id, link.reverse_id), max(link.id, link.reverse_id)) for link in clear}
    fabric = Cordons(cables).usable(fabric)
    if missing := {node.id for node in fabric.switches} - rules.keys():
        raise HeddleError(
            f"the rules of switch {min(missing)!r} are not known: it is not connected; see 'heddle switches'"
        )
    entries = [PathEntry(**path.model_dump()) for path in plan.paths] if plan is not None else []
    paths, rates_bps = plan_of(entries, client.url)
    return _Question(fabric, {node.id: rules[node.id] for node in fabric.switches}, paths, rates_bps)


def _tell(report: VerificationReport, *, failures: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "status": "holds",
                "pairs": report.pairs,
                "planned": report.planned,
                "failures": report.failures,
                "cut_off": report.cut_off,
                "unprotected": list(map(str, report.unprotected)),
                "worst_link_utilisation": report.worst_link_utilisation,
            }
        )
        return
    rows = [
        ("pairs", f"{report.pairs:,} reach each other, without loop or loss"),
        ("planned", f"{report.planned:,} of them by exactly the paths of the plan"),
    ]
    if report.worst_link_utilisation:
        rows.append(("worst link", f"{percent(report.worst_link_utilisation)} of its capacity is planned"))
    if failures:
        rows.append(("failures", f"{report.failures:,} cables between switches, each alone: all pairs still do"))
        if report.unprotected:
            rows[-1] = ("failures", f"{report.failures:,} cables between switches, each alone: all pairs with a way do")
            rows.append(
                ("unprotected", f"{_told(report.unprotected)}: nothing leads round, {report.cut_off:,} pairs lost")
            )
    else:
        rows.append(("failures", "not looked at; --failures does"))
    for label, text in rows:
        print(f"{label:<12} {text}")
    print("holds")


def _told(links: Sequence[LinkId]) -> str:
    more = f" and {len(links) - _SHOWN} more" if len(links) > _SHOWN else ""
    return " ".join(map(str, links[:_SHOWN])) + more
