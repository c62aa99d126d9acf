"""LoCo, the long-context retrieval benchmark (Saad-Falcon et al. 2024, arXiv:2402.07440).

The rules follow the authors' code, github.com/HazyResearch/m2, folder `bert`:

* V1 (`src/embeddings/create_LoCo.py` at 14c4e31, `load_loco_from_hf`): queries and documents are
  the rows of two hub tables whose `dataset` is the task; every id in `answer_pids` has label 1;
  titles are empty; there are no prefixes or instructions; QASPER's rows with a null passage are
  left out, with their queries.
* V0 (the same file at 7a50df4, and `loco_eval.py` there): the n-th row gives `Passage_n` and
  `Query_n`, relevant to each other, and documents are not de-duplicated. SCROLLS tasks use the
  validation split, with `input` as the document and `output` as the query. QASPER uses the test
  split, with the full text as the document, and the title or the abstract as the query.

Deviation: a query is left out if all its answers are null passages (in the authors' code, if the
passage with its own number is null). If an id repeats with another text, the last row counts, with
a warning.

The store first uses a collection in BEIR layout in the data folder, under the data set's name
(`loco/qmsum`). This loader then looks for copies of the hub repositories' files in the data folder
(`loco/LoCoV1-Queries`, `loco/LoCoV1-Documents`, `loco/scrolls/<subset>`, `loco/qasper`), then on
the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.benchmarks.loaders.beir import MIRROR
from rankstone.benchmarks.loaders.hub import (
    HubTable,
    Row,
    file_rows,
    hub_rows,
    local_files,
    open_table,
)
from rankstone.benchmarks.readers.jsonl import records_in
from rankstone.benchmarks.readers.lines import numbered_lines
from rankstone.benchmarks.storage.atomic_folders import inside
from rankstone.errors import DataError
from rankstone.files import stamp
from rankstone.specs import TaskSpec, canonical_digest
from rankstone.text_files import opened

QUERIES, DOCUMENTS = "hazyresearch/LoCoV1-Queries", "hazyresearch/LoCoV1-Documents"
SCROLLS, QASPER = "tau/scrolls", "allenai/qasper"
QUERY_COLUMNS = ("dataset", "qid", "query", "answer_pids")
DOCUMENT_COLUMNS = ("dataset", "pid", "passage")


def load_v1(
    task: TaskSpec,
    sources: Sources,
    *,
    subset: str,
    queries_revision: str,
    documents_revision: str,
    queries: str = QUERIES,
    documents: str = DOCUMENTS,
) -> RawDataset:
    """Return one of the 12 tasks of LoCoV1: the rows of both tables whose `dataset` is `subset`.

    Raises, when the data is read:
        DataError: the hub cannot be reached, the source is gone, or its content is not as expected.
        MissingExtraError: there is no local copy, and the library `datasets` is not installed.
    """
    asked = HubTable(repository=queries, revision=queries_revision, split="test")
    held = HubTable(repository=documents, revision=documents_revision, split="test")
    tables = _V1(
        subset=subset,
        queries=_Table(sources, asked, "loco/LoCoV1-Queries", QUERY_COLUMNS),
        documents=_Table(sources, held, "loco/LoCoV1-Documents", DOCUMENT_COLUMNS),
    )
    return RawDataset(
        documents=tables.read_documents,
        queries=tables.read_queries,
        judgements=tables.read_judgements,
        splits=lambda: ["test"],
        fingerprint=canonical_digest([tables.queries.fingerprint, tables.documents.fingerprint]),
        source=f"{tables.queries.source}, {tables.documents.source}",
        warnings=tables.warnings,
    )


def load_v0(
    task: TaskSpec,
    sources: Sources,
    *,
    subset: str,
    revision: str,
    query: str = "output",
    repository: str | None = None,
) -> RawDataset:
    """Return one of the 5 tasks of LoCo V0: a subset of SCROLLS, or `qasper`, whose queries are the
    column `query` (`title` or `abstract`).

    Raises: as `load_v1`.
    """
    if subset == "qasper":
        hub = HubTable(repository=repository or QASPER, revision=revision, split="test")
        table = _Table(sources, hub, "loco/qasper", ("full_text", query))
        pairs = _qasper_pairs
    else:
        file = f"{subset}.zip/{subset}/validation.jsonl"
        hub = HubTable(
            repository=repository or SCROLLS, revision=revision, split="validation", file=file
        )
        table = _Table(sources, hub, f"loco/scrolls/{subset}", ("input", query))
        pairs = _scrolls_pairs
    warnings = set(table.warnings)
    return _paired(
        lambda: pairs(table.rows(), query, warnings),
        split=hub.split,
        fingerprint=canonical_digest([table.fingerprint, query]),
        source=table.source,
        warnings=warnings,
    )


def rebuild_qmsum(
    task: TaskSpec, sources: Sources, *, folder: str, split: str = "val"
) -> RawDataset:
    """Return LoCo V0's qmsum from QMSum's own meetings (github.com/Yale-LILY/QMSum), not SCROLLS.

    Reads `<split>.jsonl` below `folder` of the data folder (`data/ALL/jsonl` in the repository),
    one meeting per line, or else the folder `data/ALL/<split>` of single JSON files. As in SCROLLS
    (arXiv:2201.03533), every query gives a row, general queries first: `input` is the query, an
    empty line and the transcript, one `speaker: content` per line; `output` is the answer. SCROLLS'
    validation split is QMSum's `val`.

    Raises:
        DataError: the files are missing, or (when they are read) contain no meetings.
    """
    files = _meeting_files(task, sources, folder, split)
    return _paired(
        lambda: _meeting_pairs(files),
        split=task.split,
        fingerprint=canonical_digest([stamp(path) for path in files]),
        source=f"{MIRROR}/{folder}",
        warnings=set(),
    )


class _Table:
    """Rows of one table, from its local copy if there is one, else from the hub."""

    def __init__(
        self, sources: Sources, hub: HubTable, folder: str, columns: tuple[str, ...]
    ) -> None:
        self._sources, self._hub, self._columns = sources, hub, columns
        self._files = local_files(sources, folder, hub.split)
        self.path = f"{sources.data}/{folder}" if self._files else hub.source
        """Path for messages; records contain `source`, without the path of the mirror."""
        self.source = f"{MIRROR}/{folder}" if self._files else hub.source
        self.warnings = set() if self._files else hub.warnings
        self.fingerprint = canonical_digest([stamp(path) for path in self._files] or hub.source)

    def rows(self) -> Iterator[Row]:
        if self._files:
            return file_rows(self._files, self._columns)
        return hub_rows(self._opened, self.source)

    @cached_property
    def _opened(self) -> Any:
        return open_table(self._hub, self._columns, self._sources)


class _V1:
    """Rows of one task in the two tables of LoCoV1."""

    def __init__(self, *, subset: str, queries: _Table, documents: _Table) -> None:
        self._subset = subset
        self.queries, self.documents = queries, documents
        self.warnings = queries.warnings | documents.warnings

    def read_documents(self) -> Iterator[Document]:
        found = lambda: (  # noqa: E731
            (where, Document(_id(row, "pid", where), "", _text(row, "passage", where)))
            for where, row in self._own(self.documents)
            if _id(row, "pid", where) not in self._null_passages
        )
        return _distinct(found, "documents", self.warnings)

    def read_queries(self) -> Iterator[Query]:
        found = lambda: (  # noqa: E731
            (where, Query(_id(row, "qid", where), _text(row, "query", where)))
            for where, row in self._asked()
        )
        return _distinct(found, "queries", self.warnings)

    def read_judgements(self, split: str) -> Iterator[Judgement]:
        for where, row in self._asked():
            for pid in row["answer_pids"]:
                yield Judgement(_id(row, "qid", where), pid.strip(), 1)

    @cached_property
    def _null_passages(self) -> frozenset[str]:
        """Return the ids of documents that are left out; only QASPER may have any."""
        if not self._subset.startswith("qasper"):
            return frozenset()
        rows = self._own(self.documents)
        null = frozenset(_id(row, "pid", where) for where, row in rows if row["passage"] is None)
        if null:
            self.warnings.add(
                f"{self.documents.source}: {len(null)} null passages of {self._subset} are left "
                "out with their queries"
            )
        return null

    def _asked(self) -> Iterator[Row]:
        """Yield the rows of the queries that are kept."""
        for where, row in self._own(self.queries):
            answers = row["answer_pids"]
            if not isinstance(answers, list) or not all(isinstance(pid, str) for pid in answers):
                raise DataError(
                    f"{where}: wrong content: 'answer_pids' must be a list of ids, "
                    f"found {str(answers)[:40]}. Fetch it again."
                )
            if not answers or not self._null_passages.issuperset(map(str.strip, answers)):
                yield where, row

    def _own(self, table: _Table) -> Iterator[Row]:
        names: set[str] = set()
        for where, row in table.rows():
            names.add(str(row["dataset"]))
            if row["dataset"] == self._subset:
                yield where, row
        if self._subset not in names:
            raise DataError(
                f"{table.path}: wrong content: no row has the dataset '{self._subset}'. "
                f"It has: {', '.join(sorted(names)) or 'no rows'}. Fetch it again."
            )


RecordT = TypeVar("RecordT", Document, Query)


def _distinct(
    found: Callable[[], Iterable[tuple[str, RecordT]]], what: str, warnings: set[str]
) -> Iterator[RecordT]:
    """Yield the last record of each id; `found` streams all of them, and is called twice."""
    last = dict[str, tuple[int, int]]()
    n_repeats, changed = 0, dict[str, str]()
    for row, (where, record) in enumerate(found()):
        content = hash(record)
        if record.id in last:
            n_repeats += 1
            if last[record.id][1] != content:
                changed[record.id] = where
        last[record.id] = row, content
    if n_repeats:
        warnings.add(f"{n_repeats} repeated {what} count once")
    if changed:
        id, where = next(iter(changed.items()))
        warnings.add(
            f"{len(changed)} ids of {what} repeat with another text, such as '{id}' ({where}); the "
            "last row counts, as in the authors' code"
        )
    yield from (record for row, (_, record) in enumerate(found()) if last[record.id][0] == row)


Pair = tuple[int, str, str]
"""Row number, text of the document, text of the query."""


def _paired(
    pairs: Callable[[], Iterator[Pair]],
    *,
    split: str,
    fingerprint: str,
    source: str,
    warnings: set[str],
) -> RawDataset:
    """Return a collection in the form of V0: the n-th query is relevant to the n-th document."""
    return RawDataset(
        documents=lambda: (Document(f"Passage_{n}", "", text) for n, text, _ in pairs()),
        queries=lambda: (Query(f"Query_{n}", query) for n, _, query in pairs()),
        judgements=lambda _: (Judgement(f"Query_{n}", f"Passage_{n}", 1) for n, _, _ in pairs()),
        splits=lambda: [split],
        fingerprint=fingerprint,
        source=source,
        warnings=warnings,
    )


def _scrolls_pairs(rows: Iterable[Row], query: str, warnings: set[str]) -> Iterator[Pair]:
    for number, (where, row) in enumerate(rows):
        yield number, _text(row, "input", where), _text(row, query, where)


def _qasper_pairs(rows: Iterable[Row], query: str, warnings: set[str]) -> Iterator[Pair]:
    n_empty = 0
    for number, (where, row) in enumerate(rows):
        text = _full_text(row["full_text"], where)
        n_empty += not text
        yield number, text, _text(row, query, where)
    if n_empty:
        warnings.add(f"{n_empty} papers of QASPER have no full text; they are empty documents")


def _full_text(sections: Any, where: str) -> str:
    """Return the section names and paragraphs of a paper; each name is on its own line, the
    paragraphs of its section on the next, separated by spaces."""
    if sections is None:
        return ""
    try:
        pairs = list(zip(sections["section_name"], sections["paragraphs"], strict=True))
        lines = [line for name, texts in pairs for line in (name, " ".join(texts))]
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(
            f"{where}: wrong content: 'full_text' must hold as many 'paragraphs' (lists of texts) "
            f"as 'section_name' ({error}). Fetch it again."
        ) from None
    return "\n".join(line for line in lines if line is not None).strip()


def _meeting_files(task: TaskSpec, sources: Sources, folder: str, split: str) -> list[Path]:
    root = inside(sources.data_folder(folder, task), folder)
    for parent in (root, root / "data" / "ALL" / "jsonl"):
        if (parent / f"{split}.jsonl").is_file():
            return [parent / f"{split}.jsonl"]
    for parent in (root, root / "data" / "ALL"):
        files = sorted((parent / split).glob("*.json"))
        if files:
            return files
    raise DataError(
        f"{task.name}: no meetings found. Looked for {split}.jsonl and {split}/*.json in {root} "
        "and in its data/ALL. Clone github.com/Yale-LILY/QMSum there."
    )


def _meetings(files: list[Path]) -> Iterator[Row]:
    for path in files:
        if path.suffix == ".json":
            with opened(path) as file:
                lines = iter([(1, file.read().decode("utf-8"))])
        else:
            lines = numbered_lines(path)
        for number, record in records_in(lines, path):
            yield f"{path}, line {number}", record


def _meeting_pairs(files: list[Path]) -> Iterator[Pair]:
    number = 0
    for where, meeting in _meetings(files):
        try:
            turns = [(turn["speaker"], turn["content"]) for turn in meeting["meeting_transcripts"]]
            asked = [*meeting["general_query_list"], *meeting["specific_query_list"]]
            texts = [(item["query"], item["answer"]) for item in asked]
        except (TypeError, KeyError) as error:
            raise DataError(
                f"{where}: wrong content: no meeting in QMSum's form ({error!r}). Fetch it again."
            ) from None
        transcript = "\n".join(f"{speaker}: {content}" for speaker, content in turns)
        for query, answer in texts:
            yield number, f"{query}\n\n{transcript}", answer
            number += 1


def _id(row: dict[str, Any], key: str, where: str) -> str:
    """Return an id without surrounding white space."""
    return _text(row, key, where).strip()


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row[key]
    if isinstance(value, str):
        return value
    raise DataError(
        f"{where}: wrong content: '{key}' must be a string, found {str(value)[:40]}. "
        "Fetch it again."
    )
