"""Trends: records of several folders, their changes and costs, and instructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.errors import ResultsError
from rankstone.leaderboards.site import vega
from rankstone.leaderboards.site.model import make_site
from rankstone.leaderboards.site.trends import trend_page, trends_of
from rankstone.results.histories import stored_below, stores_below
from rankstone.results.record import Measure, RunRecord
from rankstone.results.store import ResultStore
from tests.records import make_record
from tests.stored_values import store_values

DAYS = ("2025-11-02", "2025-11-09", "2025-11-16")
MEANS = (0.2, 0.5, 0.4)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vega", "specs"):
        monkeypatch.setattr(vega, name, lambda: "// plots\n")


def measured(folder: Path, day: str, mean: float, **changes: Any) -> RunRecord:
    """Store a record of ten queries, all with value `mean`."""
    record = make_record(**changes)
    updates = {
        "provenance": record.provenance.model_copy(update={"finished": f"{day}T10:00:00Z"}),
        "environment": record.environment.model_copy(update={"git_commit": f"c{day}"}),
        "measures": {**record.measures, "nDCG@10": Measure(mean=mean, low=mean - 0.1,
                                                           high=mean + 0.1, n=10)},
    }  # fmt: skip
    return store_values(folder, record.model_copy(update=updates), np.full(10, mean))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    for day, mean in zip(DAYS, MEANS, strict=True):
        measured(tmp_path / "history" / day, day, mean, task="no/such")
    measured(tmp_path / "history" / DAYS[0], DAYS[0], 0.1, machine="0a0b0c0d")
    measured(tmp_path / "history" / DAYS[0], DAYS[0], 0.1, corpus="another", task="a/b")
    return tmp_path / "history"


def test_a_trend_holds_every_record_of_a_cell_in_order(history: Path) -> None:
    site = make_site(ResultStore(history / DAYS[-1]).stored(), {})
    (trend,) = trends_of(site, stored_below(history))
    assert [r.provenance.finished[:10] for r in trend.records] == list(DAYS)
    assert [step.change for step in trend.steps] == pytest.approx([0.3, -0.1])
    assert trend.whole.change == pytest.approx(0.2)
    assert trend.whole.tested is not None
    assert trend.whole.tested.p == pytest.approx(2 / 2**10)  # all signs alike, of 2**10
    page = trend_page(site, trend)
    rows = page.partition("Records, the oldest first")[2]
    assert rows.index("c2025-1") < rows.index("+.300") < rows.index("−.100")
    assert "2025-11-02 to 2025-11-16" in page
    assert page.count('<figure class="plot plot-trend"') == 6


def test_records_before_the_headline_was_another_are_no_part_of_a_trend(history: Path) -> None:
    path = history / DAYS[0]
    (record,) = (r for r, _ in ResultStore(path).stored() if r.task.name == "no/such")
    task = record.task.model_copy(update={"headline": "AP"})
    measures = {"AP": record.measures["nDCG@10"]}
    ResultStore(path).write(record.model_copy(update={"task": task, "measures": measures}))
    site = make_site(ResultStore(history / DAYS[-1]).stored(), {})
    (trend,) = trends_of(site, stored_below(history))
    assert [r.provenance.finished[:10] for r in trend.records] == list(DAYS[1:])
    assert "2025-11-09 to 2025-11-16" in trend_page(site, trend)


def test_a_changed_definition_and_library_are_stated(history: Path) -> None:
    folder = history / "2025-11-23"
    record = measured(folder, "2025-11-23", 0.4, task="no/such")
    method = record.method.model_copy(update={"digest": "another"})
    packages = {**record.environment.packages, "numpy": "99.0"}
    here = record.environment.model_copy(update={"packages": packages})
    record = record.model_copy(update={"method": method, "environment": here})
    site = make_site([(ResultStore(folder).write(record), ResultStore(folder).path(record))], {})
    (trend,) = trends_of(site, stored_below(history))
    page = trend_page(site, trend)
    assert "the definition of the method changed" in page
    assert "to 99.0" in page
    assert "no values per query beside" in page


def test_folders_of_records_are_found_and_listed(history: Path, tmp_path: Path) -> None:
    assert stores_below(history) == [history / day for day in DAYS]
    assert stores_below(history / DAYS[0]) == [history / DAYS[0]]
    with pytest.raises(ResultsError, match=r"lie inside it: .*2025-11-02, .*--history"):
        rankstone.site(tmp_path / "site", results=history)
    with pytest.raises(ResultsError, match="no folder of records"):
        rankstone.site(tmp_path / "site", results=history / DAYS[0], history=tmp_path / "nothing")


def test_one_record_is_no_trend_and_the_site_explains(history: Path, tmp_path: Path) -> None:
    newest = str(history / DAYS[-1])
    folders = ("--results", newest, "--cache", str(tmp_path / "cache"))
    line = ["site", *folders, "-o", str(tmp_path / "site")]
    alone = CliRunner().invoke(app, [*line, "--history", newest])
    assert alone.exit_code == 0
    assert "0 trends" in alone.output
    assert "a trend needs two records" in alone.output
    assert "rankstone site --history" in (tmp_path / "site" / "trends.html").read_text()
    every = CliRunner().invoke(app, [*line, "--history", str(history)])
    assert "1 trend)" in every.output
    assert "a trend needs" not in every.output
    assert "../trends/" in next((tmp_path / "site" / "records").iterdir()).read_text()
