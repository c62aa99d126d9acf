"""Formats of a page: every text is escaped, whatever it holds."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from rankstone.leaderboards.document import (
    Cell,
    Column,
    Heading,
    Items,
    Page,
    Paragraph,
    Table,
    table,
)
from rankstone.leaderboards.formats.render import FORMATS, render
from tests.pages import Tags

NASTY = [
    "a|b", "a\\|b", "*a*_b_", "`x`", "<script>x</script>", "[a](b)", "50%&$#{}~^", '"a",b', "a\nb",
]  # fmt: skip


def page(text: str) -> Page:
    table = Table(
        title=text,
        columns=(Column(heading=("method",), left=True), Column(heading=(text,))),
        rows=((Cell(text=text), Cell(text=text, value=0.1, mark="best", letters="a")),),
        notes=(text,),
    )
    blocks = (Heading(text), Paragraph(text), Paragraph(lead=text), Items((text,)), table)
    return Page(title=text, blocks=blocks)


@pytest.mark.parametrize("text", NASTY)
def test_a_table_of_markdown_has_its_columns_and_no_markup_of_the_text(text: str) -> None:
    lines = render(page(text), "markdown").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 3
    for row in rows:
        bare = re.sub(r"\\.", "", row)
        assert bare.count("|") == 3
        assert not re.search(r"[`_\[]|<(?!/?sup>)", bare)
        assert bare.replace("**", "").count("*") == 0


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("a_b_c", "a_b_c"), ("_a_", "\\_a\\_"), ("a__b", "a\\_\\_b"), ("&lt; & b", "\\&lt; & b"),
        ("# a", "\\# a"), ("- a", "\\- a"), ("1. a", "1\\. a"), ("~~a~~", "\\~\\~a\\~\\~"),
    ],
)  # fmt: skip
def test_markdown_escapes_what_is_markup_and_leaves_names_readable(text: str, drawn: str) -> None:
    assert render(Page(blocks=(Paragraph(text),)), "markdown") == f"{drawn}\n"


@pytest.mark.parametrize("text", NASTY)
def test_html_is_closed_and_holds_no_element_of_the_text(text: str) -> None:
    tags = Tags()
    tags.feed(render(page(text), "html"))
    assert tags.open == []
    assert "script" not in tags.seen


@pytest.mark.parametrize("text", NASTY)
def test_latex_is_balanced_and_has_no_special_character_of_the_text(text: str) -> None:
    drawn = render(page(text), "latex")
    bare = re.sub(r"\\[&%$#_{}]", "", drawn)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[%$#_]|(?<!\\textasciitilde\{\})[~^]", bare)
    rows = bare[bare.index(r"\toprule") : bare.index(r"\bottomrule")]
    assert [line.count("&") for line in rows.splitlines() if line.endswith(r"\\")] == [1, 1]


@pytest.mark.parametrize("text", NASTY)
def test_programs_read_the_text_again(text: str) -> None:
    made = page(text)
    (row,) = json.loads(render(made, "json"))
    assert (row["method"], row[text]) == (text, 0.1)
    (read,) = csv.DictReader(io.StringIO(render(made, "csv")))
    assert (read["method"], read[text]) == (text, "0.1")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_ends_with_a_newline_and_repeats_its_bytes(form: str) -> None:
    drawn = render(page("x"), form)
    assert drawn.endswith("\n")
    assert render(page("x"), form) == drawn


def test_a_table_too_wide_for_the_terminal_is_drawn_row_by_row_without_broken_words() -> None:
    rows = [("dense/all-minilm-l6-v2", "an-identifier-of-24-char", ".501")]
    made = Page(blocks=(table(("method", "task", "value"), rows, figures=["value"]),))
    assert all(part in render(made, width=80).splitlines()[-1] for part in rows[0])
    lines = [line.split() for line in render(made, width=40).splitlines()]
    assert lines == [[rows[0][0]], ["task", rows[0][1]], ["value", rows[0][2]]]
