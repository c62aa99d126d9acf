"""Availability of a task's data: prepared, found as files, to be downloaded, or missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rankstone.benchmarks.dataset import RawJudgements, Sources
from rankstone.benchmarks.loaders.beir import MIRROR
from rankstone.benchmarks.prepared import find_copy
from rankstone.benchmarks.store import ask_loader
from rankstone.errors import MissingExtraError, RankstoneError
from rankstone.specs import Counts, TaskSpec

State = Literal[
    "prepared", "available", "embedded", "judgements", "to fetch", "not public", "missing",
    "extra missing", "see below",
]  # fmt: skip
MEANINGS: dict[State, str] = {
    "prepared": "converted in the cache; runs begin at once",
    "available": "found as files; the first run converts it",
    "embedded": "built from this Python's standard library",
    "judgements": "judgements only; they score run files (rankstone score RUN --on TASK)",
    "to fetch": "downloaded by the first run, or by rankstone data prepare TASK",
    "not public": "cannot be downloaded; the instructions are below",
    "missing": "not found: name the folder that holds it with --data DIR (RANKSTONE_DATA)",
    "extra missing": "needs a library that is not installed",
    "see below": "cannot be run as it is",
}
EMBEDDED = "stdlib"
FILES = ("beir", "plain")
"""Loaders that only read local files."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """State and size of the data of one task."""

    task: TaskSpec
    state: State
    counts: Counts
    """Pinned counts; the prepared counts if none are pinned."""
    detail: str = ""
    """Reason why the data is missing."""

    @property
    def meaning(self) -> str:
        """The state in words."""
        return MEANINGS[self.state]


def entry(task: TaskSpec, sources: Sources) -> Entry:
    """Return the state of the data of `task`, without reading data or contacting a server."""
    try:
        raw = ask_loader(task, sources)
        if isinstance(raw, RawJudgements):
            state: State = "judgements" if raw.present() else "to fetch"
            return Entry(task=task, state=state, counts=task.counts)
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


def is_available(task: TaskSpec, sources: Sources) -> bool:
    """Return True if `task` can be run, or can score run files, without a download."""
    return entry(task, sources).state in ("prepared", "available", "embedded", "judgements")


def _presence(task: TaskSpec, source: str) -> State:
    if task.loader == EMBEDDED:
        return "embedded"
    reads_files = task.loader in FILES or source.startswith("files:")
    here = all(part.startswith(MIRROR) for part in source.split(", ")) or Path(source).exists()
    return "available" if reads_files or here else "to fetch"


def _absence(task: TaskSpec, error: RankstoneError) -> tuple[State, str]:
    if isinstance(error, MissingExtraError):
        return "extra missing", f"Install: pip install 'rankstone[{error.extra}]'"
    if "not public" in str(error):
        return "not public", str(error)
    if task.loader == FILES[0]:
        return "missing", ""
    return "see below", str(error)
