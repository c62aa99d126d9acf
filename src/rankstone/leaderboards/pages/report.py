"""One page about some records: what was compared, on what, how, the figures, and the caveats.

Plots are SVG: inline in HTML, files beside a page of Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rankstone.errors import ResultsError
from rankstone.leaderboards.compare import Comparison, compare, paired_values
from rankstone.leaderboards.document import Block, Heading, Items, Page, Paragraph, Picture, table
from rankstone.leaderboards.frame import leaderboard, truncated, truncation
from rankstone.leaderboards.numbers import count
from rankstone.leaderboards.pages import compare as compare_page
from rankstone.leaderboards.pages.leaderboard import tables
from rankstone.leaderboards.pages.plots import quality_against_cost
from rankstone.leaderboards.trained import trained_note, trained_text
from rankstone.results.record import RunRecord
from rankstone.results.store import Cell, Stored, cells


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
    return Page(title=title, blocks=tuple(blocks))


def _methods(records: Sequence[RunRecord]) -> Block:
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
            trained_text(record),
            record.method.digest[:8],
        )
    return table(
        ("method", "adapter", "model", "longest input", "trained on", "definition"), rows.values()
    )


def _limits(limit: object) -> str:
    if isinstance(limit, Mapping):
        return ", ".join(f"{role} {n}" for role, n in limit.items())
    return str(limit)


def _tasks(records: Sequence[RunRecord]) -> Block:
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
    return table(heads, rows.values())


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
    yield from tables(leaderboard(records))


def _plots(records: Sequence[RunRecord]) -> Iterator[Block]:
    for task in dict.fromkeys(record.task.name for record in records):
        svg = quality_against_cost([r for r in records if r.task.name == task])
        if svg:
            name = f"{task.replace('/', '-')}-latency.svg"
            yield Picture(name, svg, f"{task}: quality against p95 latency, 95% intervals")


def _comparisons(stored: Sequence[Stored], baseline: str) -> Iterator[Block]:
    good = {cell: one for cell, one in cells(stored).items() if one[0].status == "ok"}
    faults = dict(_incomparable(good, baseline))
    kept = {cell: one for cell, one in good.items() if cell not in faults}
    if not {method for method, _ in kept} > {baseline}:
        kept = good  # the comparison raises the reason
    others = list(dict.fromkeys(method for method, _ in kept if method != baseline))
    found = compare(baseline, others, kept)
    for task in dict.fromkeys(one.task for one in found):
        group = [one for one in found if one.task == task]
        yield Paragraph(f"{task}: {group[0].measure}, {group[0].paired.n:,} queries, paired")
        yield compare_page.table(group, notes=_notes(group))
    yield Paragraph(
        f"p values are Holm's over all {len(found)} comparisons."
        if len(found) > 1
        else "p values of one comparison."
    )
    if faults:
        yield Items(tuple(f"Not compared: {fault}" for fault in faults.values()))


def _incomparable(good: Mapping[Cell, Stored], baseline: str) -> Iterator[tuple[Cell, str]]:
    """Yield the cells whose values per query cannot be paired with the baseline's, and why."""
    for (method, task), one in good.items():
        than = good.get((baseline, task))
        try:
            if than is not None:
                paired_values(one, than, one[0].task.headline)
        except ResultsError as error:
            yield (method, task), str(error)


def _notes(group: Sequence[Comparison]) -> Iterator[str]:
    for one in group:
        yield from (f"{one.of}: {note}" for note in one.notes)


def _caveats(records: Sequence[RunRecord]) -> Iterator[str]:
    """Yield the caveats that the figures do not show."""
    methods = dict.fromkeys(record.method.name for record in records)
    tasks = dict.fromkeys(record.task.name for record in records)
    good = {(r.method.name, r.task.name) for r in records if r.status == "ok"}
    for record in records:
        where = f"{record.method.name} on {record.task.name}"
        if record.status != "ok" and (record.method.name, record.task.name) not in good:
            yield f"{where} ended as {record.status}: {record.failure()}"
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
    if record.is_trained:
        yield f"{where}: {trained_note(record)}"
    if text := truncated(truncation(record)):
        yield f"{where}: {text}"
    queries = record.queries
    if queries is not None and queries.n_tied:
        reach, headline = "", record.headline
        if headline is not None and headline.worst is not None and headline.best is not None:
            reach = f"; ties allow {headline.worst:.4f} to {headline.best:.4f}"
        yield f"{where}: {queries.n_tied:,} of {queries.n:,} queries have tied scores{reach}"
    if queries is not None and queries.n_missing:
        yield f"{where}: {queries.n_missing:,} queries have no results and score 0"
    yield from (f"{where}: {warning}" for warning in record.warnings)
