"""Data sets on the hub in MTEB's layout: tables of documents, queries and judgements.

    load(task, sources, repository="mteb/scifact", revision=COMMIT, language="de")

Columns may have any of the usual names: `_id`, `id`, `doc_id`, ...; `text`, `contents`, ...;
`query-id`, `corpus-id` and `score`, ...; a title is optional. Files are parquet or JSON Lines,
judgements also tab-separated. As in MTEB, only judged queries are run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.benchmarks.loaders.hub import ENDINGS, Row, file_rows
from rankstone.benchmarks.loaders.hub_tables import HubDataSet, Role, Table
from rankstone.benchmarks.loaders.trec import TEXT_KEYS
from rankstone.benchmarks.readers import topics
from rankstone.benchmarks.readers.qrels import QRELS_HEADER, label_of, read_judgements
from rankstone.benchmarks.readers.rows import ID_KEYS
from rankstone.errors import DataError, DefinitionError
from rankstone.hub import COMMIT
from rankstone.specs import TaskSpec, canonical_digest
from rankstone.text_files import plain_name

QUERY_KEYS = (QRELS_HEADER[0], "query_id", "qid", "queryid", "query")
DOCUMENT_KEYS = (QRELS_HEADER[1], "corpus_id", "doc_id", "docid", "docno", "pid", "document_id")
LABEL_KEYS = (QRELS_HEADER[2], "relevance", "label", "rel")
READ = {*ID_KEYS, *QUERY_KEYS, *DOCUMENT_KEYS, *LABEL_KEYS, *TEXT_KEYS, *topics.TEXT_KEYS, "title"}
"""Columns that are read from a parquet file if they exist."""


def load(
    task: TaskSpec,
    sources: Sources,
    *,
    repository: str,
    revision: str,
    language: str | None = None,
    corpus: str | None = None,
    queries: str | None = None,
    qrels: str | None = None,
    only: Mapping[str, Any] | None = None,
) -> RawDataset:
    """Return the data set `repository` of the hub at the commit `revision`.

    Args:
        language: prefix of the configurations, as in `de-corpus`.
        corpus, queries, qrels: `CONFIGURATION` or `CONFIGURATION/SPLIT`, if the names are not those
            of MTEB.
        only: column -> value of the rows to read, for tables that contain several collections.

    Raises:
        DefinitionError: `revision` is not a commit.
        MissingExtraError, when the data is read: the hub's client is not installed.
        DataError, when the data is read: it cannot be obtained, or is not in this layout.
    """
    if not COMMIT.fullmatch(revision):
        raise DefinitionError(
            f"task '{task.name}': key 'source.revision': expected a commit of 40 digits, found "
            f"'{revision}'. Branches move; the hub lists commits under 'History'."
        )
    stated: dict[Role, str | None] = {"corpus": corpus, "queries": queries, "qrels": qrels}
    found = _Collection(HubDataSet.named(f"hf:{repository}", repository, revision), task.split,
                        language, stated, only or {})  # fmt: skip
    name = f"hf:{repository}@{revision}"
    fixed = all("/" in (stated[role] or "") for role in ("corpus", "queries"))
    return RawDataset(
        documents=found.documents,
        queries=found.queries,
        judgements=found.judgements,
        splits=lambda: found.splits,
        # A commit is fixed content; the corpus may depend on the split.
        fingerprint=canonical_digest([name, language, stated, None if fixed else task.split]),
        source=f"{name}#lang={language}" if language else name,
        warnings=found.warnings,
    )


class _Collection:
    """The tables of one language; the hub is contacted on first access."""

    def __init__(
        self,
        data_set: HubDataSet,
        split: str,
        language: str | None,
        stated: dict[Role, str | None],
        only: Mapping[str, Any],
    ) -> None:
        self._data_set, self._split, self._language = data_set, split, language
        self._stated, self._only = stated, only
        self.warnings: set[str] = set()

    @cached_property
    def splits(self) -> list[str]:
        return self._data_set.judged_splits(self._language, self._stated["qrels"])

    def documents(self) -> Iterator[Document]:
        for where, row in self._rows("corpus", self._split):
            yield Document(
                _identifier(row, (*ID_KEYS, *DOCUMENT_KEYS), where),
                _text(row, ("title",)),
                _text(row, (_present(row, TEXT_KEYS, where),)),
            )

    def queries(self) -> Iterator[Query]:
        for where, row in self._rows("queries", self._split):
            text = _text(row, (_present(row, topics.TEXT_KEYS, where),))
            yield Query(_identifier(row, (*ID_KEYS, *QUERY_KEYS[:-1]), where), text)

    def judgements(self, split: str) -> Iterator[Judgement]:
        for path in self._files("qrels", split):
            if plain_name(path.name).endswith(".tsv"):
                yield from read_judgements(path)
                continue
            for where, row in self._rows_of(path):
                query = _identifier(row, QUERY_KEYS, where)
                yield Judgement(
                    query, _identifier(row, DOCUMENT_KEYS, where), self._label(row, where)
                )

    def _label(self, row: dict[str, Any], where: str) -> int:
        """Return the label of a judgement; 1 if the table has no labels."""
        key = next((key for key in LABEL_KEYS if key in row), None)
        if key is None:
            self.warnings.add("the judgements have no labels; each counts as relevant with label 1")
            return 1
        label = label_of(str(row[key]))
        if label is None:
            raise DataError(
                f"{where}: the {key} must be an integer, found {row[key]!r}. Fetch it again."
            )
        return label

    def _rows(self, role: Role, split: str) -> Iterator[Row]:
        for path in self._files(role, split):
            yield from self._rows_of(path)

    def _rows_of(self, path: Path) -> Iterator[Row]:
        chosen = tuple(sorted(self._only))
        for where, row in _rows_of(path, chosen):
            if all(row[column] == value for column, value in self._only.items()):
                yield where, row

    def _files(self, role: Role, split: str) -> Sequence[Path]:
        table: Table = self._data_set.table(
            role, language=self._language, split=split, stated=self._stated[role]
        )
        return self._data_set.files(table)


def _rows_of(path: Path, required: tuple[str, ...]) -> Iterator[Row]:
    if not plain_name(path.name).endswith((*ENDINGS, ".json")):
        raise DataError(
            f"{path}: expected files that end in {' or '.join(ENDINGS)}. Name the tables in a"
            " definition (docs/your-data.md)."
        )
    return file_rows([path], required, tuple(sorted(READ - {*required})))


def _present(row: dict[str, Any], keys: Sequence[str], where: str) -> str:
    found = next((key for key in keys if key in row), None)
    if found is None:
        raise DataError(
            f"{where}: no column {' or '.join(map(repr, keys))}; it has {', '.join(row) or 'none'}."
            " Name another configuration."
        )
    return found


def _identifier(row: dict[str, Any], keys: Sequence[str], where: str) -> str:
    """Return an id: a string without surrounding white space, or an integer as a string."""
    key = _present(row, keys, where)
    value = row[key]
    name = str(value).strip() if isinstance(value, str | int) and value is not True else ""
    if not name:
        raise DataError(f"{where}: '{key}' must be an id, found {value!r}. Fetch it again.")
    return name


def _text(row: dict[str, Any], keys: Sequence[str]) -> str:
    """Return a text; an empty string if the value is null or there is no such column."""
    value = next((row[key] for key in keys if row.get(key) is not None), "")
    return value if isinstance(value, str) else str(value)
