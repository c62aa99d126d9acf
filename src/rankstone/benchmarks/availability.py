"""Which tasks there are and whether their data is at hand: `rankstone data list`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rankstone.benchmarks.dataset import RawJudgements, Sources
from rankstone.benchmarks.loaders.beir import MIRROR
from rankstone.benchmarks.prepared import find_copy
from rankstone.benchmarks.store import ask_loader
from rankstone.errors import MissingExtraError, RankstoneError
from rankstone.specs import Counts, TaskSpec

State = Literal[
    "prepared",
    "at hand",
    "embedded",
    "judgements",
    "to fetch",
    "not public",
    "missing",
    "extra missing",
    "see below",
]
STYLES: dict[State, str] = {
    "prepared": "green",
    "at hand": "cyan",
    "embedded": "cyan",
    "judgements": "cyan",
    "to fetch": "yellow",
    "not public": "magenta",
    "missing": "dim",
    "extra missing": "yellow",
    "see below": "bold red",
}
MEANINGS: dict[State, str] = {
    "prepared": "converted in the cache; runs begin at once",
    "at hand": "found as files; the first run converts it",
    "embedded": "built from this Python's standard library",
    "judgements": "judgements alone, at hand: they score run files (rankstone score RUN --on TASK)",
    "to fetch": "downloaded by the first run, or by rankstone data prepare TASK",
    "not public": "cannot be downloaded; below stands how to come by it",
    "missing": "nowhere: name the folder that holds it with --data DIR (RANKSTONE_DATA)",
    "extra missing": "needs a library that is not installed",
    "see below": "cannot be run as it is",
}
EMBEDDED = "stdlib"
FILES = ("beir", "plain")
"""Loaders that read files and fetch nothing."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One task's line."""

    task: TaskSpec
    state: State
    counts: Counts
    """As pinned; where nothing is pinned, as prepared."""
    detail: str = ""
    """Why it is not to be had."""


def entry(task: TaskSpec, sources: Sources) -> Entry:
    """What there is of `task`. Reads no data, and asks no server."""
    try:
        if isinstance(ask_loader(task, sources), RawJudgements):
            return Entry(task=task, state="judgements", counts=task.counts)
        copy = find_copy(task, sources)
        stored = copy.counts()
    except RankstoneError as error:
        state, detail = _absence(task, error)
        return Entry(task=task, state=state, counts=task.counts, detail=detail)
    pinned = task.counts.model_dump(exclude_none=True)
    counts = stored.model_copy(update=pinned)
    if copy.ready:
        return Entry(task=task, state="prepared", counts=counts)
    return Entry(task=task, state=_presence(task, copy.source), counts=counts)


def at_hand(task: TaskSpec, sources: Sources) -> bool:
    """Whether `task` runs, or scores run files, without fetching anything."""
    return entry(task, sources).state in ("prepared", "at hand", "embedded", "judgements")


def _presence(task: TaskSpec, source: str) -> State:
    if task.loader == EMBEDDED:
        return "embedded"
    reads_files = task.loader in FILES or source.startswith("files:")
    here = all(part.startswith(MIRROR) for part in source.split(", ")) or Path(source).exists()
    return "at hand" if reads_files or here else "to fetch"


def _absence(task: TaskSpec, error: RankstoneError) -> tuple[State, str]:
    if isinstance(error, MissingExtraError):
        return "extra missing", f"Install: pip install 'rankstone[{error.extra}]'"
    if "not public" in str(error):
        return "not public", str(error)
    if task.loader == FILES[0]:
        return "missing", ""
    return "see below", str(error)


def render(entries: Sequence[Entry], sources: Sources) -> RenderableType:
    """A table, what its states mean, and what to do about tasks that are not to be had."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("task", overflow="fold")
    for name in ("documents", "queries", "judgements"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("data", no_wrap=True)
    for one in entries:
        state = Text(one.state, style=STYLES[one.state])
        table.add_row(one.task.name, *_figures(one), state)
    legend = Table(box=None, show_header=False, pad_edge=False)
    used = {one.state for one in entries}
    for known, meaning in MEANINGS.items():
        if known in used:
            legend.add_row(Text(known, style=STYLES[known]), meaning)
    data = str(sources.data) if sources.data else "not named (--data DIR, RANKSTONE_DATA)"
    places = Table(box=None, show_header=False, pad_edge=False)
    places.add_row("data folder", Text(data, overflow="fold"))
    places.add_row("cache", Text(str(sources.cache), overflow="fold"))
    return Group(table, legend, *_details(entries), Text(), places)


def _figures(one: Entry) -> list[str]:
    """How many documents, queries and judgements; a task judged by answers has none of the last."""
    counts = ["·" if n is None else f"{n:,}" for n in one.counts.model_dump().values()]
    return [*counts[:2], "answers"] if one.task.judge == "answers" else counts


def _details(entries: Sequence[Entry]) -> list[RenderableType]:
    """What is to be said of single tasks; what is the same of several is said once."""
    names: dict[str, list[str]] = {}
    for one in entries:
        if one.detail:
            names.setdefault(one.detail, []).append(one.task.name)
    lines: list[RenderableType] = []
    for detail, tasks in names.items():
        lines += [Text(), Text(", ".join(tasks), style="bold")]
        lines.append(Padding(Text(detail), (0, 0, 0, 2)))
    return lines
