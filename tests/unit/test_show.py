"""The page of a record: `rankstone show`."""

from __future__ import annotations

from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.records.page import page
from rankstone.results.record import RunRecord
from tests.records import make_counted_record, make_record


def shown(record: RunRecord) -> str:
    return render(page(record), width=110)


def test_facts_reported_by_an_encoder() -> None:
    text = shown(make_counted_record())
    assert "encoded at 61.1% of the machine's peak of 410 GFLOP/s for matrix products" in text
    row = next(line for line in text.splitlines() if "encode documents" in line)
    assert {"1,004,311", "251", "870"} <= set(row.split())


def test_unreported_facts_are_omitted() -> None:
    text = shown(make_record())
    assert "GFLOP" not in text
    assert "peak GPU" not in text
