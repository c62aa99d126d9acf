"""A defined board as terminal table, Markdown, CSV, LaTeX, JSON and HTML."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rankstone.errors import ResultsError, did_you_mean
from rankstone.leaderboards.boards import Board, Entry
from rankstone.leaderboards.formats.markdown import escape, line

if TYPE_CHECKING:
    from rich.console import RenderableType

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--",
}  # fmt: skip
STYLE = """\
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; font-size: 1.2rem; padding-bottom: .5rem }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
thead th { border-bottom: 2px solid currentColor }
tbody tr:nth-child(even) { background: color-mix(in srgb, currentColor 6%, transparent) }
.second { text-decoration: underline }
small { opacity: .75 }
"""


def render_board(board: Board, form: str) -> str:
    """As text that ends with a newline; ResultsError for a format that there is not."""
    if form not in RENDERERS:
        raise ResultsError(
            f"There is no format '{form}' of a defined leaderboard.{did_you_mean(form, RENDERERS)}"
            f" (--format {'|'.join(RENDERERS)})"
        )
    return RENDERERS[form](board)


def terminal(board: Board) -> RenderableType:
    """A rich table, notes beneath."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(board.title), title_justify="left", box=box.SIMPLE_HEAD)
    drawn.add_column("method", overflow="fold")
    for head in board.heads:
        drawn.add_column(head, justify="right", overflow="fold")
    styles = {"best": "bold", "second": "underline", "": ""}
    for method, entries in board.rows:
        cells = [Text(_plain(entry), styles[entry.mark]) for entry in entries]
        drawn.add_row(Text(_labelled(board, method)), *cells)
    return Group(drawn, *(Text(f" {note}", "dim") for note in board.notes))


def to_text(board: Board) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=120, no_color=True).print(terminal(board))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def markdown(board: Board) -> str:
    """A pipe table: the best bold, the second best underlined, letters as superscripts."""
    lines = [f"### {escape(board.title)}", ""]
    lines.append(line(["method", *map(escape, board.heads)]))
    lines.append("| :--- |" + " ---: |" * len(board.heads))
    for method, entries in board.rows:
        cells = [escape(_labelled(board, method)), *map(_marked_down, entries)]
        lines.append(line(cells))
    return "\n".join([*lines, "", *(f"* {escape(note)}" for note in board.notes)]) + "\n"


def _marked_down(entry: Entry) -> str:
    text = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}[entry.mark].format(
        escape(entry.text)
    )
    above = f"<sup>{entry.above}</sup>" if entry.above else ""
    return f"{text}{above}" + (f" [{entry.interval}]" if entry.interval else "")


def latex(board: Board) -> str:
    r"""A booktabs table; the document needs ``\usepackage{booktabs}``."""
    columns = "l" + "r" * len(board.heads)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_tex(board.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [" & ".join(["method", *map(_tex, board.heads)]) + r" \\", r"\midrule"]
    for method, entries in board.rows:
        cells = [_tex(_labelled(board, method)), *map(_tex_entry, entries)]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {_tex(note)}." for note in board.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _tex_entry(entry: Entry) -> str:
    forms = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
    text = forms[entry.mark].format(_tex(entry.text))
    above = rf"\textsuperscript{{{entry.above}}}" if entry.above else ""
    interval = rf" {{\scriptsize [{_tex(entry.interval)}]}}" if entry.interval else ""
    return text + above + interval


def _tex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def to_csv(board: Board) -> str:
    """Full precision; unknown is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", *board.heads])
    for method, entries in board.rows:
        writer.writerow([method, *("" if e.value is None else repr(e.value) for e in entries)])
    return out.getvalue()


def to_json(board: Board) -> str:
    """Title, notes and one object per method, full precision; unknown is null."""
    rows = [
        {
            "method": method,
            **{
                head: {"value": e.value, "above": e.above, "interval": e.interval, "mark": e.mark}
                for head, e in zip(board.heads, entries, strict=True)
            },
        }
        for method, entries in board.rows
    ]
    body = {
        "title": board.title,
        "letters": dict(board.letters),
        "notes": board.notes,
        "rows": rows,
    }
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_html(board: Board) -> str:
    """One page that needs nothing beside it."""
    title = html.escape(board.title)
    lines = ["<!doctype html>", '<html lang="en">', '<meta charset="utf-8">']
    lines += ['<meta name="viewport" content="width=device-width">', f"<title>{title}</title>"]
    lines += [f"<style>\n{STYLE}</style>", *html_table(board), "</html>"]
    return "\n".join(lines) + "\n"


def html_table(board: Board) -> Iterator[str]:
    """The table and its notes, as elements."""
    heads = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in ("method", *board.heads))
    yield f'<div class="scroll"><table><caption>{html.escape(board.title)}</caption>'
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    for method, entries in board.rows:
        cells = "".join(map(_html_entry, entries))
        yield f'<tr><th scope="row">{html.escape(_labelled(board, method))}</th>{cells}</tr>'
    yield "</tbody></table></div>"
    if board.notes:
        yield "<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in board.notes) + "</ul>"


def _html_entry(entry: Entry) -> str:
    text = html.escape(entry.text)
    if entry.mark == "best":
        text = f"<strong>{text}</strong>"
    elif entry.mark == "second":
        text = f'<span class="second">{text}</span>'
    above = f"<sup>{entry.above}</sup>" if entry.above else ""
    interval = f" <small>{html.escape(entry.interval)}</small>" if entry.interval else ""
    return f"<td>{text}{above}{interval}</td>"


def _labelled(board: Board, method: str) -> str:
    letter = board.letters.get(method)
    return f"{method} ({letter})" if letter else method


def _plain(entry: Entry) -> str:
    above = f" {entry.above}" if entry.above else ""
    return f"{entry.text}{above}" + (f" [{entry.interval}]" if entry.interval else "")


RENDERERS: dict[str, Callable[[Board], str]] = {
    "terminal": to_text,
    "markdown": markdown,
    "csv": to_csv,
    "latex": latex,
    "json": to_json,
    "html": to_html,
}
