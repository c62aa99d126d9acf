"""What a leaderboard looks like. `REGENERATE=1 pytest tests/golden` rewrites the files; read the
difference before committing it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from rankstone.errors import ResultsError
from rankstone.leaderboards.document import Page, table
from rankstone.leaderboards.formats.render import FORMATS, render
from rankstone.leaderboards.frame import leaderboard
from rankstone.leaderboards.pages.leaderboard import page
from rankstone.results.record import TruncationInfo
from tests.records import demo_records, make_record


def drawn(data, form="terminal", width=None, **options):
    return render(page(data, short_names=form in ("terminal", "svg")), form, width=width, **options)


HERE = Path(__file__).parent
GOLDEN = {
    "leaderboard-80.txt": ("terminal", 80),
    "leaderboard-120.txt": ("terminal", 120),
    "leaderboard.md": ("markdown", None),
    "leaderboard.csv": ("csv", None),
    "leaderboard.json": ("json", None),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_board_is_rendered_as_committed(name: str) -> None:
    format, width = GOLDEN[name]
    text = drawn(demo_records(), format, width=width)
    if os.environ.get("REGENERATE"):
        (HERE / name).write_text(text, encoding="utf-8", newline="\n")
    assert text == (HERE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("format", FORMATS)
def test_records_frames_and_their_order_give_the_same_bytes(format: str) -> None:
    once = drawn(demo_records(), format)
    assert drawn(reversed(demo_records()), format) == once
    assert drawn(leaderboard(demo_records()), format) == once
    assert once.endswith("\n")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(width: int) -> None:
    text = drawn(demo_records(), width=width)
    assert max(map(len, text.splitlines())) <= width
    figures = [line for line in text.splitlines() if re.search(r" \.\d{3}\b", line)]
    assert len(figures) == 5
    assert not any("…" in line for line in figures)
    assert ("not shown" in text) == (width < 120)


@pytest.mark.parametrize("times", [2, 3, 4, 6])
def test_a_long_name_is_whole_and_so_are_the_figures(times: int) -> None:
    name = "dense/" + "long-name-" * times
    text = drawn([make_record(name), make_record()], width=80)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert text.count(name.removeprefix("dense/")) == 2
    assert len([line for line in lines if " .304 " in line]) == 2
    assert len({line.index(" .304 ") for line in lines if " .304 " in line}) == 1


@pytest.mark.parametrize("width", [80, 100, 120, 140])
def test_names_in_tables_of_text_are_whole(width: int) -> None:
    names = [f"late_interaction/minilm-muvera-hnsw-{n}" for n in range(3)]
    rows = [(name, f"nDCG@10 of {name}", "beir/cqadupstack/mathematica", ".5") for name in names]
    made = table(("method", "check", "task", "value"), rows, figures=("value",))
    lines = render(Page(blocks=(made,)), width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert [sum(line.count(name) for line in lines) for name in names] == [2, 2, 2]
    assert sum(line.count("beir/cqadupstack/mathematica") for line in lines) == 3


def test_methods_that_are_truncated_alike_share_a_note() -> None:
    half = {"document": TruncationInfo(texts=8, texts_cut=4, tokens=80, tokens_cut=20)}
    records = [make_record(f"a/{name}", truncation=half) for name in "xy"]
    note = "50.0% of documents (25.0% of their tokens) are truncated at the model's limit"
    assert drawn([*records, make_record()], "markdown").count(f"* a/x, a/y: {note}") == 1


def test_colours_only_where_asked_for() -> None:
    assert "\x1b[" not in drawn(demo_records())
    coloured = drawn(demo_records(), color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).split() == drawn(demo_records()).split()


def test_the_picture_stands_alone() -> None:
    text = drawn(demo_records(), "svg")
    ElementTree.fromstring(text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "all-minilm-l6-v2" in text
    assert "not&#160;shown" not in text


def test_markdown_is_escaped() -> None:
    record = make_record("a/x|y_*z*")
    assert r"a/x\|y\_\*z\*" in drawn([record, make_record()], "markdown")


def test_csv_keeps_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    frame = leaderboard(demo_records())
    path.write_text(drawn(frame, "csv"), encoding="utf-8")
    assert list(pd.read_csv(path)["total_p99_ms"].dropna()) == list(frame["total_p99_ms"].dropna())


@pytest.mark.parametrize("format", ["terminal", "markdown", "csv", "json", "svg"])
def test_every_format_draws_a_board_without_records(format: str) -> None:
    assert drawn([], format)


def test_an_unknown_format_is_refused_with_its_neighbour() -> None:
    with pytest.raises(ResultsError, match=r"no format 'mardown'.*Did you mean: markdown"):
        drawn([], "mardown")
