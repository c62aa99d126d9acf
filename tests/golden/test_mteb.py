"""`show --as mteb` against what MTEB itself gave (make_mteb.py): ties, gaps, self hits, grades."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankstone.evaluation.conventions.comparison import compare
from rankstone.evaluation.conventions.rules import Rules
from rankstone.evaluation.conventions.tools import MTEB
from tests.runs import lines_of

GOLDEN = json.loads(Path(__file__).with_name("mteb.json").read_text(encoding="ascii"))
KINDS = ("nDCG", "AP", "R", "P", "Success", "RR")
CUTOFFS = (1, 3, 10)
MEASURES = [f"{kind}@{cutoff}" for kind in KINDS for cutoff in CUTOFFS]


def test_the_release_is_the_one_that_the_rules_name() -> None:
    assert f"mteb {GOLDEN['mteb']} " in MTEB.source


@pytest.mark.parametrize("number", range(len(GOLDEN["cases"])))
def test_every_number_is_mtebs(number: int) -> None:
    case: dict[str, Any] = GOLDEN["cases"][number]
    found = compare(
        lines_of(case["run"]), case["qrels"], measures=MEASURES, depth=12, ours=Rules(),
        tool=MTEB, dataset=case["dataset"],
    )  # fmt: skip
    assert {row.name for row in found} == case["scores"].keys()
    for row in found:
        assert row.theirs == pytest.approx(case["scores"][row.name], abs=5.1e-6), row
        assert row.shown == pytest.approx(case["scores"][row.name], abs=1e-9), row


def test_self_hits_are_dropped_where_mteb_drops_them() -> None:
    form = MTEB.forms["nDCG"]
    for rule in ("drop", "keep"):
        sets = GOLDEN[f"{rule}s_self_hits"]
        assert sets
        assert {MTEB.rules_on(form, name).self_hits for name in sets} == {rule}


def test_the_cases_hold_what_tools_disagree_on() -> None:
    cases = GOLDEN["cases"]
    assert any(case["run"].keys() < case["qrels"].keys() for case in cases)
    assert any(list(found) == [q] for case in cases for q, found in case["run"].items())
    assert any(max(labels.values()) < 1 for case in cases for labels in case["qrels"].values())
