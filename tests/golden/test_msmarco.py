"""`show --as msmarco` against what MS MARCO's own scripts gave (make_msmarco.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankstone.evaluation.conventions.comparison import compare
from rankstone.evaluation.conventions.rules import Rules
from rankstone.evaluation.conventions.tools import MSMARCO
from tests.runs import lines_of

GOLDEN = json.loads(Path(__file__).with_name("msmarco.json").read_text(encoding="ascii"))


@pytest.mark.parametrize("number", range(len(GOLDEN["cases"])))
def test_every_number_is_the_scripts(number: int) -> None:
    case = GOLDEN["cases"][number]
    name = f"RR@{case['cutoff']}"
    found = compare(
        lines_of(case["run"]), case["qrels"], measures=[name], depth=200, ours=Rules(),
        tool=MSMARCO,
    )  # fmt: skip
    (row,) = [row for row in found if row.measure == name]
    assert row.name == f"MRR @{case['cutoff']}"
    assert row.theirs == row.shown == pytest.approx(case["mrr"], abs=1e-12)


def test_places_without_a_passage_count_as_passage_0_there_and_not_here() -> None:
    """The script pads its lists with 0, the id of a passage. A deviation that we keep."""
    assert GOLDEN["padded with passage 0"] == 0.25  # 1/2 at an empty place, over two queries
    run, qrels = {"1": {"8": 1.0}}, {"1": {"0": 1}, "2": {"8": 1}}
    (row,) = compare(
        lines_of(run), qrels, measures=["RR@10"], depth=200, ours=Rules(), tool=MSMARCO
    )
    assert row.theirs == 0.0
    assert "passage 0" in MSMARCO.note


def test_the_cases_hold_what_tools_disagree_on() -> None:
    cases = GOLDEN["cases"]
    assert {case["cutoff"] for case in cases} == {10, 100}
    assert any(case["qrels"].keys() - case["run"].keys() for case in cases)
    assert any(case["run"].keys() - case["qrels"].keys() for case in cases)
    assert any(query in found for case in cases for query, found in case["run"].items())
    assert any(0 in labels.values() for case in cases for labels in case["qrels"].values())
