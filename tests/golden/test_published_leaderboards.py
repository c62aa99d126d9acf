"""The committed leaderboards are what the committed records give."""

from pathlib import Path

import pytest

from rankstone.leaderboards.render import render
from rankstone.results.store import ResultStore

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "form"), [("demo.md", "markdown"), ("demo.svg", "svg"), ("local.md", "markdown")]
)
def test_a_published_leaderboard_is_current(name: str, form: str) -> None:
    records = ResultStore(ROOT / "results" / "reference" / name.partition(".")[0]).records()
    assert records
    committed = (ROOT / "leaderboards" / name).read_text(encoding="utf-8")
    assert committed == render(records, form), "run: make reference"
