"""Natural Questions in DPR's form: Wikipedia passages, and questions with answers.

    <data>/nq/dpr/psgs_w100.tsv         columns id, text, title: 21,015,324 passages
    <data>/nq/dpr/<questions>           one of `QUESTIONS`, or your own file in the same form
    <data>/nq/dpr/corpus.jsonl ...      or all of it in BEIR layout, plain or as nq/dpr.tar.zst

Missing files are downloaded. Two versions of the 3,610 test questions are in use, and the choice
changes the numbers: DPR's own `nq-test.qa.csv`, whose questions and answers have spaces around
punctuation ("May 18 , 2018", "28.0. 0.137"), and NQ-open, with the original punctuation. Lucene's
BM25 (k1 = 0.9, b = 0.4) answers .6294 of the former and .6399 of the latter in its first 20
passages (castorini/anserini, pull request 1554).
"""

from __future__ import annotations

import ast
import csv
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rankstone.benchmarks.dataset import Document, Query, RawDataset, Sources
from rankstone.benchmarks.loaders import beir
from rankstone.benchmarks.readers.jsonl import records
from rankstone.benchmarks.readers.lines import fault, numbered_lines, tab_fields, without_comments
from rankstone.benchmarks.storage.atomic_folders import inside
from rankstone.benchmarks.storage.download import Remote, fetch
from rankstone.errors import DefinitionError, did_you_mean
from rankstone.files import stamp
from rankstone.progress import Progress, silent
from rankstone.specs import TaskSpec, canonical_digest
from rankstone.text_files import PACKED_ENDINGS, plain_name

_DPR = "https://dl.fbaipublicfiles.com/dpr"
_GITHUB = "https://raw.githubusercontent.com"
_TOPICS = f"{_GITHUB}/castorini/anserini-tools/5b819c1a45c8a0a3ec9426f476694f44a29dfaf3/topics"
_NQ = f"{_GITHUB}/google-research-datasets/natural-questions"

# Checksum and size as ir_datasets pins them (dpr-w100/docs).
PASSAGES = Remote(
    url=f"{_DPR}/wikipedia_split/psgs_w100.tsv.gz",
    md5="612fe66e0b6b41ee28f806140226c563",
    size=4_694_541_059,
)
_DPR_QUESTIONS: dict[str, Any] = {
    "sha256": "480cfe1d5b81bedd879ffe7c6a9ec294d317811e71c44daabfe242ca9d719d46",
    "size": 296_949,
}
QUESTIONS = {
    "nq-test.qa.csv": Remote(url=f"{_DPR}/data/retriever/nq-test.qa.csv", **_DPR_QUESTIONS),
    # The same file on Anserini's server.
    "topics.dpr.nq.test.txt": Remote(url=f"{_TOPICS}/topics.dpr.nq.test.txt", **_DPR_QUESTIONS),
    # NQ-open's dev split in DPR's order, with quotes doubled in the answers to 32 questions.
    "topics.nq.test.txt": Remote(
        url=f"{_TOPICS}/topics.nq.test.txt",
        sha256="2873bfca090c67659ae9b1a1488634ccf8778805659b72a7cdb29f2cc900a415",
        size=292_013,
    ),
    "NQ-open.dev.jsonl": Remote(
        url=f"{_NQ}/fb26a3073b1fe636c97302890a27b491d6530130/nq_open/NQ-open.dev.jsonl",
        sha256="f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616",
        size=391_316,
    ),
}
HEADER = ["id", "text", "title"]


class _File(NamedTuple):
    """A file in the data folder, or one that is downloaded when it is first read."""

    file_path: Path
    source: str
    """Name in the record, without the path of the mirror."""
    remote: Remote | None = None
    progress: Progress = silent

    def path(self) -> Path:
        if self.remote is None:
            return self.file_path
        return fetch(self.remote, self.file_path, self.progress)

    def fingerprint(self) -> list[Any]:
        if (pinned := self.remote) is not None:
            return [pinned.url, pinned.md5, pinned.sha256, pinned.size]
        return stamp(self.file_path)


def load(
    task: TaskSpec, sources: Sources, *, questions: str = "nq-test.qa.csv", folder: str = "nq/dpr"
) -> RawDataset:
    """Return the passages, and the questions of one file of `folder` in the data folder.

    The id of a question is its position in the file, from 0, as in Pyserini. There are no
    judgements: tasks are judged by answers.

    Raises:
        DefinitionError: `questions` is neither in the data folder nor in `QUESTIONS`.
    """
    mirror = inside(sources.data, folder) if sources.data is not None else None
    if mirror is not None and _is_beir(mirror):
        return beir.load(task, sources, folder=folder)
    downloads = sources.cache / "downloads" / "nq-dpr"

    def remote(name: str, pinned: Remote) -> _File:
        return _File(downloads / name, pinned.url, pinned, sources.progress)

    names = ["psgs_w100.tsv.gz", "psgs_w100.tsv", *(f"psgs_w100.tsv{e}" for e in PACKED_ENDINGS)]
    passages = _find(mirror, folder, names) or remote(names[0], PASSAGES)
    asked = _find(mirror, folder, (questions,))
    if asked is None:
        if questions not in QUESTIONS:
            raise _unknown_questions(task, questions, mirror)
        asked = remote(questions, QUESTIONS[questions])
    return _raw(passages, asked)


def _is_beir(mirror: Path) -> bool:
    return (
        bool(beir.parts_of(mirror, "corpus"))
        or mirror.with_name(f"{mirror.name}.tar.zst").is_file()
    )


def _find(mirror: Path | None, folder: str, names: Sequence[str]) -> _File | None:
    """Return the first of the files that exists in the data folder; None if there is none."""
    if mirror is None:
        return None
    found = (_File(mirror / name, f"{beir.MIRROR}/{folder}/{name}") for name in names)
    return next((file for file in found if file.file_path.is_file()), None)


def _unknown_questions(task: TaskSpec, name: str, mirror: Path | None) -> DefinitionError:
    hint = did_you_mean(name, QUESTIONS) or f" Known: {', '.join(QUESTIONS)}."
    where = f" and there is no {mirror / name}" if mirror is not None else ""
    return DefinitionError(
        f"task '{task.name}': key 'source.questions': '{name}' cannot be downloaded{where}.{hint}"
    )


def _raw(passages: _File, asked: _File) -> RawDataset:
    def locate(what: str, index: int) -> str:
        path, first = (passages, 1) if what == "documents" else (asked, 0)
        lines = islice(_rows(path.path()), first + index, None)
        return f"{path.file_path.name}, line {next(lines)[0]}"

    return RawDataset(
        documents=lambda: read_passages(passages.path()),
        queries=lambda: read_questions(asked.path()),
        judgements=lambda split: (),
        splits=list,
        fingerprint=canonical_digest([passages.fingerprint(), asked.fingerprint()]),
        source=f"{passages.source}, {asked.source}",
        locate=locate,
    )


def read_passages(path: Path) -> Iterator[Document]:
    """Yield the passages of a `psgs_w100.tsv`; like DPR, strip quotes at both ends."""
    for number, row in _rows(path):
        row = tab_fields(row, len(HEADER))
        if len(row) != len(HEADER):
            raise fault(path, number, f"expected 3 columns ({', '.join(HEADER)}), found {len(row)}")
        identifier, text, title = row[0].strip(), row[1], row[2].strip()
        if [identifier, text, title] == HEADER:
            continue
        if not identifier:
            raise fault(path, number, "the id is empty")
        yield Document(identifier, title, text.strip('"'))


def read_questions(path: Path) -> Iterator[Query]:
    """Yield the questions of a file: JSON Lines, by its name, or tab-separated with answers."""
    is_json = plain_name(path.name).endswith((".jsonl", ".json"))
    read = _json_questions if is_json else _listed_questions
    for index, (number, question, answers, identifier) in enumerate(read(path)):
        if not isinstance(question, str) or not question.strip():
            raise fault(path, number, f"expected a question, found {str(question)[:40]!r}")
        if not isinstance(answers, list) or not all(isinstance(a, str) for a in answers):
            raise fault(
                path, number, f"the answers must be a list of strings, found {str(answers)[:40]!r}"
            )
        yield Query(str(index if identifier is None else identifier), question, tuple(answers))


def _json_questions(path: Path) -> Iterator[tuple[int, Any, Any, Any]]:
    for number, record in records(path):
        answers = record.get("answers", record.get("answer"))
        yield number, record.get("question"), answers, record.get("id")


def _listed_questions(path: Path) -> Iterator[tuple[int, Any, Any, None]]:
    for number, row in _rows(path):
        row = tab_fields(row, 2)
        if len(row) != 2:
            raise fault(path, number, f"expected 2 columns (question, answers), found {len(row)}")
        yield number, row[0], _literal(row[1].strip()), None


def _literal(text: str) -> Any:
    """Return the Python literal in `text`, or `text` itself if it is none; nothing is executed."""
    try:
        with warnings.catch_warnings():
            # Invalid escapes in an answer are kept.
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a tab-separated file with optional quotes, with their line numbers."""
    lines: list[int] = []

    def numbered() -> Iterator[str]:
        for number, line in without_comments(
            numbered_lines(path), lambda line: "\t" in line.strip()
        ):
            lines.append(number)
            yield line

    reader = csv.reader(numbered(), delimiter="\t")
    try:
        for row in reader:
            if len(lines) > 1:
                raise fault(path, lines[0], "a quote is not closed")
            yield lines.pop(), row
    except csv.Error as error:
        raise fault(path, lines[0], f"malformed ({error}); is a quote not closed?") from None
