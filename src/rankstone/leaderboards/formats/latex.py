r"""Pages as LaTeX to paste or ``\input``: tables that fit the page, numbers aligned by siunitx.

The first line names the required packages. Wide tables get a smaller font, then a landscape page of
their own; long ones become a ``longtable``. Names are never broken.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from rankstone.leaderboards import document as doc
from rankstone.leaderboards.document import Block, Cell, Page, Table, unfolded

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "[": "{[}", "]": "{]}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "–": "--",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "…": r"\ldots{}",
    "†": r"\textdagger{}", "‡": r"\textdaggerdbl{}", "·": r"\textperiodcentered{}",
    "−": r"\ensuremath{-}", "×": r"\ensuremath{\times}", "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}", "→": r"\ensuremath{\rightarrow}", "µ": r"\ensuremath{\mu}",
}  # fmt: skip
PDFTEX = "\u0180"
"""First character that only LuaLaTeX and XeLaTeX typeset without further packages."""
NUMBER = re.compile(r"(?P<sign>[+−-]?)(?P<whole>[\d,]*)(?:\.(?P<part>\d+))?(?P<after>[^\d.,–-]*)")
NAME = re.compile(r"[/_@]|\d-|-\d")
"""Pattern in names of methods, tasks and measures, which are not broken."""
SIZES = (("small", 4.6), ("footnotesize", 4.2), ("scriptsize", 3.7),
         ("scriptsize", 3.3))  # fmt: skip
"""Font sizes and their character widths in points (Computer Modern); the last one is scaled."""
UPRIGHT, SIDEWAYS = 345, 550
"""Width and height of the text area of LaTeX's article class, in points."""
GAP = 3
"""Padding on each side of a column, in points."""
LONG = 42
"""Number of table lines that fit on a page."""
SETUP = (
    r"\sisetup{mode=text, detect-weight=true, group-digits=integer, group-minimum-digits=4,"
    r" group-separator={,}, retain-explicit-plus=true, table-align-text-post=false}",
    r"\providecommand{\secondbest}[1]{\llap{\underline{\phantom{#1}}}}",
)


TEXT = r">{{\raggedright\arraybackslash\hyphenpenalty10000\exhyphenpenalty10000}}p{{{:g}em}}"
"""Text column, broken only between words."""
ABOVE = (r"\centering", r"\setlength{\belowcaptionskip}{4pt}")


def escape(text: str) -> str:
    return " ".join("".join(SPECIAL.get(c, c) for c in text).splitlines())


def draw(page: Page) -> str:
    lines = [rf"\section*{{{_prose(page.title)}}}"] if page.title else []
    labels = set[str]()
    for block in unfolded(page.blocks):
        lines += _lines(block, labels)
    text = "\n".join(lines)
    return "\n".join([*_needs(text), text]) + "\n"


def _needs(text: str) -> Iterator[str]:
    """Yield comments that name the packages the document has to load."""
    used = {r"\begin{adjustbox}": "adjustbox", r"\arraybackslash": "array",
            r"\toprule": "booktabs", r"\sisetup": "siunitx",
            r"\begin{threeparttable}": "threeparttable",
            r"\begin{longtable}": "longtable", r"\begin{landscape}": "pdflscape",
            r"\begin{sidewaystable}": "rotating", r"\includegraphics": "graphicx"}  # fmt: skip
    packages = sorted(name for command, name in used.items() if command in text)
    if packages:
        yield rf"% needs \usepackage{{{','.join(packages)}}}"
    if any(c >= PDFTEX for c in text):
        yield "% needs LuaLaTeX or XeLaTeX, and a font with the characters beyond Latin"


def _prose(text: str) -> str:
    """Escape text, and keep names unbroken."""
    words = ((word, escape(word)) for word in text.split())
    return " ".join(rf"\mbox{{{e}}}" if NAME.search(word) else e for word, e in words)


def _lines(block: Block, labels: set[str]) -> Iterator[str]:
    match block:
        case doc.Heading(text, level):
            yield rf"\{'sub' * (level - 1)}section*{{{_prose(text)}}}"
        case doc.Paragraph(text, lead):
            yield r"\begin{sloppypar}"
            yield (rf"\textbf{{{_prose(lead)}}}" if lead else "") + _prose(text)
            yield r"\end{sloppypar}"
        case doc.Items(texts):
            yield from [r"\begin{itemize}\sloppy", *(rf"\item {_prose(t)}" for t in texts)]
            yield r"\end{itemize}"
        case doc.Picture(name, _, caption):
            yield from _picture(f"{name.removesuffix('.svg')}.pdf", caption, labels)
        case Table(headless=True):
            yield from [r"\begin{center}", *_body(block), r"\end{center}"]
        case Table():
            yield from _table(block, labels)


def _picture(file: str, caption: str, labels: set[str]) -> Iterator[str]:
    drawn = rf"\includegraphics[width=\linewidth]{{{file}}}"
    yield from [r"\begin{figure}", r"\centering", rf"\IfFileExists{{{file}}}{{{drawn}}}{{}}"]
    yield rf"\caption{{{_prose(caption)}}}"
    yield from [rf"\label{{{_label('fig', caption, labels)}}}", r"\end{figure}"]


def _label(kind: str, caption: str, labels: set[str]) -> str:
    """Return a unique label, such as `tab:beir-scifact-quality`."""
    words = re.findall(r"[a-z0-9]+", caption.lower().encode("ascii", "ignore").decode())
    stem = f"{kind}:{'-'.join(words)[:40].strip('-') or 'rankstone'}"
    label = next(one for n in range(1, 10**6) if (one := stem + f"-{n}" * (n > 1)) not in labels)
    labels.add(label)
    return label


def _table(table: Table, labels: set[str]) -> Iterator[str]:
    """Yield a float with caption and label; a table without a title is not a float."""
    caption = ". ".join(part for part in (table.title, table.kind, table.subtitle) if part)
    name = ". ".join(part for part in (table.title, table.kind) if part)
    lines = len(table.rows) + sum(1 + len(note) // 100 for note in table.notes)
    size, fits = _size(table, shrinks=lines <= LONG)
    setup = [rf"\{size}", rf"\setlength{{\tabcolsep}}{{{GAP}pt}}", *SETUP]
    head = [rf"\caption{{{_prose(caption)}}}", rf"\label{{{_label('tab', name, labels)}}}"]
    if lines > LONG:
        yield from _long(table, head if caption else [], setup, fits)
        return
    kind = "center" if not caption else "table" if fits else "sidewaystable"
    yield from [rf"\begin{{{kind}}}", *([*ABOVE, *head] if caption else []), *setup]
    yield r"\def\TPTminimum{.7\linewidth}"
    yield from [r"\begin{adjustbox}{max width=\linewidth}", r"\begin{threeparttable}"]
    yield from _body(table)
    if table.notes:
        yield r"\begin{tablenotes}[flushleft]\footnotesize\raggedright"
        yield from (rf"\item {_prose(note)}." for note in table.notes)
        yield r"\end{tablenotes}"
    yield from [r"\end{threeparttable}", r"\end{adjustbox}", rf"\end{{{kind}}}"]


def _long(table: Table, head: list[str], setup: list[str], fits: bool) -> Iterator[str]:
    """Yield a table that continues over pages, with its notes below."""
    columns = _columns(table)
    first = _heads(table)
    yield from [r"\begin{landscape}"] if not fits else []
    yield from [r"\begingroup", *setup, rf"\begin{{longtable}}{{{''.join(columns)}}}"]
    yield from ["".join(head) + r" \\"] if head else []
    yield from [r"\toprule", first, r"\midrule", r"\endfirsthead"]
    yield from [r"\toprule", first, r"\midrule", r"\endhead"]
    yield from [r"\midrule", r"\endfoot", r"\bottomrule", r"\endlastfoot"]
    yield from [*_rows(table, columns), r"\end{longtable}"]
    if table.notes:
        yield from [r"\begin{flushleft}\footnotesize", *(f"{_prose(n)}.\\par" for n in table.notes)]
        yield r"\end{flushleft}"
    yield r"\endgroup"
    yield from [r"\end{landscape}"] if not fits else []


def _body(table: Table) -> Iterator[str]:
    columns = _columns(table)
    yield from [rf"\begin{{tabular}}{{{''.join(columns)}}}", r"\toprule"]
    yield from [] if table.headless else [_heads(table), r"\midrule"]
    yield from [*_rows(table, columns), r"\bottomrule", r"\end{tabular}"]


def _heads(table: Table) -> str:
    heads = []
    for n, column in enumerate(table.columns):
        lines = r"\\".join(escape(line) for line in _head_lines(table, n))
        drawn = rf"\shortstack{{{lines}}}" if r"\\" in lines else lines
        heads.append(drawn if column.left else f"{{{drawn}}}")
    return " & ".join(heads) + r" \\"


def _head_lines(table: Table, n: int) -> list[str]:
    """Return the lines of the heading, wrapped to the width of the column."""
    name = table.columns[n].name
    room = max([6, *map(len, name.split()), *(len(_plain(row[n])) for row in table.rows)])
    return textwrap.wrap(name, room, break_long_words=False, break_on_hyphens=False) or [""]


def _size(table: Table, *, shrinks: bool) -> tuple[str, bool]:
    """Return the largest font in which the table fits the page, and True if it fits upright."""
    widths = _widths(table)
    for room in (UPRIGHT, SIDEWAYS):
        for name, points in SIZES if shrinks else SIZES[:-1]:
            if sum(widths) * points + 2 * GAP * len(widths) <= room:
                return name, room == UPRIGHT
    return "tiny", False


def _widths(table: Table) -> list[int]:
    """Return the widths of the columns in characters; text columns shrink to fit the page."""
    texts = [[_plain(row[n]) for row in table.rows] for n in range(len(table.columns))]
    wide = [max(map(len, [*_head_lines(table, n), *cells])) for n, cells in enumerate(texts)]
    room = (UPRIGHT - 2 * GAP * len(wide)) / SIZES[-1][1] - 2 * len(wide)
    wrap = [column.left and column.wrap for column in table.columns]
    loose = sum(width for width, wraps in zip(wide, wrap, strict=True) if wraps)
    share = max(0.0, 1 - (sum(wide) - room) / loose) if loose else 1.0
    if share >= 1:
        return wide
    words = [max((len(w) for cell in cells for w in cell.split()), default=0) for cells in texts]
    heads = [max(map(len, _head_lines(table, n))) for n in range(len(wide))]
    return [
        max(words[n], heads[n], int(share * width)) if wrap[n] else width
        for n, width in enumerate(wide)
    ]


def _plain(cell: Cell) -> str:
    """Return a text as wide as the cell: intervals and letters are set smaller."""
    small = f"{cell.letters} [{cell.interval}]" if cell.interval else cell.letters
    return cell.text + small[: 1 + len(small) * 3 // 4]


def _rows(table: Table, columns: Sequence[str]) -> Iterator[str]:
    for row in table.rows:
        yield " & ".join(map(_cell, row, (column[0] == "S" for column in columns))) + r" \\"


def _columns(table: Table) -> list[str]:
    """Return the type of each column; `S` columns reserve space for the longest of each part."""
    widths = _widths(table)
    wide = [max((len(_plain(row[n])) for row in table.rows), default=0) for n in range(len(widths))]
    return [
        _numbers([row[n] for row in table.rows])
        if not column.left
        else "l"
        if wide[n] <= widths[n]
        else TEXT.format(widths[n] / 2)
        for n, column in enumerate(table.columns)
    ]


def _numbers(cells: Sequence[Cell]) -> str:
    found = [_parsed(cell) for cell in cells]
    numbers = [one for one in found if one is not None]
    others = {cell.text for cell, one in zip(cells, found, strict=True) if one is None}
    if not numbers or not others <= {"", "–"}:
        return "r" if numbers else "c"
    sign = "+" if any(one["sign"] for one in numbers) else ""
    whole = max(len(one["whole"].replace(",", "")) or 1 for one in numbers)
    part = max(len(one["part"] or "") for one in numbers)
    after = max((_after(cell, one) for cell, one in zip(cells, found, strict=True) if one), key=len)
    room = f", table-space-text-post={{{after}}}" if after else ""
    return f"S[table-format={sign}{whole}{f'.{part}' if part else ''}{room}]"


def _parsed(cell: Cell) -> re.Match[str] | None:
    found = NUMBER.fullmatch(cell.text)
    return found if found and (found["whole"] or found["part"]) else None


def _after(cell: Cell, found: re.Match[str]) -> str:
    """Return the text after a number: its mark, letters, and interval."""
    mark = escape(found["after"])
    letters = rf"\textsuperscript{{{cell.letters}}}" if cell.letters else ""
    ends = re.sub(r"(?<!\d)\.(?=\d)", "0.", cell.interval)
    return mark + letters + (rf"\,{{\scriptsize\mdseries [{escape(ends)}]}}" if ends else "")


def _cell(cell: Cell, of_numbers: bool) -> str:
    found = _parsed(cell) if of_numbers else None
    if found is None:
        marks = {
            "best": r"\textbf{{{}}}",
            "strong": r"\textbf{{{}}}",
            "second": r"\underline{{{}}}",
        }
        text = marks.get(cell.mark, "{}").format(escape(cell.text))
        text += rf"\textsuperscript{{{cell.letters}}}" if cell.letters else ""
        text += rf" {{\scriptsize [{escape(cell.interval)}]}}" if cell.interval else ""
        return f"{{{text}}}" if of_numbers and text else text
    whole = found["whole"] or "0"
    number = (
        found["sign"].replace("−", "-") + whole + (f".{found['part']}" if found["part"] else "")
    )
    under = rf"\secondbest{{{number}}}" if cell.mark == "second" else ""
    after = under + _after(cell, found)
    bold = r"\bfseries " if cell.mark in ("best", "strong") else ""
    return bold + number.replace(",", "") + (f" {{{after}}}" if after else "")
