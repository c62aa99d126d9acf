"""Results of claims and paper tables, kept as JSON beside their definitions.

Each result has the digest of the definition that it is of, and pages are rendered from both; a
definition that was changed since makes its results stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rankstone.errors import ResultsError
from rankstone.leaderboards.papers.checks import Value
from rankstone.leaderboards.papers.claims import ClaimSpec, Finding, Result
from rankstone.leaderboards.papers.tables import PaperCell, PaperSpec, Reproduction, RowSpec
from rankstone.results.store import Found
from rankstone.strict import Spec, SpecT

CLAIMS_AGAIN = "rankstone claims -o leaderboards/claims.md"
TABLES_AGAIN = "rankstone reproduce --missing skip -o leaderboards/papers.md"


def as_tested(known: Mapping[str, SpecT], name: str, digest: str, what: str, mend: str) -> SpecT:
    """The definition `name`; ResultsError where it is no longer that of the results."""
    spec: Spec | None = known.get(name)
    if spec is None or spec.digest() != digest:
        raise ResultsError(
            f"{what} '{name}' is not defined as it was when it was tested. Test it anew: {mend}"
        )
    return known[name]


def claims_to_json(results: Iterable[Result], records: Found) -> str:
    """What was found, and of which runs; `claims_from_json` makes the results of it again."""
    body = [
        {
            "claim": result.claim.name,
            "digest": result.claim.digest(),
            "verdict": result.verdict,
            "findings": [_plain_finding(finding) for finding in result.findings],
            "runs": {
                f"{method}@{task}": records[method, task][0].identity()
                for method, task in result.claim.cells()
                if (method, task) in records
            },
        }
        for result in results
    ]
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def claims_from_json(text: str, claims: Mapping[str, ClaimSpec]) -> list[Result]:
    """The results again; ResultsError where a claim is no longer defined as it was tested."""
    results = []
    for body in json.loads(text):
        claim = as_tested(claims, body["claim"], body["digest"], "Claim", CLAIMS_AGAIN)
        results.append(Result(claim, [_finding(claim, found) for found in body["findings"]]))
    return results


def _plain_finding(finding: Finding) -> dict[str, Any]:
    value = None if finding.value is None else finding.value._asdict()
    place = finding.check.model_dump(mode="json", exclude_defaults=True)
    return {"check": place, "task": finding.task, "value": value, "reason": finding.reason}


def _finding(claim: ClaimSpec, found: dict[str, Any]) -> Finding:
    check = next(
        one
        for one in claim.checks
        if one.model_dump(mode="json", exclude_defaults=True) == found["check"]
    )
    value = found["value"]
    if value is not None:
        value = Value(**{**value, "parts": tuple(value["parts"])})
    return Finding(check, found["task"], value, found["reason"])


def tables_to_json(found: Iterable[Reproduction]) -> str:
    """What was found, and in which runs; `tables_from_json` makes the reproductions of it again."""
    tables = []
    for one in found:
        rows = ",\n  ".join(_dump(_plain_row(one, row)) for row in one.paper.rows)
        head = f'"table": {_dump(one.paper.name)}, "digest": {_dump(one.paper.digest())}'
        tables.append(f'{{{head}, "rows": [\n  {rows}\n ]}}')
    return "[\n " + ",\n ".join(tables) + "\n]\n"


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


def tables_from_json(text: str, papers: Mapping[str, PaperSpec]) -> list[Reproduction]:
    """The reproductions again; ResultsError where a table is not defined as it was then."""
    try:
        return [_again(body, papers) for body in json.loads(text)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"these are no reproduced tables: {error!r}. Make them: {TABLES_AGAIN}"
        ) from None


def _again(body: dict[str, Any], papers: Mapping[str, PaperSpec]) -> Reproduction:
    paper = as_tested(papers, body["table"], body["digest"], "Table", TABLES_AGAIN)
    cells = [
        cell
        for row, found in zip(paper.rows, body["rows"], strict=True)
        for cell in _cells_again(paper, row, found)
    ]
    return Reproduction(paper, cells)


def _cells_again(paper: PaperSpec, row: RowSpec, found: dict[str, Any]) -> Iterator[PaperCell]:
    reasons = {task: reason for reason, tasks in found["not_run"].items() for task in tasks}
    tolerance = paper.tolerance if row.tolerance is None else row.tolerance
    for task, value in [*row.expected.items(), *row.elsewhere.items()]:
        measured = found["measured"].get(task)
        yield PaperCell(
            row,
            task,
            value,
            tolerance,
            measured=measured["value"] if measured else None,
            runs=measured["runs"] if measured else {},
            reason="" if measured else reasons[task],
            ours=task in found["ours"],
            here=task in found["data_here"],
        )
