"""The committed leaderboards are what the committed records give."""

from pathlib import Path

import pytest

from rankstone import board
from rankstone.leaderboards.board_spec import TableSpec
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages import leaderboard as leaderboard_page
from rankstone.results.store import ResultStore
from rankstone.strict import load_folder

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "form"), [("demo.md", "markdown"), ("demo.svg", "svg"), ("local.md", "markdown")]
)
def test_a_published_leaderboard_is_current(name: str, form: str) -> None:
    records = ResultStore(ROOT / "results" / "reference" / name.partition(".")[0]).records()
    assert records
    page = leaderboard_page.page(records, short_names=form == "svg")
    committed = (ROOT / "leaderboards" / name).read_text(encoding="utf-8")
    assert committed == render(page, form), "run: make reference"


BOARDS = load_folder(TableSpec, ROOT / "leaderboards")


@pytest.mark.parametrize("name", sorted(BOARDS))
@pytest.mark.parametrize(("form", "ending"), [("markdown", "md"), ("latex", "tex")])
def test_a_defined_leaderboard_is_current(name: str, form: str, ending: str) -> None:
    if BOARDS[name].apart and form == "latex":
        pytest.skip("pages with pictures are committed as Markdown alone")
    if not (ROOT / BOARDS[name].records).is_dir():
        pytest.skip(f"{BOARDS[name].records}: not measured yet")
    committed = (ROOT / "leaderboards" / f"{name}.{ending}").read_text(encoding="utf-8")
    assert committed == render(board(name, workspace=ROOT), form), "run: make reference"
