"""Any data set of ir_datasets (https://ir-datasets.com), streamed by its id.

ir_datasets keeps its files below `<cache>/ir_datasets`, or below IR_DATASETS_HOME. It verifies
downloads but does not resume them. Large files can therefore be named in the definition (`files`);
`storage.download` then fetches them to the path where ir_datasets looks for them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.benchmarks.loaders import beir
from rankstone.benchmarks.storage.download import Remote, fetch
from rankstone.errors import (
    ChecksumError,
    DataError,
    DefinitionError,
    NetworkError,
    SourceGoneError,
    did_you_mean,
    require,
)
from rankstone.specs import TaskSpec, canonical_digest

OWN_SPLIT = "test"
"""Name of the split of the id itself, if a definition names no splits."""
CONVERTERS = 3
"""Version of the conversion of records; converted copies of other versions are made again."""
EXCLUDED = "excluded from evaluation"
"""Words in a source's definition of a label that exclude documents from rankings."""
MIRROR = "https://mirror.ir-datasets.com/{}"
"""Address of the copies of files that ir_datasets calls mirrored, by md5."""


def load(
    task: TaskSpec,
    sources: Sources,
    *,
    id: str,
    splits: Mapping[str, str] | None = None,
    files: Mapping[str, Sequence[str]] | None = None,
    query: str | None = None,
    by_hand: str | None = None,
    instructions: str = "",
) -> RawDataset:
    """Return the documents of `id`, with the queries and judgements of `id` and its splits.

    Args:
        id: an ir_datasets id with documents.
        splits: for each split name, the id with its queries and judgements. By default all ids
            below `id` with judgements over the same documents, named by the rest of their id, and
            the judgements of `id` itself as `test`.
        files: for `documents`, `queries` or a split, the files that are fetched before it is read.
            They have the names of ir_datasets' list of downloads, below the first part of `id`;
            patterns (`corpus/*`) are allowed.
        query: field with the text of the queries, if it is not the usual one.
        by_hand: path, below ir_datasets' folder of the first part of `id`, of files that must not
            be redistributed and that the user puts there.
        instructions: how to obtain these files, for the error if they are missing.

    Raises (also from the callables of the result):
        MissingExtraError: ir_datasets is not installed.
        DefinitionError: the id, a file or a field does not exist.
        DataError: as `rankstone.benchmarks.storage.download.fetch`; or files that the user has to
            provide are missing.
    """
    if by_hand is not None:
        _refuse_absence(task, sources, _folder(id, sources) / by_hand, instructions)
    found = _Collection(sources, id, splits, files or {}, query)
    return RawDataset(
        documents=found.documents,
        queries=found.queries,
        judgements=found.judgements,
        splits=lambda: list(found.splits),
        excluded_labels=found.excluded_labels,
        # An id identifies fixed content: its files are pinned by their checksums.
        fingerprint=canonical_digest(["ir_datasets", id, splits and dict(splits), CONVERTERS]),
        source=f"ir_datasets:{id}",
        warnings=found.warnings,
    )


def library(sources: Sources) -> Any:
    """Return the module ir_datasets, with its home below the cache.

    The library reads its variables on first import: a home that was set before stays.
    """
    os.environ.setdefault("IR_DATASETS_HOME", str(_home(sources)))
    # Small files are also looked up in the folder in which `_prefetch` stores them.
    os.environ.setdefault("IR_DATASETS_SMALL_FILE_SIZE", "0")
    require("ir_datasets", "beir", "ir_datasets")
    import ir_datasets

    return ir_datasets


def _home(sources: Sources) -> Path:
    return Path(os.environ.get("IR_DATASETS_HOME") or sources.cache / "ir_datasets")


def _folder(id: str, sources: Sources) -> Path:
    return _home(sources) / id.partition("/")[0]


class _Collection:
    """One id with its splits; ir_datasets is imported on first access."""

    def __init__(
        self,
        sources: Sources,
        id: str,
        splits: Mapping[str, str] | None,
        files: Mapping[str, Sequence[str]],
        query: str | None = None,
    ) -> None:
        self._sources, self._id, self._splits, self._files = sources, id, splits, files
        self._query = query
        self.warnings: set[str] = set()

    @cached_property
    def splits(self) -> dict[str, str]:
        """Id of each split."""
        return dict(self._discovered() if self._splits is None else self._splits)

    def documents(self) -> Iterator[Document]:
        dataset = self._dataset(self._id)
        if not dataset.has_docs():
            raise DefinitionError(f"ir_datasets: '{self._id}' has no documents. Name another id.")
        convert = document_converter(dataset.docs_cls())
        with self._reading("documents"):
            yield from map(convert, dataset.docs_iter())

    def queries(self) -> Iterator[Query]:
        """Yield the queries of the id itself and of every split, each once."""
        seen: dict[str, int] = {}
        for id in dict.fromkeys([self._id, *self.splits.values()]):
            dataset = self._dataset(id)
            if not dataset.has_queries():
                continue
            with self._reading("queries"):
                convert = query_converter(dataset.queries_cls(), self._query)
                for query in map(convert, dataset.queries_iter()):
                    if query.id not in seen:
                        seen[query.id] = hash(query.text)
                        yield query
                    elif seen[query.id] != hash(query.text):
                        self.warnings.add(
                            f"{id}: query '{query.id}' has another text than in earlier splits"
                            "; the first is used"
                        )

    def judgements(self, split: str) -> Iterator[Judgement]:
        dataset = self._dataset(self.splits[split])
        with self._reading(split):
            # For BRIGHT, the data set's own `qrels_iter` yields the queries with short documents.
            for row in dataset.qrels_handler().qrels_iter():
                yield Judgement(row.query_id, row.doc_id, int(row.relevance))

    def excluded_labels(self, split: str) -> list[int]:
        """Return the labels that the source defines as excluded, such as BRIGHT's -100."""
        meanings = self._dataset(self.splits[split]).qrels_defs()
        return [label for label, meaning in meanings.items() if EXCLUDED in str(meaning).lower()]

    def _discovered(self) -> dict[str, str]:
        registry, own = library(self._sources).registry, self._dataset(self._id)
        below = [name for name in registry if name.startswith(f"{self._id}/")]
        found = {
            name.removeprefix(f"{self._id}/"): name
            for name in sorted(below)
            if _same_documents(own, registry[name]) and registry[name].has_qrels()
        }
        return {OWN_SPLIT: self._id, **found} if own.has_qrels() else found

    def _dataset(self, id: str) -> Any:
        module = library(self._sources)
        try:
            return module.load(id)
        except KeyError:
            hint = did_you_mean(id, module.registry) or " (https://ir-datasets.com)"
            raise DefinitionError(f"ir_datasets has no data set '{id}'.{hint}") from None

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Fetch the files from which `what` is read; translate exceptions of ir_datasets."""
        for file in _listed(self._id, self._files.get(what, ()), self._sources):
            _prefetch(file, self._sources)
        try:
            yield
        except Exception as error:
            known = _translated(error, f"ir_datasets:{self._id}", self._sources)
            if known is None:
                raise
            raise known from error


def _same_documents(one: Any, other: Any) -> bool:
    return bool(other.has_docs() and one.has_docs() and one.docs_handler() == other.docs_handler())


class _File(NamedTuple):
    """A file of ir_datasets' list of downloads, and the path where ir_datasets looks for it."""

    entry: Mapping[str, Any]
    path: Path


def _listed(id: str, names: Sequence[str], sources: Sources) -> list[_File]:
    """Return the files of the list of `id` that match `names`, or patterns of names."""
    if not names:
        return []
    module, top = library(sources), id.partition("/")[0]
    listed = module.util.DownloadConfig.contents().get(top, {})
    found = []
    for name in names:
        of_name = [one for one in listed if one == name or fnmatch(one, name)]
        if not of_name:
            hint = did_you_mean(name, listed) or f" It lists: {', '.join(listed) or 'none'}."
            raise DefinitionError(f"ir_datasets lists no download '{name}' for '{top}'.{hint}")
        found += [_File(listed[one], _path(module, top, listed[one])) for one in of_name]
    return found


def _path(module: Any, top: str, entry: Mapping[str, Any]) -> Path:
    home, cached = Path(module.util.home_path()), entry.get("cache_path")
    return home / top / str(cached) if cached else home / "downloads" / str(entry["expected_md5"])


def fetched(id: str, names: Sequence[str], sources: Sources) -> bool:
    """Return True if the listed files of `id` are where ir_datasets looks for them.

    The library is imported only if its folder for this collection exists.
    """
    if not _folder(id, sources).is_dir():
        return False
    return all(file.path.exists() for file in _listed(id, names, sources))


def _refuse_absence(task: TaskSpec, sources: Sources, path: Path, instructions: str) -> None:
    if not path.exists():
        enough = f"Put the files in {path}, and run again; or convert them."
        beir.load(task, sources, instructions=f"{instructions} {enough}")


def _prefetch(file: _File, sources: Sources) -> None:
    """Fetch a listed file to the path where ir_datasets looks for it."""
    entry, path = file
    headers = entry.get("download_args", {}).get("headers", {})
    remote = Remote(url=entry["url"], md5=entry["expected_md5"], headers=headers)
    try:
        fetch(remote, path, sources.progress)
    except (NetworkError, SourceGoneError) as error:
        if not entry.get("irds_mirror"):
            raise
        mirror = Remote(url=MIRROR.format(entry["expected_md5"]), md5=entry["expected_md5"])
        try:
            fetch(mirror, path, sources.progress)
        except DataError:
            raise error from None


def document_converter(kind: type[Any]) -> Callable[[Any], Document]:
    """Return a function that converts documents of ir_datasets' type `kind`.

    Title and text (or body) are kept apart if they make up ir_datasets' own `default_text`. For all
    other types the text is the `default_text`, and the title is empty.
    """
    fields = getattr(kind, "_fields", ())
    body = next((name for name in ("text", "body") if name in fields), None)
    if "title" in fields and body is not None and _is_whole(kind, "title", body):
        return lambda doc: Document(doc.doc_id, doc.title or "", getattr(doc, body) or "")
    return lambda doc: Document(doc.doc_id, "", _text(doc))


def _is_whole(kind: Any, *names: str) -> bool:
    """Return True if a record has no `default_text`, or only the fields `names` in it."""
    if not hasattr(kind, "default_text"):
        return True
    probe = kind(*(f"<{field}>" for field in kind._fields))
    try:
        return bool(probe.default_text().split() == [f"<{name}>" for name in names])
    except (AttributeError, TypeError):  # a field that is not a string is part of the text
        return False


def query_converter(kind: type[Any], field: str | None = None) -> Callable[[Any], Query]:
    """Return a function that converts queries of ir_datasets' type `kind`.

    The text is the field `field`. By default it is `default_text`, or for types without one the
    text, the title or the query.
    """
    fields = getattr(kind, "_fields", ())
    if field is not None:
        if field not in fields:
            hint = did_you_mean(field, fields) or f" Its fields: {', '.join(fields)}."
            raise DefinitionError(f"ir_datasets: {kind.__name__} has no field '{field}'.{hint}")
        return lambda query: Query(query.query_id, getattr(query, field) or "")
    name = next((name for name in ("text", "title", "query") if name in fields), None)
    if name is None or hasattr(kind, "default_text"):
        return lambda query: Query(query.query_id, _text(query))
    return lambda query: Query(query.query_id, getattr(query, name) or "")


def _text(record: Any) -> str:
    if hasattr(record, "default_text"):
        return record.default_text() or ""
    if isinstance(getattr(record, "text", None), str):
        return str(record.text)
    raise DataError(
        f"ir_datasets: records of type {type(record).__name__} do not state their text. "
        "Export the data set in BEIR layout, and name its folder with --data DIR."
    )


def _translated(error: Exception, what: str, sources: Sources) -> DataError | None:
    """Return the DataError for an ir_datasets exception; None if no download caused it."""
    import requests

    if isinstance(error, RuntimeError) and error.args[:1] == ("All download sources failed",):
        return _translated(error.args[1][-1][1], what, sources)
    elsewhere = "or name a folder that holds it with --data DIR (RANKSTONE_DATA)."
    if isinstance(error, requests.RequestException):
        url = str(error.request.url if error.request is not None else what)
        if error.response is not None and error.response.status_code < 500:
            return SourceGoneError(
                f"{what}: the source is gone: {url} answers {error.response.status_code}. Get the "
                f"data set elsewhere, {elsewhere}"
            )
        return NetworkError(
            f"{what}: no network: {url}: {error}. Run again when there is a connection, {elsewhere}"
        )
    if type(error).__name__ == "HashVerificationError":
        return ChecksumError(
            f"{what}: wrong checksum: {error}. Run again; if the error persists, the source has "
            f"changed or returns an error page: get the data set elsewhere, {elsewhere}"
        )
    if isinstance(error, FileNotFoundError) and error.args and isinstance(error.args[0], Path):
        return DataError(
            f"{what}: {error.args[0]} cannot be downloaded and must be obtained manually. "
            f"See https://ir-datasets.com, {elsewhere}"
        )
    if isinstance(error, ValueError) and "disk space" in str(error):
        return DataError(
            f"{what}: {error}. Free space there, or name another folder with --cache "
            f"({sources.cache})."
        )
    return None
