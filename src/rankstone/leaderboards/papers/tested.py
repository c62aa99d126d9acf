"""Results of claims and paper tables, stored as JSON beside their definitions.

Each result contains the digest of its definition, and pages are rendered from both. Results become
stale if the definition changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rankstone.errors import ResultsError
from rankstone.leaderboards.papers.checks import Value
from rankstone.leaderboards.papers.claims import CheckSpec, ClaimSpec, Finding, Result
from rankstone.leaderboards.papers.tables import Reproduction, RowSpec
from rankstone.results.store import Found


def as_tested(claims: Mapping[str, ClaimSpec], name: str, digest: str) -> ClaimSpec:
    """Return the claim `name`; ResultsError if it has changed since it was tested."""
    claim = claims.get(name)
    if claim is None or claim.digest() != digest:
        raise ResultsError(
            f"Claim '{name}' is not defined as it was when it was tested. Test it again:"
            " rankstone claims -o leaderboards/claims.md"
        )
    return claim


def claims_to_json(results: Iterable[Result], records: Found, others: str = "[]") -> str:
    """Serialise the findings and the identities of their runs; the inverse is `claims_from_json`.

    Args:
        others: Earlier JSON to update. Claims that are not among `results` are kept, and so are
            measured ones whose new result has no value because this machine lacks the runs.
    """
    bodies = {body["claim"]: body for body in json.loads(others)}
    for body in claims_body(results, records):
        earlier = bodies.get(body["claim"], body)
        same = earlier["digest"] == body["digest"]
        if _is_measured(body) or not (same and _is_measured(earlier)):
            bodies[body["claim"]] = body
    ordered = [bodies[name] for name in sorted(bodies)]
    return json.dumps(ordered, indent=1, ensure_ascii=False) + "\n"


def _is_measured(body: Mapping[str, Any]) -> bool:
    return any(finding["value"] is not None for finding in body["findings"])


def claims_body(results: Iterable[Result], records: Found) -> list[dict[str, Any]]:
    """Return the same as plain values."""
    return [
        {
            "claim": result.claim.name,
            "digest": result.claim.digest(),
            "verdict": result.verdict,
            **({"seconds": round(result.seconds, 1)} if result.seconds else {}),
            "findings": [_plain_finding(finding) for finding in result.findings],
            "runs": {
                f"{method}@{task}": records[method, task][0].identity()
                for method, task in result.claim.cells()
                if (method, task) in records
            },
        }
        for result in results
    ]


def claims_from_json(text: str, claims: Mapping[str, ClaimSpec]) -> list[Result]:
    """Parse the results; ResultsError if a claim has changed since it was tested."""
    results = []
    for body in json.loads(text):
        claim = as_tested(claims, body["claim"], body["digest"])
        findings = [_finding(claim, found) for found in body["findings"]]
        results.append(Result(claim, findings, body.get("seconds")))
    return results


def _plain_finding(finding: Finding) -> dict[str, Any]:
    value = None if finding.value is None else finding.value._asdict()
    check = finding.check.model_dump(mode="json", exclude_defaults=True)
    return {"check": check, "task": finding.task, "value": value, "reason": finding.reason}


def _finding(claim: ClaimSpec, found: dict[str, Any]) -> Finding:
    tested = CheckSpec.model_validate_json(json.dumps(found["check"])).digest()
    check = next(one for one in claim.checks if one.digest() == tested)
    value = found["value"]
    if value is not None:
        value = Value(**{**value, "parts": tuple(value["parts"])})
    return Finding(check, found["task"], value, found["reason"])


def tables_to_json(found: Iterable[Reproduction]) -> str:
    """Serialise the cells and the identities of their runs."""
    tables = []
    for body in tables_body(found):
        rows = ",\n  ".join(map(_dump, body["rows"]))
        head = f'"table": {_dump(body["table"])}, "digest": {_dump(body["digest"])}'
        tables.append(f'{{{head}, "rows": [\n  {rows}\n ]}}')
    return "[\n " + ",\n ".join(tables) + "\n]\n"


def tables_body(found: Iterable[Reproduction]) -> list[dict[str, Any]]:
    """Return the same as plain values."""
    return [
        {
            "table": one.paper.name,
            "digest": one.paper.digest(),
            "rows": [_plain_row(one, row) for row in one.paper.rows],
        }
        for one in found
    ]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _plain_row(found: Reproduction, row: RowSpec) -> dict[str, Any]:
    cells = [cell for cell in found.cells if cell.row is row]
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        if cell.measured is None:
            reasons.setdefault(cell.reason, []).append(cell.task)
    return {
        "row": row.row,
        "measure": row.measure,
        "ours": [cell.task for cell in cells if cell.ours],
        "data_here": [cell.task for cell in cells if cell.here],
        "measured": {
            cell.task: {"value": cell.measured, "runs": cell.runs}
            for cell in cells
            if cell.measured is not None
        },
        "not_run": reasons,
    }
