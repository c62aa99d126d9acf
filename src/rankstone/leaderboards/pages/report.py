"""Report on records: summary, methods, tasks, conditions, figures and caveats.

Plots are inline SVG in HTML, and separate files for Markdown (SVG) and LaTeX (PDF).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rankstone.errors import ResultsError
from rankstone.leaderboards.compare import Comparison, compare, obstacles, paired_values
from rankstone.leaderboards.costs import BY_NAME, Cost, mark_of, pareto_optimal
from rankstone.leaderboards.curves.curves import of_load
from rankstone.leaderboards.curves.drawn import pictures
from rankstone.leaderboards.document import Block, Heading, Items, Page, Paragraph, Picture, table
from rankstone.leaderboards.frame import leaderboard, truncated, truncation
from rankstone.leaderboards.labels import with_grids
from rankstone.leaderboards.loads.page import NOTE as LOAD_NOTE
from rankstone.leaderboards.loads.page import load_tables
from rankstone.leaderboards.marks import not_below
from rankstone.leaderboards.numbers import count, flagged, interval, quality
from rankstone.leaderboards.pages import compare as compare_page
from rankstone.leaderboards.pages.leaderboard import tables
from rankstone.leaderboards.pages.plots import LATENCY, quality_against_cost
from rankstone.leaderboards.trained import trained_note, trained_text
from rankstone.results.record import RunRecord
from rankstone.results.store import Cell, Stored, cells
from rankstone.specs import canonical_digest

BEST = ("task", "measure", "best", "mean", "95% interval", "not significantly below it",
        "costs of the best", "Pareto-optimal")  # fmt: skip
"""Columns of the summary table."""
SUMMED = ("p95 latency", "index", "peak RSS", "API price")
"""Costs in the summary."""
SHOWN = 8
"""Number of faults listed in the summary."""


def report(
    stored: Sequence[Stored], *, baseline: str | None = None, title: str = "Retrieval report"
) -> Page:
    """Return the report on `stored`: successful records and failures of any methods and tasks.

    Args:
        baseline: Method to compare the others with; None: no comparisons.

    Raises:
        ResultsError: there are no records.
    """
    if not stored:
        raise ResultsError("no records to report on. (rankstone run METHOD --on TASK)")
    records = with_grids(record for record, _ in stored)
    blocks: list[Block] = [
        Heading("Summary"),
        *_summary(stored),
        Heading("Methods"),
        _methods(records),
        Heading("Tasks"),
        _tasks(records),
        Heading("Conditions"),
        Items(tuple(_how(records))),
        Heading("Figures"),
        *_figures(records),
        *_plots(records),
        *_loads(records),
    ]
    if baseline is not None:
        blocks += [Heading(f"Against {baseline}"), *_comparisons(stored, baseline)]
    blocks += [Heading("Caveats"), Items(tuple(_caveats(records)) or ("none are known",))]
    return Page(title=title, blocks=tuple(blocks))


def _summary(stored: Sequence[Stored]) -> Iterator[Block]:
    """Yield the best method of each task with its rivals and costs, and the faults."""
    records = [record for record, _ in stored]
    methods, tasks = ({name(r): None for r in records} for name in (_method_of, _task_of))
    of = f"{count(len(methods), 'method')} on {count(len(tasks), 'task')}"
    yield Paragraph(f"{of}: {_listed(list(methods), 8)}; on {_listed(list(tasks), 8)}.")
    groups: dict[tuple[str, str], list[Stored]] = {}
    for (_, task), one in cells(stored).items():
        if one[0].status == "ok" and one[0].headline is not None:
            data = canonical_digest(one[0].task.sha256)[:8]
            groups.setdefault((task, data), []).append(one)
    if groups:
        several = len({task for task, _ in groups}) < len(groups)
        names = [f"{task} ({data})" if several else task for task, data in groups]
        rows = [_best(name, group) for name, group in zip(names, groups.values(), strict=True)]
        yield table(BEST, rows, figures=BEST[3:5], notes=_best_notes(groups.values()))
    faults = [*_failed(records), *_missing(records)]
    yield Items(
        tuple(faults[:SHOWN]) or ("No run failed, and every method was run on every task.",)
    )
    if len(faults) > SHOWN:
        yield Paragraph(f"{len(faults) - SHOWN} more are among the caveats.")


def _method_of(record: RunRecord) -> str:
    return record.method.name


def _task_of(record: RunRecord) -> str:
    return record.task.name


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _best(name: str, group: Sequence[Stored]) -> tuple[str, ...]:
    """Return the row of a task: best method, those not significantly below it, and costs."""
    ranked = sorted(group, key=lambda one: (-_mean(one), one[0].method.name))
    best, headline = ranked[0][0], ranked[0][0].headline
    low, high = (headline.low, headline.high) if headline else (None, None)
    records = [record for record, _ in ranked]
    optimal = zip(records, pareto_optimal(LATENCY, records), strict=True)
    return (
        name,
        best.task.headline,
        best.method.name,
        quality(_mean(ranked[0])),
        interval(low, high),
        _rivals(ranked[0], ranked[1:]),
        "; ".join(_cost(BY_NAME[cost], best) for cost in SUMMED if BY_NAME[cost].of(best)) or "–",
        _listed([record.method.name for record, stands in optimal if stands], 4) or "–",
    )


def _mean(stored: Stored) -> float:
    headline = stored[0].headline
    return headline.mean if headline else 0.0


def _rivals(best: Stored, others: Sequence[Stored]) -> str:
    """Return the methods that are not significantly below the best, or could not be tested."""
    near = not_below({"": best}, [{"": other} for other in others], {"": 1.0})
    if near is None and others:
        return "not tested: no values per query"
    close = [one[0].method.name for one, tied in zip(others, near or (), strict=True) if tied]
    untested = [other[0].method.name for other in others if not _is_paired(best, other)]
    text = _listed(close, 4) or ("none" if others else "no other method")
    return text + (f"; not tested: {_listed(untested, 4)}" if untested else "")


def _is_paired(best: Stored, other: Stored) -> bool:
    try:
        paired_values(other, best, best[0].task.headline)
    except ResultsError:
        return False
    return not any(obstacles(other[0], best[0]))


def _cost(cost: Cost, record: RunRecord) -> str:
    unit, [value] = cost.in_unit([cost.of(record)])
    return f"{cost.name} {flagged(value, mark_of(cost, record))} {unit}".strip()


def _best_notes(groups: Iterable[Sequence[Stored]]) -> Iterator[str]:
    yield (
        "not significantly below: paired sign-flip test of the queries at .05 against the best,"
        " by Holm's method over the methods of the task"
    )
    yield f"Pareto-optimal: no other is at least as good in both quality and {LATENCY.name}"
    best = [max(group, key=_mean)[0] for group in groups]
    found = (BY_NAME[cost].flag(record) for record in best for cost in SUMMED)
    yield from dict.fromkeys(flag.note for flag in found if flag)


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
        f" queries {policy.missing_queries}, relevant from label {policy.relevance}, self"
        f" hits: {policy.self_hits}; intervals: {policy.intervals}"
    )


def _figures(records: Sequence[RunRecord]) -> Iterator[Block]:
    yield from tables(leaderboard(records))


def _plots(records: Sequence[RunRecord]) -> Iterator[Block]:
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        data = canonical_digest(record.task.sha256)[:8]
        groups.setdefault((record.task.name, data), []).append(record)
    drawn = {group: svg for group, given in groups.items() if (svg := quality_against_cost(given))}
    several = len({task for task, _ in drawn}) < len(drawn)
    for (task, data), svg in drawn.items():
        mark, of = (f"-{data}", f"{task} ({data})") if several else ("", task)
        name = f"{task.replace('/', '-')}{mark}-latency.svg"
        yield Picture(name, svg, f"{of}: quality against p95 latency, 95% intervals")


def _loads(records: Sequence[RunRecord]) -> Iterator[Block]:
    """Yield the trials under load, and their curves."""
    loaded = [record for record in records if record.load]
    if not loaded:
        return
    yield Heading("Under load")
    for task in dict.fromkeys(record.task.name for record in loaded):
        here = [record for record in loaded if record.task.name == task]
        name, caption = f"{task.replace('/', '-')}-load", f"{task}: latency and throughput"
        yield from pictures(of_load(here), name, caption)
        for record in here:
            yield from load_tables(record)
    yield Paragraph(LOAD_NOTE)


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
    """Yield the cells whose per-query values cannot be paired with the baseline's, with reasons."""
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
    """Yield caveats that are not visible in the figures."""
    yield from [*_failed(records), *_missing(records)]
    for record in records:
        yield from _of_record(record, f"{record.method.name} on {record.task.name}")


def _failed(records: Sequence[RunRecord]) -> Iterator[str]:
    good = {(r.method.name, r.task.name) for r in records if r.status == "ok"}
    for record in records:
        if record.status != "ok" and (record.method.name, record.task.name) not in good:
            where = f"{record.method.name} on {record.task.name}"
            yield f"{where} ended as {record.status}: {record.failure()}"


def _missing(records: Sequence[RunRecord]) -> Iterator[str]:
    """Yield the cells that were not run, and the reasons why records are not comparable."""
    methods = dict.fromkeys(map(_method_of, records))
    for task in dict.fromkeys(map(_task_of, records)):
        there = {_method_of(record) for record in records if _task_of(record) == task}
        if absent := [method for method in methods if method not in there]:
            yield f"not run on {task}: {', '.join(absent)}"
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
