"""Formats of a page: all texts are escaped."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from pyarrow import parquet

from rankstone import board
from rankstone.leaderboards.document import (
    Cell,
    Column,
    Heading,
    Items,
    Page,
    Paragraph,
    Picture,
    Table,
    table,
)
from rankstone.leaderboards.formats.render import FORMATS, content, render
from rankstone.leaderboards.pages import leaderboard as leaderboard_page
from tests.conftest import ROOT
from tests.pages import Tags
from tests.records import demo_records

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
        assert not re.search(r"[`_\[]|<(?!/?(?:sup|ins)>)", bare)
        assert bare.replace("**", "").count("*") == 0


class Texts(HTMLParser):
    """Parser for the texts of table cells and items."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {"td": [], "th": [], "li": []}
        self.into: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in self.found:
            self.into = self.found[tag]
            self.into.append("")

    def handle_endtag(self, tag: str) -> None:
        self.into = None if tag in self.found else self.into

    def handle_data(self, data: str) -> None:
        if self.into is not None:
            self.into[-1] += data


@pytest.mark.parametrize("text", NASTY)
def test_another_reader_of_markdown_finds_the_texts_again(text: str) -> None:
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    texts = Texts()
    texts.feed(reader.render(render(page(text), "markdown")))
    one = " ".join(text.split())
    assert [" ".join(found.split()) for found in texts.found["th"]] == ["method", one]
    assert [" ".join(found.split()) for found in texts.found["td"]] == [one, f"{one}a"]
    assert [" ".join(found.split()) for found in texts.found["li"]] == [one, one]


def test_every_format_says_the_same_of_marks_and_letters() -> None:
    cells = (
        Cell(text=".503", value=0.503, mark="best", letters="bc"),
        Cell(text=".502", value=0.502, mark="second", letters="c"),
        Cell(text=".501", value=0.501),
    )
    heads = (Column(heading=("method",), left=True), Column(heading=("one",)))
    rows = tuple((Cell(text=f"m{n}"), cell) for n, cell in enumerate(cells))
    made = Page(blocks=(Table(title="t", columns=heads, rows=rows),))
    ansi = render(made, "terminal", color=True)
    found = {form: render(made, form) for form in ("markdown", "latex", "html")}
    assert [line.split("|")[2].strip() for line in found["markdown"].splitlines()[-3:]] == [
        "**.503**<sup>bc</sup>", "<ins>.502</ins><sup>c</sup>", ".501",
    ]  # fmt: skip
    assert r"\bfseries 0.503 {\textsuperscript{bc}}" in found["latex"]
    assert r"0.502 {\secondbest{0.502}\textsuperscript{c}}" in found["latex"]
    assert "<strong>.503</strong><sup>bc</sup>" in found["html"]
    assert 'underline">.502</span><sup>c</sup>' in found["html"]
    assert re.search(r"\x1b\[1;32m\.503 bc", ansi)
    assert re.search(r"\x1b\[4m ?\.502 c", ansi)
    assert not re.search(
        r"(bfseries |<strong>|\*\*|\x1b\[[14][;m]\d*m?)0?\.501", "".join(found.values()) + ansi
    )


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
    needs, drawn = drawn.split("\n", 1)
    assert needs == "% needs \\usepackage{adjustbox,booktabs,siunitx,threeparttable}"
    bare = re.sub(r"\\[&%$#_{}]", "", drawn).replace(
        "[1]{\\llap{\\underline{\\phantom{#1", "[1]{{{{"
    )
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[%$#_<>|\"]|(?<!\\textasciitilde\{\})[~^]", bare)
    rows = bare[bare.index(r"\toprule") : bare.index(r"\bottomrule")]
    assert [line.count("&") for line in rows.splitlines() if line.endswith(r"\\")] == [1, 1]
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", drawn)
    stack: list[str] = []
    for verb, name in opened:
        stack.append(name) if verb == "begin" else None
        assert verb == "begin" or stack.pop() == name
    assert stack == []


def numbers(*cells: Cell) -> str:
    heads = (
        Column(heading=("method",), left=True),
        Column(heading=("median latency of a query, ms",)),
    )
    rows = tuple((Cell(text=f"dense/m-{n}"), cell) for n, cell in enumerate(cells))
    notes = ("see dense/all-minilm-l6-v2, a method",)
    made = Table(title="Speed", columns=heads, rows=rows, notes=notes)
    return render(Page(blocks=(made, made)), "latex")


def test_latex_aligns_numbers_and_keeps_their_marks_letters_and_intervals() -> None:
    text = numbers(
        Cell(text=".758", mark="best", letters="ab", interval=".716–.798"),
        Cell(text="1,220†", mark="second"), Cell(text="–"), Cell(text="−.004"), Cell(text=""),
    )  # fmt: skip
    assert "S[table-format=+4.3, table-space-text-post=" in text
    ends = r"{\scriptsize\mdseries [0.716--0.798]}"
    assert rf"& \bfseries 0.758 {{\textsuperscript{{ab}}\,{ends}}} \\" in text
    assert r"& 1220 {\secondbest{1,220}\textdagger{}} \\" in text
    assert r"& {--} \\" in text
    assert r"& -0.004 \\" in text
    assert r"{\shortstack{median latency\\of a query, ms}}" in text
    assert r"\mbox{dense/all-minilm-l6-v2,}" in text
    assert re.findall(r"\\label\{(.*?)\}", text) == ["tab:speed", "tab:speed-2"]
    assert "S[" not in numbers(Cell(text=".7–.8"), Cell(text="1 of 2"))


def test_latex_rotates_wide_tables_and_splits_long_ones_over_pages() -> None:
    heads = [f"measure-of-quality-{n}" for n in range(9)]
    wide = Page(blocks=(table(heads, [heads], title="Wide"),))
    assert r"\begin{sidewaystable}" in render(wide, "latex")
    long = Page(blocks=(table(["method"], [["bm25"]] * 99, title="Long", notes=["a note"]),))
    text = render(long, "latex")
    assert text.startswith("% needs \\usepackage{booktabs,longtable,siunitx}\n")
    assert text.index(r"\endhead") < text.index("bm25") < text.index("a note")


def test_latex_wraps_text_between_words() -> None:
    words = "costs of a-method/with-a-long-name " * 5
    text = render(
        Page(blocks=(table(["method", "a text"], [["dense/x", words]], title="T"),)), "latex"
    )
    assert text.startswith("% needs \\usepackage{adjustbox,array,")
    assert re.search(r"tabular\}\{l>\{.*exhyphenpenalty10000\}p\{\d+(\.5)?em\}\}", text)
    assert r"\begin{table}" in text


TEX = "pdflatex and pdftoppm of texlive-latex-extra, texlive-science and poppler-utils"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason=f"needs {TEX}")
@pytest.mark.parametrize("name", ["board", "leaderboard", "wide", "text", "long", *NASTY])
def test_latex_compiles_as_pasted_and_fits_the_page(name: str, tmp_path: Path) -> None:
    wide = [f"measure-of-quality-{n}" for n in range(9)]
    made = {
        "board": board("long-documents", workspace=ROOT),
        "leaderboard": leaderboard_page.page(demo_records()),
        "wide": Page(blocks=(table(wide, [wide], title="Wide"),)),
        "text": Page(
            blocks=(table(["method", "a"], [["x", "a-b/c some words " * 20]], title="T"),)
        ),
        "long": Page(blocks=(table(["method"], [["dense/x"]] * 99, title="L", notes=["a"] * 9),)),
    }.get(name) or page(name)
    text = render(made, "latex")
    needs = text.partition("\n")[0].removeprefix("% needs ")
    lines = [r"\documentclass{article}", needs, r"\begin{document}", text, r"\end{document}"]
    (tmp_path / "a.tex").write_text("\n".join(lines))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    for _ in range(3):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    log = (tmp_path / "a.log").read_text(errors="replace")
    assert done.returncode == 0, log
    assert not re.findall(r"Overfull .*|LaTeX Warning: .*", log)


@pytest.mark.parametrize("text", NASTY)
def test_programs_read_the_text_again(text: str) -> None:
    made = page(text)
    (row,) = json.loads(render(made, "json"))
    assert (row["method"], row[text]) == (text, 0.1)
    (read,) = csv.DictReader(io.StringIO(render(made, "csv")))
    assert (read["method"], read[text]) == (text, "0.1")


def test_parquet_has_types_every_digit_and_the_notes() -> None:
    made = leaderboard_page.page(demo_records())
    read = parquet.read_table(io.BytesIO(content(made, "parquet")))
    assert tuple(read.column_names) == made.fields
    assert read.to_pylist() == [dict(row) for row in made.rows]
    assert {str(read.schema.field(name).type) for name in ("peak_gpu_bytes", "price_usd")} == {
        "double"
    }
    notes = json.loads(read.schema.metadata[b"notes"])
    assert notes == [note for table in made.tables for note in table.notes]
    mixed = Page(blocks=(), fields=("x",), rows=({"x": 1.5}, {"x": "–"}, {"x": None}))
    assert parquet.read_table(io.BytesIO(content(mixed, "parquet")))["x"].to_pylist() == [
        "1.5",
        "–",
        None,
    ]


def test_a_page_that_is_one_plot_is_its_svg_and_the_same_as_pdf() -> None:
    drawn = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>'
    plot = Page(blocks=(Picture("a.svg", drawn, "a plot"),))
    assert render(plot, "svg") == f"{drawn}\n"
    pytest.importorskip("vl_convert")
    assert content(plot, "pdf").startswith(b"%PDF")
    assert r"\includegraphics[width=\linewidth]{a.pdf}" in render(plot, "latex")


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
