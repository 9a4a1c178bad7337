"""``heddle verify``: proofs checked again, independently of what made them."""

from __future__ import annotations

from pathlib import Path

from heddle.output import percent, print_json
from heddle.solve import Given, objective_text, quality, told_as_json
from solver.errors import CertificateError
from solver.routing import Objective
from topologies.located import read_document


def verify_routing(file: Path, given: Given, *, as_json: bool) -> None:
    """Check anybody's routing file: what its paths do, and what its prices prove.

    Raises
    ------
    InputError
        A file or a flag is wrong.
    CertificateError
        The routing does not do what it should or says, or its prices do not prove what it says.
    """
    with told_as_json(as_json):
        from solver.routing_files import certify_statement, routing_from_json
        from solver.solve import OPTIMAL_GAP

        fabric, demands, allowed = given.read()
        statement = routing_from_json(read_document(file).content, str(file), fabric, demands)
        try:
            proof = certify_statement(statement, fabric, demands, allowed)
        except CertificateError as error:
            # What follows is advice about our own engines; this routing may be anybody's.
            raise CertificateError(f"{file} is refused: {str(error).partition('; ')[0]}") from None
        optimal = proof.gap <= OPTIMAL_GAP
        notes = []
        if not statement.has_prices:
            notes.append("no prices are given, so nothing is proven about how good it is")
        elif statement.fairness_unproven:
            notes.append("no levels are given, so only the least share is checked, not that the others are fair")
        name = statement.objective
        if as_json:
            print_json(
                {
                    "status": "holds",
                    "objective": {"name": name.value, "value": proof.value, "bound": proof.bound, "gap": proof.gap},
                    "max_utilisation_allowed": statement.max_utilisation,
                    "violation": proof.violation,
                    "notes": notes,
                }
            )
            return
        rows = [
            ("objective", name.value),
            ("value", objective_text(name, proof.value)),
            ("bound", objective_text(name, proof.bound)),
            ("gap", f"{proof.gap:.2g}: {quality(proof.gap, optimal=optimal)}"),
            ("violation", f"{proof.violation:.2g}, relative"),
        ]
        if name is not Objective.MIN_MAX_UTILISATION:
            rows.append(("allowed", f"{percent(statement.max_utilisation)} of each capacity, by the file"))
        for label, text in rows:
            print(f"{label:<12} {text}")
        for note in notes:
            print(note)
        print("holds")
