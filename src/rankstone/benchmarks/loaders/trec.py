"""Collections in TREC's formats: documents, topics and judgements at three paths.

    load(task, sources, docs=PATH, topics=PATH, qrels=PATH)

Documents: a file, a folder of files (read recursively, in the order of their names), or a pattern
with `*`. Each file holds TREC SGML/XML (`<DOC><DOCNO>`), JSON Lines, or lines `id<TAB>text`, plain
or compressed. For topics see `readers.topics`; judgements have TREC's four columns or BEIR's three.

A `<DOC>` is read like Anserini's TrecCollection does, with one exception. The title is the content
of TITLE, HEADLINE, HEAD, HL and TTL; the text is the content of every TEXT, LP and LEADPARA, in
their order. The text of a document without any of the latter is its whole content, without
identifiers, headers and title. Dates (DATE, DD) are left out, whereas Anserini indexes them. Tags
become blanks.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rankstone.benchmarks.content import content_digest, pinned
from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.benchmarks.readers.lines import fault
from rankstone.benchmarks.readers.qrels import read_judgements
from rankstone.benchmarks.readers.rows import chosen, json_rows, kind_of, tsv_rows
from rankstone.benchmarks.readers.sgml import Element, blocks, elements, plain, tag_pattern, without
from rankstone.benchmarks.readers.topics import read_topics
from rankstone.errors import DataError
from rankstone.files import stamp
from rankstone.specs import TaskSpec, canonical_digest

SPLIT = "test"
"""The only split: three paths are one set of judgements."""
TEXT_KEYS = ("text", "contents", "body", "passage")


_NUMBER = tag_pattern("DOCNO")
_TITLE = tag_pattern("TITLE", "HEADLINE", "HEAD", "HL", "TTL")
_TEXT = tag_pattern("TEXT", "LP", "LEADPARA")
_HEADER = tag_pattern("DOCNO", "DOCHDR", "DOCID", "DOCOLDNO", "URL", "DATE", "DD")


def load(
    task: TaskSpec,
    sources: Sources,
    *,
    docs: str,
    topics: str,
    qrels: str,
    query: str | None = None,
    content: str | None = None,
) -> RawDataset:
    """Return the collection whose documents, topics and judgements are at three paths.

    Args:
        docs, topics, qrels: paths; relative paths start at the data folder.
        query: field of a topic that is the query; by default its title.
        content: `content_of` the paths when the task was named.

    Raises:
        DataError: a path does not exist; or, when the data is read, its content differs from
            `content`.
    """
    files = document_files(_resolved(docs, sources, task))
    asked, judged = (_file(_resolved(path, sources, task)) for path in (topics, qrels))
    warnings: set[str] = set()
    field = "" if query is None else f",query={query}"

    def documents() -> Iterator[Document]:
        return (document for _, _, document in _documents(files, warnings))

    def queries() -> Iterator[Query]:
        return (topic for _, topic in read_topics(asked, warnings, query))

    def judgements(split: str) -> Iterator[Judgement]:
        return read_judgements(judged)

    def locate(what: str, index: int) -> str:
        if what == "queries":
            line, _ = next(islice(read_topics(asked, set(), query), index, None))
            return f"{asked.name}, line {line}"
        path, line, _ = next(islice(_documents(files, set()), index, None))
        return f"{path.name}, line {line}"

    raw = RawDataset(
        documents=documents,
        queries=queries,
        judgements=judgements,
        splits=lambda: [SPLIT],
        fingerprint=canonical_digest([stamp(path) for path in (*files, asked, judged)]),
        source=f"files:docs={docs},topics={topics},qrels={qrels}{field}",
        locate=locate,
        warnings=warnings,
    )
    return pinned(raw, content, lambda: content_of(Path(docs), Path(topics), Path(qrels)))


def content_of(docs: Path, topics: Path, qrels: Path) -> str:
    """Return the digest of the files at three paths; files of documents are ordered by name.

    Raises:
        DataError: a path does not exist.
    """
    files = document_files(docs)
    root = Path(os.path.commonpath([file.parent for file in files]))
    alone = files == [docs]
    held = {"docs" if alone else f"docs/{f.relative_to(root).as_posix()}": f for f in files}
    return content_digest({**held, "topics": _file(topics), "qrels": _file(qrels)})


def _resolved(path: str, sources: Sources, task: TaskSpec) -> Path:
    given = Path(path).expanduser()
    return given if given.is_absolute() else sources.data_folder(path, task) / given


def _file(path: Path) -> Path:
    if not path.is_file():
        what = "a folder, expected a file" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}. Correct the path.")
    return path


def document_files(path: Path) -> list[Path]:
    """Return the file, the files below a folder, or the matching files, without hidden files.

    Raises:
        DataError: there are no files.
    """
    if path.is_file():
        return [path]
    pattern = f"{glob.escape(str(path))}/**" if path.is_dir() else str(path)
    # Path.glob accepts no absolute pattern, and does not follow links to folders.
    matches = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207
    found = sorted(path for path in matches if path.is_file())
    if not found:
        what = "a folder without files" if path.is_dir() else "no such file or folder"
        raise DataError(f"{path}: {what}. Correct the path.")
    return found


def _documents(files: list[Path], warnings: set[str]) -> Iterator[tuple[Path, int, Document]]:
    for path in files:
        for line, document in read_documents(path, warnings):
            yield path, line, document


def read_documents(path: Path, warnings: set[str]) -> Iterator[tuple[int, Document]]:
    """Yield the documents of one file in any of the formats above, with their line numbers.

    Raises:
        DataError: a document is malformed; the message names file and line.
    """
    kind = kind_of(path)
    if kind == "sgml":
        for element in elements(path, ("DOC",), warnings):
            yield element.line, _document(element, path)
        return
    rows = json_rows(path, TEXT_KEYS, warnings) if kind == "jsonl" else tsv_rows(path, TEXT_KEYS)
    for row in rows:
        yield row.line, Document(row.id, row.title, row.text)


def _document(element: Element, path: Path) -> Document:
    content = element.content
    texts = list(blocks(content, _TEXT))
    rest = without(content, texts or blocks(content, _HEADER))
    titles = list(blocks(rest, _TITLE))
    bodies = [block.content for block in texts] or [without(rest, titles)]
    return Document(
        _identifier(element, path),
        " ".join(" ".join(plain(block.content) for block in titles).split()),
        "\n".join(filter(None, map(plain, bodies))),
    )


def _identifier(element: Element, path: Path) -> str:
    numbers = [plain(block.content) for block in blocks(element.content, _NUMBER)]
    if len(numbers) > 1:
        raise fault(path, element.line, f"a document with {len(numbers)} <DOCNO>")
    found: str | None = numbers[0] if numbers else chosen(element.attributes, ("docno", "id"))
    if not found:
        raise fault(path, element.line, "a document without a <DOCNO>")
    return found
