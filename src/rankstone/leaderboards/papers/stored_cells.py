"""A record with what lies beside it: its run, values and times per query, judgements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.arrays import Floats
from rankstone.errors import ResultsError
from rankstone.evaluation.conventions.rules import Rules
from rankstone.evaluation.conventions.scores import ordered
from rankstone.results.per_query import read_latency, read_per_query
from rankstone.results.record import RunRecord
from rankstone.results.side_files import Kind, needed_file, side_file
from rankstone.results.trec_run import read_run

PROTOCOL = Rules()
Relevant = Callable[[RunRecord], Mapping[str, list[str]]]
"""A record -> the relevant documents of each query of its task."""


def unopened(record: RunRecord) -> Mapping[str, list[str]]:
    """A `Relevant` without data sets."""
    raise ResultsError(f"{record.task.name}: its judgements were not opened.")


class Cell:
    """A record with what lies beside it."""

    def __init__(self, record: RunRecord, path: Path, relevant: Relevant = unopened) -> None:
        self.record = record
        self._path = path
        self._relevant = relevant

    @property
    def name(self) -> str:
        return f"{self.record.method.name} on {self.record.task.name}"

    def measure(self, name: str) -> dict[str, float]:
        """Query id -> value."""
        read = read_per_query(self._file("per_query"))
        if name not in read.measures:
            raise ResultsError(f"{self.name}: '{name}' was not measured per query.")
        return dict(zip(read.query_ids, read.measures[name].tolist(), strict=True))

    @cached_property
    def rankings(self) -> dict[str, list[str]]:
        """Query id -> document ids, best first, as the protocol orders ties."""
        run = ordered(read_run(self._file("run")), PROTOCOL.order, PROTOCOL.score_dtype)
        docs = np.array(run.document_ids, dtype=object)[run.document]
        ends = np.searchsorted(run.query, np.arange(len(run.query_ids) + 1))
        return {
            query: docs[ends[n] : ends[n + 1]].tolist() for n, query in enumerate(run.query_ids)
        }

    @cached_property
    def relevant(self) -> Mapping[str, list[str]]:
        """Query id -> ids of its relevant documents."""
        return self._relevant(self.record)

    @cached_property
    def unseen(self) -> set[str] | None:
        """Queries whose relevant documents training did not see; None where that is not stored."""
        read = read_per_query(self._file("per_query"))
        if read.unseen is None:
            return None
        return {q for q, apart in zip(read.query_ids, read.unseen, strict=True) if apart}

    def latencies(self, part: str) -> Floats | None:
        """Milliseconds of each timed query in `encode`, `search` or both; None if not stored."""
        path = side_file(self.record, self._path, "latency")
        if path is None:
            return None
        raw = read_latency(path)
        given = {"encode": raw.encode_ms, "search": raw.search_ms}
        return given.get(part, raw.encode_ms + raw.search_ms)

    def figure(self, name: str) -> float:
        """A number of the record by its path: `profile.index.memory_bytes`."""
        value: Any = self.record.model_dump(mode="json")
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ResultsError(f"{self.name}: the record has no number '{name}'.")
        return float(value)

    @property
    def cells(self) -> Sequence[Cell]:
        """Cells of several tasks, or this one."""
        return [self]

    def point(self, figure: str) -> tuple[float, float]:
        """Return (tokens, `figure`) per text, of one phase: `profile.phases.<phase>.cpu_s`."""
        phase = figure.rpartition(".")[0]
        if self.figure(f"{phase}.from_cache"):
            raise ResultsError(
                f"{self.name}: {phase} was read from a cache. Run it again with another: --cache"
            )
        items = self.figure(f"{phase}.items")
        if not items:
            raise ResultsError(f"{self.name}: {phase} was of no text.")
        return self.figure(f"{phase}.tokens") / items, self.figure(figure) / items

    def _file(self, kind: Kind) -> Path:
        return needed_file(self.record, self._path, kind)


class Several(Cell):
    """Cells, with the record of the first."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        first = cells[0]
        super().__init__(first.record, first._path, first._relevant)
        self._cells = cells


class Folds(Several):
    """The cells of all folds of a task, whose values per query count as those of one."""

    def measure(self, name: str) -> dict[str, float]:
        found = [cell.measure(name) for cell in self._cells]
        joined = {query: value for values in found for query, value in values.items()}
        if len(joined) < sum(map(len, found)):
            raise ResultsError(f"{self.name}: folds share queries. Run them again.")
        return joined

    @cached_property
    def unseen(self) -> set[str] | None:
        found = [cell.unseen for cell in self._cells]
        known = [queries for queries in found if queries is not None]
        return set[str]().union(*known) if len(known) == len(found) else None


class Lengths(Several):
    """The cells of tasks whose texts differ in length."""

    @property
    def cells(self) -> Sequence[Cell]:
        return self._cells
