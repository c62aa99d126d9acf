"""Converted copies of collections: made once, under a lock, and opened.

See `store` for the layout of their folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rankstone.arrays import Ints
from rankstone.benchmarks.dataset import RawDataset, Sources
from rankstone.benchmarks.filters import FOLDER as COLUMNS
from rankstone.benchmarks.filters import Columns, read_columns, write_columns
from rankstone.benchmarks.judgements import (
    ResolvedSplit,
    every_query,
    pack_answers,
    refuse_unknown_split,
    resolve_split,
)
from rankstone.benchmarks.pins import first_repeat, split_digests
from rankstone.benchmarks.storage.arrow_tables import (
    MappedTable,
    TextTable,
    blocks,
    write_table,
)
from rankstone.benchmarks.storage.atomic_folders import (
    SCHEMA,
    build_once,
    inside,
    read_meta,
    whole,
    write_meta,
)
from rankstone.errors import DataError
from rankstone.progress import Progress
from rankstone.specs import TaskSpec, canonical_digest

FORMER_NAMES = {
    "beir": "rankstone.benchmarks.beir:load",
    "beir_zip": "rankstone.benchmarks.beir_zip:load",
    "retro_chunks": "rankstone.benchmarks.chunks:load",
    "dpr": "rankstone.benchmarks.dpr:load",
    "irds": "rankstone.benchmarks.irds:load",
    "loco_v0": "rankstone.benchmarks.loco:load_v0",
    "loco_v1": "rankstone.benchmarks.loco:load_v1",
    "loco_qmsum": "rankstone.benchmarks.loco:rebuild_qmsum",
    "qrels": "rankstone.benchmarks.qrels:load",
    "stdlib": "rankstone.benchmarks.stdlib:load",
    "plain": "rankstone.benchmarks.plain:load",
    "trec": "rankstone.benchmarks.trec:load",
}
"""Loader names used in the keys of converted copies; they predate the short names."""


def copy_folder(task: TaskSpec, raw: RawDataset, sources: Sources) -> Path:
    """Return the folder of the converted copy; it depends on the source and its arguments."""
    loader = FORMER_NAMES.get(task.loader, task.loader)
    key = canonical_digest([SCHEMA, loader, task.origin, raw.fingerprint])[:16]
    return inside(sources.cache / "datasets", task.dataset) / key


def split_folder(folder: Path, split: str) -> Path:
    """Return the folder of one split inside the folder of the converted copy."""
    return folder / "splits" / quote(split, safe=" ")


def own_folder(folder: Path, task: TaskSpec) -> Path:
    """Return the folder of the task's split, or of all queries if the task is judged by answers."""
    return folder / "answers" if task.judge == "answers" else split_folder(folder, task.split)


@dataclass(frozen=True, kw_only=True)
class Split:
    """One stored split, opened."""

    meta: dict[str, Any]
    judgements: MappedTable
    rows: Ints
    """(n_queries,) rows of the judged queries in the queries table, ascending."""
    self_positions: Ints


class Stored:
    """The converted copy of one data set: converted if necessary, then opened."""

    def __init__(
        self, task: TaskSpec, raw: RawDataset, sources: Sources, progress: Progress
    ) -> None:
        self.task, self.raw, self._progress = task, raw, progress
        self.folder = copy_folder(task, raw, sources)
        build_once(self.folder, whole, self._convert)
        self.metas = {self.folder: _meta(self.folder)}
        """Content of `meta.json` by opened folder."""
        self.documents = MappedTable(self.folder / "corpus.arrow")
        self.queries = MappedTable(self.folder / "queries.arrow")

    @property
    def meta(self) -> dict[str, Any]:
        return self.metas[self.folder]

    def _convert(self, folder: Path) -> None:
        raw, total = self.raw, self.task.counts.documents
        corpus = TextTable(folder / "corpus.arrow", ["id", "title", "text"])
        documents = raw.document_blocks() if raw.document_blocks else blocks(raw.documents())
        self._stream(corpus, documents, "documents", total)
        queries = TextTable(folder / "queries.arrow", ["id", "text", "answers"])
        rows = ((query.id, query.text, pack_answers(query.answers)) for query in raw.queries())
        self._stream(queries, blocks(rows), "queries", None)
        warnings = sorted(raw.warnings)
        if corpus.blank:
            warnings.append(f"{self.task.dataset}: {corpus.blank} documents are empty")
        for table, what in ((corpus, "documents"), (queries, "queries")):
            if table.repaired:
                warnings.append(
                    f"{self.task.dataset}: {table.repaired} values of the {what} held lone "
                    "surrogates; U+FFFD replaces them"
                )
        body = {
            "source": raw.source,
            "fingerprint": raw.fingerprint,
            "corpus": {"count": corpus.rows, "sha256": corpus.sha256},
            "queries": {"count": queries.rows, "sha256": queries.sha256},
            "splits": list(raw.splits()),
            "warnings": warnings,
        }
        write_meta(folder, body)

    def _stream(
        self, table: TextTable, content: Iterable[Any], what: str, total: int | None
    ) -> None:
        label = f"{self.task.dataset}: {what}"
        table.write_blocks(content, lambda done: self._progress(label, done, total))
        if not table.rows:
            raise DataError(
                f"{self.task.dataset}: no {what} in {self.raw.source}. Add them, or fetch it again."
            )
        repeat = first_repeat(table.hashes, MappedTable(table.path))
        if repeat:
            (one, other), rows = repeat
            first, second = (self.raw.locate(what, row) for row in rows)
            fault, mend = (
                (f"the id '{one}' occurs twice", "Remove")
                if one == other
                else (f"the ids '{one}' and '{other}' are the same in a run file", "Rename")
            )
            raise DataError(
                f"{self.task.dataset}: {fault} among the {what}: {first} and {second}. {mend} one."
            )

    def columns(self) -> tuple[Columns, dict[str, str]]:
        """Return the document columns for filters, and the reasons for omitted columns by name."""
        folder = self.folder / COLUMNS
        build_once(folder, whole, self._convert_columns)
        self.metas[folder] = _meta(folder)
        return read_columns(folder), self.metas[folder]["left_out"]

    def _convert_columns(self, folder: Path) -> None:
        left_out = write_columns(folder, self.documents, self.raw.metadata)
        write_meta(folder, {"left_out": left_out})

    def own_split(self) -> Split:
        """Return the task's split, or all queries if the task is judged by answers."""
        if self.task.judge == "judgements":
            return self.split(self.task.split)
        folder = own_folder(self.folder, self.task)
        build_once(folder, whole, self._convert_all_queries)
        return self._opened(folder)

    def split(self, name: str) -> Split:
        """Return the split `name`, converted if necessary; DataError if there is none."""
        folder = split_folder(self.folder, name)
        build_once(folder, whole, lambda target: self._convert_split(name, target))
        return self._opened(folder)

    def _opened(self, folder: Path) -> Split:
        judged = MappedTable(folder / "queries.arrow")
        self.metas[folder] = _meta(folder)
        return Split(
            meta=self.metas[folder],
            judgements=MappedTable(folder / "judgements.arrow"),
            rows=judged.integers("row"),
            self_positions=judged.integers("self_position"),
        )

    def _convert_split(self, name: str, folder: Path) -> None:
        refuse_unknown_split(self.task.dataset, name, self.meta["splits"])
        where = f"{self.task.dataset}: judgements of the split '{name}' ({self.raw.source})"
        rows = self.raw.judgements(name)
        found = resolve_split(rows, self.documents, self.queries, where)
        excluded = self.raw.excluded_labels(name)
        self._write_split(found, folder, sorted(excluded))

    def _convert_all_queries(self, folder: Path) -> None:
        packed = self.queries.rows("answers", 0, len(self.queries))
        without = [row for row, answers in enumerate(packed) if not answers]
        if without:
            raise DataError(
                f"{self.task.name}: {len(without)} queries have no answers; the "
                f"first is {self.raw.locate('queries', without[0])}. Add answers (a list of "
                "strings as metadata.answers), or judge the task by judgements."
            )
        self._write_split(every_query(self.documents, self.queries), folder)

    def _write_split(
        self, found: ResolvedSplit, folder: Path, excluded: Sequence[int] = ()
    ) -> None:
        write_table(folder / "judgements.arrow", found.judgements)
        write_table(folder / "queries.arrow", found.queries)
        judgements = MappedTable(folder / "judgements.arrow")
        judged = found.queries.column("row").to_numpy()
        extra = sorted(self.raw.warnings - set(self.meta["warnings"]))
        body = {
            "sha256": split_digests(self.task, judgements, judged, self.queries),
            "counts": {"queries": len(judged), "judgements": len(judgements)},
            **({"n_repeated": found.n_repeated} if found.n_repeated else {}),
            "warnings": [*extra, *found.warnings],
        }
        write_meta(folder, {**body, "excluded_labels": list(excluded)} if excluded else body)


def _meta(folder: Path) -> dict[str, Any]:
    meta = read_meta(folder)
    if meta is None:
        raise DataError(f"{folder}: damaged while it was opened. Delete it and run again.")
    return meta
