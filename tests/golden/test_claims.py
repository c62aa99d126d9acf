"""The committed page of claims is what its numbers and today's definitions give."""

import json
from pathlib import Path

from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages.claims import page
from rankstone.leaderboards.papers.claims import CheckSpec, ClaimSpec
from rankstone.leaderboards.papers.tested import claims_from_json
from rankstone.strict import load_folder

BOARDS = Path(__file__).parents[2] / "leaderboards"
ANEW = "run: make claims"


def test_the_page_of_claims_is_current() -> None:
    claims = load_folder(ClaimSpec, BOARDS / "claims")
    results = claims_from_json((BOARDS / "claims.json").read_text(encoding="utf-8"), claims)
    assert {result.claim.name for result in results} == set(claims), ANEW
    assert (BOARDS / "claims.md").read_text(encoding="utf-8") == render(
        page(results), "markdown"
    ), ANEW


def test_every_number_names_the_run_it_is_of() -> None:
    for body in json.loads((BOARDS / "claims.json").read_text(encoding="utf-8")):
        measured = [finding for finding in body["findings"] if finding["value"] is not None]
        for finding in measured:
            check = CheckSpec.model_validate_json(json.dumps(finding["check"]))
            for role, method in check.methods.items():
                for task in check.tasks_of(role, finding["task"]):
                    run = body["runs"][f"{method}@{task}"]
                    assert run["status"] == "ok"
                    assert run["run"]
