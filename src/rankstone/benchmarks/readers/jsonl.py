"""Documents and queries in JSON Lines, as in BEIR."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rankstone.benchmarks.dataset import Document, Query
from rankstone.benchmarks.readers.lines import Numbered, fault, numbered_lines, without_comments


def read_documents(path: Path, warnings: set[str]) -> Iterator[Document]:
    """Yield the documents of a `corpus.jsonl`; a missing title is read as an empty one."""
    return documents_in(rows(path), path, warnings)


def documents_in(lines: Iterable[Numbered], path: Path, warnings: set[str]) -> Iterator[Document]:
    """Yield the documents in numbered lines of the file at `path`."""
    for number, record in records_in(lines, path):
        yield Document(
            identifier(record, path, number, warnings),
            string_value(record, "title", path, number, ""),
            string_value(record, "text", path, number),
        )


def read_metadata(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the `metadata` of the documents of a `corpus.jsonl`; empty if it is not an object."""
    for _, record in records(path):
        found = record.get("metadata")
        yield found if isinstance(found, dict) else {}


def read_queries(path: Path, warnings: set[str]) -> Iterator[Query]:
    """Yield the queries of a `queries.jsonl`, with the answers in `metadata.answers`."""
    for number, record in records(path):
        name = identifier(record, path, number, warnings)
        yield Query(name, string_value(record, "text", path, number), _answers(record))


def _answers(record: dict[str, Any]) -> tuple[str, ...]:
    """Return `metadata.answers` if it is a list of strings; some files store other data there."""
    metadata = record.get("metadata")
    found = metadata.get("answers") if isinstance(metadata, dict) else None
    if isinstance(found, list) and all(isinstance(answer, str) for answer in found):
        return tuple(found)
    return ()


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a file, one per line, with their line numbers."""
    return records_in(rows(path), path)


def rows(path: Path) -> Iterator[Numbered]:
    """Yield the numbered lines of a JSON Lines file, without comments before the first record."""
    return without_comments(numbered_lines(path))


def records_in(lines: Iterable[Numbered], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects in numbered lines of the file at `path`."""
    for number, line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise fault(path, number, f"malformed JSON: {error}") from None
        if not isinstance(record, dict):
            raise fault(path, number, f"expected a JSON object, found {line[:40]!r}")
        yield number, record


def identifier(
    record: dict[str, Any], path: Path, number: int, warnings: set[str], key: str = "_id"
) -> str:
    """Return the id under `key`: a string, or an integer, read as a string with a warning.

    Surrounding white space is not part of the id.
    """
    value = record.get(key)
    if isinstance(value, str) and (name := value.strip()):
        return name
    if isinstance(value, int) and not isinstance(value, bool):
        warnings.add(f"{path.name}: ids are integers in JSON; they are read as strings")
        return str(value)
    if key not in record:
        raise fault(path, number, f"the key '{key}' is missing")
    raise fault(path, number, f"'{key}' must be a string that is not empty, found {value!r}")


def string_value(
    record: dict[str, Any], key: str, path: Path, number: int, default: str | None = None
) -> str:
    """Return the string under `key`; `default`, if given, for a missing or null value."""
    value = record.get(key, default)
    if isinstance(value, str):
        return value
    if value is None and default is not None:
        return default
    if key not in record:
        raise fault(path, number, f"the key '{key}' is missing")
    raise fault(path, number, f"'{key}' must be a string, found {str(value)[:40]}")


def line_of_record(paths: list[Path], index: int) -> str:
    """Return `file, line n` of the `index`-th record (from 0) of these files."""
    for path in paths:
        for number, _ in rows(path):
            if index == 0:
                return f"{path.name}, line {number}"
            index -= 1
    return f"record {index + 1}"
