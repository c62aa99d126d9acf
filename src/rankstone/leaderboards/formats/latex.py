r"""Pages as LaTeX; the document needs ``\usepackage{booktabs}``, and ``graphicx`` for pictures."""

from __future__ import annotations

from collections.abc import Iterator

from rankstone.leaderboards import document as doc
from rankstone.leaderboards.document import Block, Cell, Page, Table

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--",
    "†": r"\textdagger{}", "‡": r"\textdaggerdbl{}",
}  # fmt: skip
MARKS = {"best": r"\textbf{{{}}}", "strong": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}


def escape(text: str) -> str:
    return " ".join("".join(SPECIAL.get(c, c) for c in text).splitlines())


def draw(page: Page) -> str:
    lines = [rf"\section*{{{escape(page.title)}}}"] if page.title else []
    for block in page.blocks:
        lines += _lines(block)
    return "\n".join(lines) + "\n"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case doc.Heading(text, level):
            yield rf"\{'sub' * (level - 1)}section*{{{escape(text)}}}"
        case doc.Paragraph(text, lead):
            yield (rf"\textbf{{{escape(lead)}}}" if lead else "") + escape(text)
            yield ""
        case doc.Items(texts):
            yield from [r"\begin{itemize}", *(rf"\item {escape(t)}" for t in texts)]
            yield r"\end{itemize}"
        case doc.Picture(name, _, caption):
            yield rf"% {escape(caption)}: {name}"
        case Table():
            yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    sides = "".join("l" if column.left else "r" for column in table.columns)
    caption = ". ".join(part for part in (table.title, table.kind, table.subtitle) if part)
    yield from [r"\begin{table}", r"\centering"]
    yield from [rf"\caption{{{escape(caption)}}}"] if caption else []
    yield from [rf"\begin{{tabular}}{{{sides}}}", r"\toprule"]
    if not table.headless:
        yield " & ".join(escape(column.name) for column in table.columns) + r" \\"
        yield r"\midrule"
    for row in table.rows:
        yield " & ".join(map(_cell, row)) + r" \\"
    yield from [r"\bottomrule", r"\end{tabular}"]
    yield from (rf"\par\footnotesize {escape(note)}." for note in table.notes)
    yield r"\end{table}"


def _cell(cell: Cell) -> str:
    text = MARKS.get(cell.mark, "{}").format(escape(cell.text))
    letters = rf"\textsuperscript{{{cell.letters}}}" if cell.letters else ""
    interval = rf" {{\scriptsize [{escape(cell.interval)}]}}" if cell.interval else ""
    return text + letters + interval
