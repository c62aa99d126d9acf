"""Collections in plain BEIR layout, from the folder that `--data` or `RANKSTONE_DATA` names.

    <data>/<data set>/corpus.jsonl  queries.jsonl  qrels/<split>.tsv      or packed:
    <data>/<data set>.tar.zst       one folder with the same files

Each file may be gzipped (`.gz`). `queries_<split>.jsonl` adds the queries of one split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.benchmarks.readers.jsonl import line_of_record, read_documents, read_queries
from rankstone.benchmarks.readers.qrels import read_judgements
from rankstone.benchmarks.storage.archives import extracted
from rankstone.benchmarks.storage.atomic_folders import inside
from rankstone.errors import DataError
from rankstone.files import stamp
from rankstone.specs import TaskSpec, canonical_digest

PACKED = ".tar.zst"
MIRROR = "$RANKSTONE_DATA"
"""Name of the folder of `--data` in records."""
QRELS_ENDINGS = (".tsv", ".txt", ".qrels", ".tsv.gz", ".txt.gz")


def load(
    task: TaskSpec, sources: Sources, *, folder: str | None = None, instructions: str = ""
) -> RawDataset:
    """Return the collection `task.dataset`, or the one in another `folder` of the data folder.

    Args:
        instructions: how to obtain a collection that may not be redistributed, for the error.

    Raises:
        DataError: neither a folder nor an archive of that name is there.
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
    """Return the collection `name` of the local mirror; None if there is none of that name."""
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

    If `path` is an archive, or is not downloaded yet, `unpacked` returns the folder; it is called
    on each access to a file, and not before.
    """

    def __init__(self, path: Path, unpacked: Callable[[], Path] | None = None) -> None:
        self._path, self._unpacked = path, unpacked

    @property
    def root(self) -> Path:
        return self._path if self._unpacked is None else self._unpacked()

    def file(self, name: str) -> Path:
        for path in (self.root / name, self.root / f"{name}.gz"):
            if path.is_file():
                return path
        raise DataError(f"{self._path}: holds no {name}. Fetch it again.")

    def qrels(self) -> dict[str, Path]:
        """Return split name -> file."""
        found: dict[str, Path] = {}
        for ending in QRELS_ENDINGS:
            for path in sorted((self.root / "qrels").glob(f"*{ending}")):
                found.setdefault(path.name.removesuffix(ending), path)
        return found

    def judgements(self, split: str) -> Path:
        """Return the judgements of one split; DataError where the collection has none."""
        found = self.qrels()
        if split not in found:
            raise DataError(f"{self._path}: holds no qrels/{split}.tsv. Fetch it again.")
        return found[split]

    def query_files(self) -> list[Path]:
        """Return `queries.jsonl`, then the files of single splits."""
        own = (self.root / f"queries_{split}.jsonl" for split in sorted(self.qrels()))
        return [self.file("queries.jsonl"), *filter(Path.is_file, own)]


def _collection_in(content: Path, archive: Path) -> Path:
    """Return the folder inside an extracted archive that holds the corpus."""
    folders = sorted(path for path in content.iterdir() if path.is_dir())
    found = [f for f in (content, *folders) if any(f.glob("corpus.jsonl*"))]
    if len(found) != 1:
        raise DataError(
            f"{archive}: expected one folder with a corpus.jsonl, found {len(found)}. Pack it anew."
        )
    return found[0]


def _fingerprint(folder: Path) -> str:
    """Digest sizes and times of the collection's files, without reading them."""
    paths = [*folder.glob("*.jsonl*"), *folder.glob("qrels/*")]
    listing = [stamp(path, path.relative_to(folder).as_posix()) for path in sorted(paths)]
    return canonical_digest([str(folder), *listing])


def from_folder(files: Files, source: str, fingerprint: str) -> RawDataset:
    """Return the collection in `files`, which are read when a callable is called."""
    warnings: set[str] = set()

    def documents() -> Iterator[Document]:
        return read_documents(files.file("corpus.jsonl"), warnings)

    def document_blocks() -> Iterator[Any]:
        from rankstone.benchmarks.readers import arrow_jsonl  # loads Arrow

        return arrow_jsonl.document_blocks(files.file("corpus.jsonl"), warnings)

    def queries() -> Iterator[Query]:
        for path in files.query_files():
            yield from read_queries(path, warnings)

    def judgements(split: str) -> Iterator[Judgement]:
        return read_judgements(files.judgements(split))

    def locate(what: str, index: int) -> str:
        paths = [files.file("corpus.jsonl")] if what == "documents" else files.query_files()
        return line_of_record(paths, index)

    return RawDataset(
        documents=documents,
        document_blocks=document_blocks,
        queries=queries,
        judgements=judgements,
        splits=lambda: list(files.qrels()),
        fingerprint=fingerprint,
        source=source,
        locate=locate,
        warnings=warnings,
    )
