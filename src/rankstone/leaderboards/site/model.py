"""Data model of the site: boards, methods, families, and the paths of pages."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rankstone.errors import RankstoneWarning, ResultsError
from rankstone.leaderboards.curves.sweeps import Step, sweeps
from rankstone.leaderboards.document import Page
from rankstone.leaderboards.frame import leaderboard, measure_order
from rankstone.leaderboards.labels import stem, with_grids
from rankstone.leaderboards.numbers import UNKNOWN, is_known
from rankstone.leaderboards.pages.leaderboard import known_data
from rankstone.leaderboards.trained import labelled, training_tag
from rankstone.results.record import RunRecord
from rankstone.results.selection import family_of
from rankstone.results.side_files import Kind, side_file
from rankstone.results.store import cells
from rankstone.specs import MethodSpec

COLOURS = 12
"""Number of colours and shapes of families, as defined in the stylesheet."""


class Texts(NamedTuple):
    """Texts of queries and documents of a data set, and the judgements."""

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    labels: Mapping[str, Mapping[str, int]]
    """Query -> judged document -> label."""


Look = Callable[[RunRecord, Collection[str], Collection[str]], Texts | str]
"""(record, queries, documents) -> their texts, or the reason why the data set is not available."""


def out_of_reach(record: RunRecord, queries: Collection[str], documents: Collection[str]) -> str:
    """`Look` that has no data sets."""
    return "no data sets were opened"


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One record, as shown on pages."""

    record: RunRecord
    path: Path
    row: Mapping[str, Any]
    """The record's row of the leaderboard frame."""

    @property
    def ok(self) -> bool:
        return self.record.status == "ok"

    @property
    def method(self) -> str:
        return self.record.method.name

    @property
    def plain(self) -> str:
        """Name of the method, after the record's label if there is one."""
        label = self.record.label
        if label and label.startswith(f"{stem(self.method)} "):
            return label
        return f"{label} ({self.method})" if label else self.method

    @property
    def name(self) -> str:
        """The same, marked if the method is trained."""
        return labelled(self.plain, self.record.is_trained)

    @property
    def family(self) -> str:
        return family_of(self.method) or UNKNOWN

    @property
    def machine(self) -> str:
        return self.record.environment.machine

    @property
    def cell(self) -> tuple[str, str]:
        return self.method, self.machine

    @property
    def data(self) -> str:
        return str(self.row["data"]) if is_known(self.row["data"]) else ""

    @property
    def headline(self) -> float | None:
        return None if self.record.headline is None else self.record.headline.mean

    @property
    def failure(self) -> str:
        """First line of the error."""
        return self.record.failure()

    @cached_property
    def page(self) -> str:
        record = self.record
        identity = [record.task.name, self.method, self.machine, self.data]
        state = [] if self.ok else ["failed"]
        return f"records/{slug(*identity[:3], *state, unique=[*identity, *state])}.html"

    def file(self, kind: Kind) -> Path | None:
        """Return the side file of that kind; None if it is missing or was changed."""
        try:
            return side_file(self.record, self.path, kind)
        except ResultsError as error:
            warnings.warn(f"skipped: {error}", RankstoneWarning, stacklevel=2)
            return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """Records of one task on one version of its data, whose quality is comparable."""

    name: str
    """Name of the task, with the digest of its data if there are several versions."""
    task: str
    entries: tuple[Entry, ...]
    """Entries, best first and failures last."""
    stale: tuple[Entry, ...]
    """Failures of cells that also have a successful record."""

    @cached_property
    def page(self) -> str:
        return f"tasks/{slug(self.name, unique=[self.name])}.html"

    @property
    def headline(self) -> str:
        return self.entries[0].record.task.headline

    @cached_property
    def measures(self) -> list[str]:
        """All measures of the records, headline first."""
        names = measure_order(entry.record for entry in self.entries)
        return sorted(names, key=lambda name: name != self.headline)

    @cached_property
    def done(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.ok]


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """Content of all pages."""

    boards: tuple[Board, ...]
    methods: Mapping[str, MethodSpec]
    """Definitions by full name; methods of records may lack one."""
    look: Look = field(default=out_of_reach)
    defined: Mapping[str, Page] = field(default_factory=dict)
    """Name -> page of a leaderboard defined in the workspace, with a table for each task."""

    @property
    def entries(self) -> list[Entry]:
        return [entry for board in self.boards for entry in (*board.entries, *board.stale)]

    @cached_property
    def cells(self) -> dict[tuple[str, str], dict[str, Entry]]:
        """(method, machine) -> name of the board -> entry."""
        found: dict[tuple[str, str], dict[str, Entry]] = {}
        for board in self.boards:
            for entry in board.entries:
                found.setdefault(entry.cell, {})[board.name] = entry
        return found

    @cached_property
    def families(self) -> list[str]:
        return sorted({entry.family for entry in self.entries})

    @cached_property
    def machines(self) -> list[str]:
        return sorted({entry.machine for entry in self.entries})

    @cached_property
    def licences(self) -> list[str]:
        return sorted({self.licence(entry.method) for entry in self.entries})

    @cached_property
    def trainings(self) -> list[str]:
        return sorted({training_tag(entry.record) for entry in self.entries})

    @cached_property
    def sweeps(self) -> dict[str, Step]:
        """Methods with a swept parameter."""
        return sweeps((entry.record for entry in self.entries), self.methods)

    def citation(self, method: str) -> str:
        spec = self.methods.get(method.partition("+")[0])
        return spec.citation if spec is not None else ""

    def colour(self, method: str) -> int:
        return self.families.index(family_of(method) or UNKNOWN) % COLOURS

    def licence(self, method: str) -> str:
        """Return the licence of the weights, or those of a composite method's members."""
        spec = self.methods.get(method)
        return UNKNOWN if spec is None else " + ".join(dict.fromkeys(_licences(spec))) or UNKNOWN

    @cached_property
    def twice(self) -> set[str]:
        """Methods measured on several machines, whose names alone are ambiguous."""
        names = [method for method, _ in self.cells]
        return {name for name in names if names.count(name) > 1}

    def label(self, entry: Entry) -> str:
        name = entry.name
        return f"{name} @{entry.machine}" if entry.method in self.twice else name


def make_site(
    records: Iterable[tuple[RunRecord, Path]],
    methods: Mapping[str, MethodSpec],
    look: Look = out_of_reach,
    defined: Mapping[str, Page] | None = None,
) -> Site:
    """Return the site of these records; their order does not matter."""
    given = list(records)
    shown = with_grids((record for record, _ in given), methods)
    stored = {_key(r): (r, path) for r, (_, path) in zip(shown, given, strict=True)}
    frame = leaderboard([record for record, _ in stored.values()])
    frame = frame.assign(data=known_data(frame))
    boards: dict[tuple[str, str], list[Entry]] = {}
    for row in frame.to_dict("records"):
        failed = row["status"] != "ok"
        record, path = stored[row["task"], row["method"], row["machine"], failed]
        entry = Entry(record=record, path=path, row={str(k): v for k, v in row.items()})
        boards.setdefault((record.task.name, entry.data), []).append(entry)
    tasks = [task for task, _ in boards]
    return Site(
        boards=tuple(
            _board(task, f"{task} · data {data or 'unknown'}" if tasks.count(task) > 1 else task, e)
            for (task, data), e in sorted(boards.items(), key=lambda item: item[0])
        ),
        methods=methods,
        look=look,
        defined=defined or {},
    )


def slug(*parts: str, unique: Sequence[str]) -> str:
    """Return a file name with a digest that is valid on all systems and in URLs."""
    words = "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)
    digest = hashlib.sha256("\0".join(unique).encode()).hexdigest()
    return f"{words[:100]}-{digest[:8]}"


def _key(record: RunRecord) -> tuple[str, str, str, bool]:
    failed = record.status != "ok"
    return record.task.name, record.method.name, record.environment.machine, failed


def _board(task: str, name: str, entries: Sequence[Entry]) -> Board:
    stored = [(entry.record, entry.path) for entry in entries]
    standing = {
        (method, machine): record
        for machine in {entry.machine for entry in entries}
        for (method, _), (record, _) in cells(stored, machine=machine).items()
    }
    stale = [entry for entry in entries if standing[entry.cell] is not entry.record]
    shown = sorted((e for e in entries if e not in stale), key=lambda entry: not entry.ok)
    return Board(name=name, task=task, entries=tuple(shown), stale=tuple(stale))


def _licences(spec: MethodSpec) -> Iterable[str]:
    if spec.licence:
        yield spec.licence
    else:
        for member in spec.members:
            yield from _licences(member)
