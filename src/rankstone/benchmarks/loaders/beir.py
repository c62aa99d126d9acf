"""Collections in plain BEIR layout, in the folder of `--data` or `RANKSTONE_DATA`.

    <data>/<data set>/corpus.jsonl  queries.jsonl  qrels/<split>.tsv      or packed:
    <data>/<data set>.tar.zst       one folder with the same files

Each file may be compressed (`.gz`, `.zst`, `.bz2`, `.xz`). `queries_<split>.jsonl` adds the queries
of one split. `corpus_1.jsonl`, `corpus-2.jsonl` ... are further parts of the corpus, in addition to
or instead of `corpus.jsonl`; the same holds for queries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.benchmarks.readers.jsonl import (
    line_of_record,
    read_documents,
    read_metadata,
    read_queries,
)
from rankstone.benchmarks.readers.qrels import read_judgements
from rankstone.benchmarks.storage.archives import extracted
from rankstone.benchmarks.storage.atomic_folders import inside
from rankstone.errors import DataError
from rankstone.files import stamp
from rankstone.specs import TaskSpec, canonical_digest
from rankstone.text_files import plain_name

PACKED = ".tar.zst"
MIRROR = "$RANKSTONE_DATA"
"""Name of the data folder in records."""
QRELS_ENDINGS = (".tsv", ".txt", ".qrels")
_PART = re.compile(r"[_-]?(\d+)(?:-of-\d+)?")


def load(
    task: TaskSpec, sources: Sources, *, folder: str | None = None, instructions: str = ""
) -> RawDataset:
    """Return the collection `task.dataset`, or that of another `folder` of the data folder.

    Args:
        instructions: how to obtain a collection that must not be redistributed, for the error.

    Raises:
        DataError: there is neither a folder nor an archive of that name.
    """
    name = folder or task.dataset
    found = mirrored(name, sources)
    if found is not None:
        return found
    if instructions:
        raise DataError(
            f"{task.name}: this collection is not public. {instructions} Then put corpus.jsonl, "
            f"queries.jsonl and qrels/{task.split}.tsv in {sources.data or 'DIR'}/{name}/ and name "
            "the folder with --data DIR or RANKSTONE_DATA."
        )
    plain = inside(sources.data_folder(name, task), name)
    raise DataError(
        f"{task.name}: no data found. Looked for {plain}/ and {_packed(plain)}. "
        "Name the folder that holds it with --data DIR or RANKSTONE_DATA."
    )


def mirrored(name: str, sources: Sources) -> RawDataset | None:
    """Return the collection `name` of the local mirror; None if there is none."""
    if sources.data is None:
        return None
    plain = inside(sources.data, name)
    packed = _packed(plain)
    # Records are published: they do not contain the path of the mirror.
    source = f"{MIRROR}/{name}"
    if plain.is_dir():
        return from_folder(Files(plain), source, _fingerprint(plain))
    if packed.is_file():
        fingerprint = canonical_digest(stamp(packed))
        target = inside(sources.cache / "extracted", name) / fingerprint[:16]
        files = Files(packed, lambda: _collection_in(extracted(packed, target), packed))
        return from_folder(files, source + PACKED, fingerprint)
    return None


def _packed(plain: Path) -> Path:
    return plain.with_name(plain.name + PACKED)


class Files:
    """Files of one collection in the folder `path`.

    If `path` is an archive, or is not downloaded yet, `unpacked` returns the folder. It is called
    only when a file is accessed.
    """

    def __init__(self, path: Path, unpacked: Callable[[], Path] | None = None) -> None:
        self._path, self._unpacked = path, unpacked

    @property
    def root(self) -> Path:
        return self._path if self._unpacked is None else self._unpacked()

    def parts(self, stem: str) -> list[Path]:
        """Return `<stem>.jsonl`, then its numbered parts; DataError if there are none."""
        found = parts_of(self.root, stem)
        if not found:
            raise DataError(f"{self._path}: holds no {stem}.jsonl. Fetch it again.")
        return found

    def qrels(self) -> dict[str, Path]:
        """Return the file of each split."""
        found: dict[str, Path] = {}
        for name, path in _plain_names(self.root / "qrels"):
            for ending in QRELS_ENDINGS:
                if name.endswith(ending):
                    found.setdefault(name.removesuffix(ending), path)
        return dict(sorted(found.items()))

    def judgements(self, split: str) -> Path:
        """Return the file of one split's judgements; DataError if there is none."""
        found = self.qrels()
        if split not in found:
            raise DataError(f"{self._path}: holds no qrels/{split}.tsv. Fetch it again.")
        return found[split]

    def unread(self) -> Iterator[str]:
        """Yield a warning for each file that is ignored in favour of one of the same name."""
        tables, qrels = re.compile(r"((?:corpus|queries).*)\.jsonl"), re.compile(r"(.+)\.\w+")
        for folder, form in ((self.root, tables), (self.root / "qrels", qrels)):
            read: dict[str, str] = {}
            for name, path in _plain_names(folder):
                found = form.fullmatch(name)
                if found and read.setdefault(found[1], path.name) != path.name:
                    yield f"{path.name} is not read: {read[found[1]]} has the same name"

    def query_files(self) -> list[Path]:
        """Return the parts of `queries.jsonl`, then the query files of single splits."""
        names = dict(reversed(_plain_names(self.root)))
        own = (names.get(f"queries_{split}.jsonl") for split in sorted(self.qrels()))
        parts = self.parts("queries")
        return [*parts, *(path for path in own if path is not None and path not in parts)]


def _plain_names(folder: Path) -> list[tuple[str, Path]]:
    """Return the files of a folder by name without `PACKED_ENDINGS`, uncompressed ones first."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    named = [(plain_name(path.name), path) for path in files]
    return sorted(named, key=lambda pair: (pair[0], pair[0] != pair[1].name))


def parts_of(folder: Path, stem: str) -> list[Path]:
    """Return the folder's `<stem>.jsonl`, then its numbered parts, each possibly compressed."""
    found: dict[int, Path] = {}
    for name, path in _plain_names(folder):
        middle = name.removeprefix(stem).removesuffix(".jsonl")
        number = _PART.fullmatch(middle)
        if name == f"{stem}{middle}.jsonl" and (not middle or number):
            found.setdefault(int(number[1]) if number else -1, path)
    return [path for _, path in sorted(found.items())]


def _collection_in(content: Path, archive: Path) -> Path:
    """Return the folder inside an extracted archive that holds the corpus."""
    folders = sorted(path for path in content.iterdir() if path.is_dir())
    found = [folder for folder in (content, *folders) if parts_of(folder, "corpus")]
    if len(found) != 1:
        raise DataError(
            f"{archive}: expected one folder with a corpus.jsonl, found {len(found)}."
            " Pack it again."
        )
    return found[0]


def _fingerprint(folder: Path) -> str:
    """Return a digest of the sizes and times of the collection's files, without reading them."""
    paths = [*folder.glob("*.jsonl*"), *folder.glob("qrels/*")]
    listing = [stamp(path, path.relative_to(folder).as_posix()) for path in sorted(paths)]
    return canonical_digest([str(folder), *listing])


def _warnings_on_parts(paths: list[Path]) -> Iterator[str]:
    """Yield warnings that name the parts of a corpus, and ignored files that look like parts."""
    if len(paths) > 1:
        yield f"the corpus is read from {len(paths)} files: {', '.join(p.name for p in paths)}"
    parts = {plain_name(path.name) for path in paths}
    for name, path in _plain_names(paths[0].parent):
        if name.startswith("corpus") and name.endswith(".jsonl") and name not in parts:
            yield f"{path.name} is not read: further parts are named corpus_1.jsonl, corpus_2.jsonl"


def from_folder(files: Files, source: str, fingerprint: str) -> RawDataset:
    """Return the collection in `files`, which are read when its callables are called."""
    warnings: set[str] = set()

    def corpus() -> list[Path]:
        paths = files.parts("corpus")
        warnings.update(_warnings_on_parts(paths), files.unread())
        return paths

    def documents() -> Iterator[Document]:
        for path in corpus():
            yield from read_documents(path, warnings)

    def document_blocks() -> Iterator[Any]:
        from rankstone.benchmarks.readers import arrow_jsonl  # imports Arrow

        for path in corpus():
            yield from arrow_jsonl.document_blocks(path, warnings)

    def metadata() -> Iterator[dict[str, Any]]:
        for path in files.parts("corpus"):
            yield from read_metadata(path)

    def queries() -> Iterator[Query]:
        for path in files.query_files():
            yield from read_queries(path, warnings)

    def judgements(split: str) -> Iterator[Judgement]:
        return read_judgements(files.judgements(split))

    def locate(what: str, index: int) -> str:
        paths = files.parts("corpus") if what == "documents" else files.query_files()
        return line_of_record(paths, index)

    return RawDataset(
        documents=documents,
        document_blocks=document_blocks,
        metadata=metadata,
        queries=queries,
        judgements=judgements,
        splits=lambda: list(files.qrels()),
        fingerprint=fingerprint,
        source=source,
        locate=locate,
        warnings=warnings,
    )
