"""Rows of text in JSON Lines or tab-separated columns, detected by the file's first character."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rankstone.benchmarks.readers.jsonl import identifier, records, string_value
from rankstone.benchmarks.readers.lines import (
    comment_bytes,
    fault,
    numbered_lines,
    tab_fields,
    without_comments,
)
from rankstone.errors import DataError
from rankstone.text_files import DAMAGE, opened

Kind = Literal["sgml", "jsonl", "tsv"]
ID_KEYS = ("_id", "id", "docno", "doc_id", "docid", "pid", "qid", "query_id", "topic_id")


class Row(NamedTuple):
    """One record of a file."""

    line: int
    id: str
    title: str
    text: str


def kind_of(path: Path) -> Kind:
    """Return the format of a file, by its first character after comments and white space.

    Raises:
        DataError: the file is one JSON array, is damaged, or cannot be read.
    """
    with opened(path) as file:
        try:
            head = comment_bytes(file)[0].lstrip()
        except DAMAGE as error:
            raise DataError(f"{path}: truncated or damaged: {error}. Fetch it again.") from None
    if head.startswith(b"["):
        raise fault(path, 1, "one JSON array, expected one JSON object per line")
    return "jsonl" if head.startswith(b"{") else "sgml" if head.startswith(b"<") else "tsv"


def chosen(values: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the first non-empty value under one of `keys`; None if there is none."""
    return next((values[key] for key in keys if values.get(key)), None)


def json_rows(path: Path, text_keys: Sequence[str], warnings: set[str]) -> Iterator[Row]:
    """Yield one row per JSON object, with the id under the first existing key of `ID_KEYS`."""
    for number, record in records(path):
        id_key = _key(record, ID_KEYS, path, number)
        text_key = _key(record, text_keys, path, number)
        title = "" if text_key == "title" else string_value(record, "title", path, number, "")
        yield Row(
            number,
            identifier(record, path, number, warnings, id_key),
            title,
            string_value(record, text_key, path, number),
        )


def _key(record: dict[str, Any], keys: Sequence[str], path: Path, number: int) -> str:
    found = next((key for key in keys if key in record), None)
    if found is None:
        expected = " or ".join(f"'{key}'" for key in keys)
        raise fault(path, number, f"no key {expected}; it has {', '.join(record) or 'none'}")
    return found


def tsv_rows(path: Path, text_keys: Sequence[str]) -> Iterator[Row]:
    """Yield one row per line: `id<TAB>text`, or the columns named by a header line."""
    lines = without_comments(numbered_lines(path), is_tabbed)
    first = next(lines, None)
    if first is None:
        return
    columns = _header(first[1].split("\t"), text_keys)
    if columns is None:
        columns, lines = _Columns(2, 0, None, 1), itertools.chain([first], lines)
    else:
        lines = without_comments(lines, is_tabbed)
    for number, line in lines:
        fields = tab_fields(line.split("\t"), columns.n)
        if len(fields) != columns.n:
            raise fault(path, number, _wrong_number(len(fields), columns.n, text_keys))
        key = fields[columns.id].strip()
        if not key:
            raise fault(path, number, "an id is empty")
        title = "" if columns.title is None else fields[columns.title].strip()
        yield Row(number, key, title, fields[columns.text].strip())


def is_tabbed(line: str) -> bool:
    """Return True if a line that starts with `#` has tab-separated columns, the first not `#`."""
    return "\t" in line.strip() and not line.startswith(("# ", "#\t"))


class _Columns(NamedTuple):
    n: int
    id: int
    title: int | None
    text: int


def _header(fields: list[str], text_keys: Sequence[str]) -> _Columns | None:
    """Return the positions of the columns if the line is a header, else None."""
    names = [field.strip().lstrip("#").lower() for field in fields]
    text = next((key for key in text_keys if key in names), None)
    if names[0] not in ID_KEYS or text is None:
        return None
    title = names.index("title") if "title" in names and text != "title" else None
    return _Columns(len(names), 0, title, names.index(text))


def _wrong_number(found: int, expected: int, text_keys: Sequence[str]) -> str:
    if found < expected:
        return f"neither JSON nor markup, and {found} of {expected} columns separated by tabs"
    return (
        f"expected {expected} columns separated by tabs, found {found} "
        f"(a first line 'id<TAB>title<TAB>{text_keys[0]}' may name more)"
    )
