"""One page about some records: what was compared, on what, how, the figures, and the caveats.

The page is a list of blocks, made once and written as Markdown or as HTML that needs nothing beside
it. Plots are SVG: inline in HTML, files beside a page of Markdown.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rankstone.errors import ResultsError
from rankstone.leaderboards.compare import Comparison, compare
from rankstone.leaderboards.formats.markdown import escape, line
from rankstone.leaderboards.frame import leaderboard
from rankstone.leaderboards.numbers import count
from rankstone.leaderboards.pages.board import STYLE
from rankstone.leaderboards.pages.compare import HEADS, baseline_row, row
from rankstone.leaderboards.pages.leaderboard import Cell, views
from rankstone.leaderboards.pages.plots import quality_against_cost
from rankstone.results.record import RunRecord
from rankstone.results.store import Stored, cells


class Heading(NamedTuple):
    text: str


class Paragraph(NamedTuple):
    text: str


class Items(NamedTuple):
    texts: tuple[str, ...]


class Grid(NamedTuple):
    """A table: cells of text, the best marked; the first column names the row."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Picture(NamedTuple):
    name: str
    svg: str
    caption: str


Block = Heading | Paragraph | Items | Grid | Picture


class Page(NamedTuple):
    title: str
    blocks: tuple[Block, ...]

    @property
    def pictures(self) -> dict[str, str]:
        """File name -> SVG."""
        return {b.name: b.svg for b in self.blocks if isinstance(b, Picture)}


def report(
    stored: Sequence[Stored], *, baseline: str | None = None, title: str = "Retrieval report"
) -> Page:
    """The page about `stored`: good records and failures, of any methods and tasks.

    Args:
        baseline: the method that others are held against; None: no comparisons.

    Raises ResultsError where there is no record.
    """
    if not stored:
        raise ResultsError("no records to report on. (rankstone run METHOD --on TASK)")
    records = [record for record, _ in stored]
    blocks: list[Block] = [
        Heading("What was compared"),
        _methods(records),
        Heading("On what"),
        _tasks(records),
        Heading("How it was measured"),
        Items(tuple(_how(records))),
        Heading("Figures"),
        *_figures(records),
        *_plots(records),
    ]
    if baseline is not None:
        blocks += [Heading(f"Against {baseline}"), *_comparisons(stored, baseline)]
    blocks += [Heading("Caveats"), Items(tuple(_caveats(records)) or ("none are known",))]
    return Page(title, tuple(blocks))


def _grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid:
    return Grid(tuple(heads), tuple(tuple(Cell(text=text) for text in row) for row in rows))


def _methods(records: Sequence[RunRecord]) -> Grid:
    rows = {}
    for record in records:
        described = record.method.description
        model = " ".join(str(described[key]) for key in ("model", "revision") if described.get(key))
        limit = described.get("max_length")
        rows[record.method.name] = (
            record.method.name,
            record.method.adapter.rpartition(":")[2] or record.method.adapter,
            model or "–",
            "–" if limit is None else _limits(limit),
            record.method.digest[:8],
        )
    return _grid(("method", "adapter", "model", "longest input", "definition"), rows.values())


def _limits(limit: object) -> str:
    if isinstance(limit, Mapping):
        return ", ".join(f"{role} {n}" for role, n in limit.items())
    return str(limit)


def _tasks(records: Sequence[RunRecord]) -> Grid:
    rows = {}
    for record in records:
        task = record.task
        rows[task.name, *sorted(task.sha256.values())] = (
            task.name,
            task.split,
            count(task.n_documents, "document") or "–",
            count(task.n_queries, "query", "queries") or "–",
            count(task.n_judgements, "judgement") or "–",
            task.sha256.get("corpus", "–")[:8],
            task.source or "–",
        )
    heads = ("task", "split", "documents", "queries", "judgements", "corpus sha256", "source")
    return _grid(heads, rows.values())


def _how(records: Sequence[RunRecord]) -> Iterator[str]:
    yield from dict.fromkeys(str(_rules(record)) for record in records)
    machines = dict.fromkeys(
        (r.environment.machine, r.environment.cpu, r.environment.threads, r.environment.gpu)
        for r in records
    )
    for machine, cpu, threads, gpu in machines:
        parts = [f"machine {machine}", cpu or "", gpu or "", count(threads, "thread")]
        yield ", ".join(part for part in parts if part)
    commits = dict.fromkeys(
        f"{r.environment.git_commit[:12]}{' with local changes' if r.environment.git_dirty else ''}"
        for r in records
        if r.environment.git_commit
    )
    if commits:
        yield f"code at {', '.join(commits)}"
    days = sorted({record.provenance.finished[:10] for record in records})
    yield f"measured {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "")


def _rules(record: RunRecord) -> str:
    policy = record.policy
    return (
        f"depth {policy.depth}, ties by {policy.ties}, scores as {policy.score_dtype}, missing"
        f" queries {policy.missing_queries}, relevant from label {policy.relevance}, self hits"
        f" {policy.self_hits}; intervals: {policy.intervals}"
    )


def _figures(records: Sequence[RunRecord]) -> Iterator[Block]:
    for view in views(leaderboard(records)):
        kind = "quality" if view.kind == "quality" else "speed and memory"
        yield Paragraph(f"{view.task}, {kind}: {view.subtitle}")
        yield Grid(tuple(" ".join(column.header) for column in view.columns), view.rows)
        if view.notes:
            yield Items(view.notes)


def _plots(records: Sequence[RunRecord]) -> Iterator[Block]:
    for task in dict.fromkeys(record.task.name for record in records):
        svg = quality_against_cost([r for r in records if r.task.name == task])
        if svg:
            name = f"{task.replace('/', '-')}-latency.svg"
            yield Picture(name, svg, f"{task}: quality against p95 latency, 95% intervals")


def _comparisons(stored: Sequence[Stored], baseline: str) -> Iterator[Block]:
    good = {cell: one for cell, one in cells(stored).items() if one[0].status == "ok"}
    others = list(dict.fromkeys(method for method, _ in good if method != baseline))
    found = compare(baseline, others, good)
    for task in dict.fromkeys(one.task for one in found):
        group = [one for one in found if one.task == task]
        yield Paragraph(f"{task}: {group[0].measure}, {group[0].paired.n:,} queries, paired")
        yield _grid(HEADS, [baseline_row(group[0]), *map(row, group)])
        notes = tuple(_notes(group))
        if notes:
            yield Items(notes)
    yield Paragraph(
        f"p values are Holm's over all {len(found)} comparisons."
        if len(found) > 1
        else "p values of one comparison."
    )


def _notes(group: Sequence[Comparison]) -> Iterator[str]:
    for one in group:
        yield from (f"{one.of}: {note}" for note in one.notes)


def _caveats(records: Sequence[RunRecord]) -> Iterator[str]:
    """What a reader must know that the figures do not say."""
    methods = dict.fromkeys(record.method.name for record in records)
    tasks = dict.fromkeys(record.task.name for record in records)
    good = {(r.method.name, r.task.name) for r in records if r.status == "ok"}
    for record in records:
        where = f"{record.method.name} on {record.task.name}"
        if record.status != "ok" and (record.method.name, record.task.name) not in good:
            said = record.error.message.partition("\n")[0] if record.error else ""
            yield f"{where} ended as {record.status}: {said}"
        yield from _of_record(record, where)
    for task in tasks:
        for method in methods:
            if not any(r.method.name == method and r.task.name == task for r in records):
                yield f"{method} was not run on {task}"
        digests = {tuple(sorted(r.task.sha256.items())) for r in records if r.task.name == task}
        if len(digests) > 1:
            yield f"the records on {task} are of {len(digests)} different sets of data"
    if len({record.environment.machine for record in records}) > 1:
        yield "the records are of several machines: their speeds are not to be compared"


def _of_record(record: RunRecord, where: str) -> Iterator[str]:
    for role, cut in record.truncation.items():
        if cut.texts_cut:
            share, tokens = cut.texts_cut / cut.texts, cut.tokens_cut / max(cut.tokens, 1)
            nouns = {"document": "documents", "query": "queries", "pair": "re-scored pairs"}
            yield f"{where}: the limit cuts {share:.1%} of {nouns[role]} ({tokens:.1%} of tokens)"
    queries = record.queries
    if queries is not None and queries.n_tied:
        headline = record.measures.get(record.task.headline)
        reach = ""
        if headline is not None and headline.worst is not None and headline.best is not None:
            reach = f"; ties allow {headline.worst:.4f} to {headline.best:.4f}"
        yield f"{where}: {queries.n_tied:,} of {queries.n:,} queries have tied scores{reach}"
    if queries is not None and queries.n_missing:
        yield f"{where}: {queries.n_missing:,} queries have no results and score 0"
    yield from (f"{where}: {warning}" for warning in record.warnings)


def to_markdown(page: Page) -> str:
    """The page; its pictures are files of the names they have."""
    parts = [f"# {_md(page.title)}"]
    for block in page.blocks:
        match block:
            case Heading(text):
                parts.append(f"## {_md(text)}")
            case Paragraph(text):
                parts.append(_md(text))
            case Items(texts):
                parts.append("\n".join(f"* {_md(text)}" for text in texts))
            case Picture(name, _, caption):
                parts.append(f"![{_md(caption)}]({name})")
            case Grid(heads, rows):
                lines = [line(map(_md, heads)), line(_sides(len(heads)))]
                lines += [line(map(_md_cell, cells)) for cells in rows]
                parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _sides(n: int) -> Iterator[str]:
    return (":---" if place == 0 else "---:" for place in range(n))


def _md(text: str) -> str:
    return escape(text).replace("\n", " ")


def _md_cell(cell: Cell) -> str:
    return f"**{_md(cell.text)}**" if cell.mark == "best" else _md(cell.text)


def to_html(page: Page) -> str:
    """The page, with its pictures in it."""
    title = html.escape(page.title)
    parts = ["<!doctype html>", '<html lang="en">', '<meta charset="utf-8">']
    parts += ['<meta name="viewport" content="width=device-width">', f"<title>{title}</title>"]
    parts += [f"<style>\n{STYLE}svg {{ max-width: 100%; height: auto }}\n</style>"]
    parts.append(f"<main><h1>{title}</h1>")
    parts += map(_element, page.blocks)
    return "\n".join([*parts, "</main>", "</html>"]) + "\n"


def _element(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Items(texts):
            return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"
        case Picture(_, svg, caption):
            return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
        case Grid(heads, rows):
            head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in heads)
            body = "".join(f"<tr>{''.join(map(_td, enumerate(cells)))}</tr>" for cells in rows)
            return (
                f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
                f"<tbody>{body}</tbody></table></div>"
            )


def _td(place: tuple[int, Cell]) -> str:
    number, cell = place
    text = html.escape(cell.text)
    text = f"<strong>{text}</strong>" if cell.mark == "best" else text
    return f'<th scope="row">{text}</th>' if number == 0 else f"<td>{text}</td>"
