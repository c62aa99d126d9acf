"""Lines of JSON and of judgements, with the file and line number of whatever is wrong."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import zstandard

from rankstone.benchmarks.dataset import Document, Judgement, Query
from rankstone.benchmarks.storage.archives import Unpacked
from rankstone.errors import DataError

BOM = b"\xef\xbb\xbf"
QRELS_HEADER = ("query-id", "corpus-id", "score")
MEND = "Correct the line, or fetch the file again."
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
"""What reading a truncated or damaged `.gz` or `.zst` raises."""


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1; BOM and line ends taken off.

    Raises:
        DataError: a line is not UTF-8, a `.gz` or `.zst` is truncated or damaged, or the file
            cannot be read.
    """
    with opened(path) as file:
        yield from numbered(file, path)


def numbered(lines: Iterable[bytes], path: Path, first: int = 1) -> Iterator[tuple[int, str]]:
    """The same of `lines`, which are those of the file at `path` from line `first` on."""
    number = first - 1
    try:
        for number, line in enumerate(lines, first):
            content = line.removeprefix(BOM) if number == 1 else line
            text = content.decode("utf-8").rstrip("\r\n")
            if text and not text.isspace():
                yield number, text
    except UnicodeDecodeError as error:
        refuse(path, number, f"not UTF-8: {error.reason} at byte {error.start}")
    except DAMAGE as error:
        raise DataError(
            f"{path}: truncated or damaged after line {number}: {error}. Fetch it again."
        ) from None


def opened(path: Path) -> io.BufferedIOBase:
    """The file's bytes, `.gz` and `.zst` decompressed; reading may raise one of `DAMAGE`.

    Raises:
        DataError: the file cannot be opened.
    """
    try:
        if path.suffix == ".gz":
            return gzip.GzipFile(path, "rb")
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}. Make it readable."
        ) from None
    return io.BufferedReader(Unpacked(file)) if path.suffix == ".zst" else file


def refuse(path: Path, number: int, what: str) -> NoReturn:
    """Raise the DataError that names the file, the line and the fault."""
    raise DataError(f"{path}, line {number}: {what}. {MEND}")


def read_documents(path: Path, warnings: set[str]) -> Iterator[Document]:
    """The documents of a `corpus.jsonl`; a missing title is an empty one."""
    return documents_in(numbered_lines(path), path, warnings)


def documents_in(
    lines: Iterable[tuple[int, str]], path: Path, warnings: set[str]
) -> Iterator[Document]:
    """The documents in numbered lines of the file at `path`."""
    for number, record in records_in(lines, path):
        yield Document(
            identifier(record, path, number, warnings),
            string_value(record, "title", path, number, ""),
            string_value(record, "text", path, number),
        )


def read_queries(path: Path, warnings: set[str]) -> Iterator[Query]:
    """The queries of a `queries.jsonl`, with what `metadata.answers` lists."""
    for number, record in records(path):
        name = identifier(record, path, number, warnings)
        yield Query(name, string_value(record, "text", path, number), _answers(record))


def _answers(record: dict[str, Any]) -> tuple[str, ...]:
    """Collections put all kinds of things there: only a list of strings is one of answers."""
    metadata = record.get("metadata")
    found = metadata.get("answers") if isinstance(metadata, dict) else None
    if isinstance(found, list) and all(isinstance(answer, str) for answer in found):
        return tuple(found)
    return ()


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file, one per line, with their line numbers."""
    return records_in(numbered_lines(path), path)


def records_in(
    lines: Iterable[tuple[int, str]], path: Path
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects in numbered lines of the file at `path`."""
    for number, line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            refuse(path, number, f"malformed JSON: {error}")
        if not isinstance(record, dict):
            refuse(path, number, f"expected a JSON object, found {line[:40]!r}")
        yield number, record


def identifier(
    record: dict[str, Any], path: Path, number: int, warnings: set[str], key: str = "_id"
) -> str:
    """The id under `key`: a string, or an integer, which is read as one with a warning."""
    value = record.get(key)
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        warnings.add(f"{path.name}: ids are integers in JSON; they are read as strings")
        return str(value)
    if key not in record:
        refuse(path, number, f"the key '{key}' is missing")
    refuse(path, number, f"'{key}' must be a string that is not empty, found {value!r}")


def string_value(
    record: dict[str, Any], key: str, path: Path, number: int, default: str | None = None
) -> str:
    """The string under `key`; `default` stands for a missing or null one, if it is given."""
    value = record.get(key, default)
    if isinstance(value, str):
        return value
    if value is None and default is not None:
        return default
    if key not in record:
        refuse(path, number, f"the key '{key}' is missing")
    refuse(path, number, f"'{key}' must be a string, found {str(value)[:40]}")


def line_of_record(paths: list[Path], index: int) -> str:
    """`file, line n` of the `index`-th record (from 0) of these files."""
    for path in paths:
        for number, _ in numbered_lines(path):
            if index == 0:
                return f"{path.name}, line {number}"
            index -= 1
    return f"record {index + 1}"


def read_judgements(path: Path) -> Iterator[Judgement]:
    """Judgements: `query-id corpus-id score` under a header, or the four columns of TREC.

    Columns are parted by tabs where a line has one (so ids may hold spaces), else by white space.
    """
    first = True
    for number, line in numbered_lines(path):
        fields = _fields(line)
        if first:
            first = False
            if _is_header(fields, path, number):
                continue
        if len(fields) not in (3, 4):
            refuse(path, number, f"expected 3 columns (4 in TREC form), found {len(fields)}")
        label = _label(fields[-1])
        if label is None:
            refuse(path, number, f"the score must be an integer, found {fields[-1]!r}")
        if not fields[0] or not fields[-2]:
            refuse(path, number, "an id is empty")
        yield Judgement(fields[0], fields[-2], label)


def _fields(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _is_header(fields: list[str], path: Path, number: int) -> bool:
    names = tuple(field.strip().lower() for field in fields)
    if names[:2] == (QRELS_HEADER[1], QRELS_HEADER[0]):
        refuse(
            path,
            number,
            f"columns in the wrong order: {', '.join(names)}, expected {', '.join(QRELS_HEADER)}",
        )
    return names == QRELS_HEADER or (len(fields) == 3 and _looks_like_names(names))


def _looks_like_names(names: tuple[str, ...]) -> bool:
    """Headers in the wild also say `qid`, `query_id`, `docid`, `label`, `relevance`."""
    return names[0] in {"qid", "query_id", "query-id", "query", "queryid"} and not _is_number(
        names[2]
    )


def _is_number(value: str) -> bool:
    return _label(value) is not None


def _label(value: str) -> int | None:
    """`value` as an integer (`1`, `-1`, also `1.0`); None if it is none."""
    parse: tuple[Callable[[str], float], ...] = (int, float)
    for kind in parse:
        try:
            number = kind(value)
        except ValueError:
            continue
        return int(number) if abs(number) < 2**31 and number == int(number) else None
    return None
