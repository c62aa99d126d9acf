"""The stored corpus under a task's text template."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from rankstone.arrays import Ints
from rankstone.benchmarks.storage.arrow_tables import (
    MappedTable,
    distinct,
    positions_of,
    text_array,
)
from rankstone.errors import DefinitionError
from rankstone.specs import TaskSpec

FIELDS = ("title", "text")


class StoredCorpus:
    """A `benchmarks.dataset.Corpus` stored in an Arrow file and decoded on access."""

    def __init__(self, table: MappedTable, task: TaskSpec) -> None:
        self._table = table
        self._fields, self._join = text_template(task)

    def __len__(self) -> int:
        return len(self._table)

    def ids(self, positions: Ints) -> list[str]:
        return self._table.take("id", positions)

    def texts(self, start: int, stop: int) -> list[str]:
        return self._join(*(self._table.rows(field, start, stop) for field in self._fields))

    def take(self, positions: Ints) -> list[str]:
        return self._join(*(self._table.take(field, positions) for field in self._fields))

    def passages(self, positions: Ints) -> list[str]:
        return self._table.take("text", positions)

    def positions(self, ids: Sequence[str]) -> Ints:
        keys, codes = distinct(text_array(ids)[0])
        return positions_of(self._table.column("id"), keys)[codes]


def text_template(task: TaskSpec) -> tuple[Sequence[str], Callable[..., list[str]]]:
    """Return the fields of the task's template, and a function that joins columns of them.

    `{title: [SEP] }{text}` puts ` [SEP] ` after a title, and nothing if the title is empty.

    Raises:
        DefinitionError: the template is not plain text with `{title}` and `{text}`.
    """
    try:
        pieces = list(string.Formatter().parse(task.text))
    except ValueError as error:
        raise _bad_template(task, str(error)) from None
    used = [piece[1] for piece in pieces if piece[1] is not None]
    behind = [piece[1] == "title" and "{" not in piece[2] for piece in pieces if piece[2]]
    if not used or set(used) - set(FIELDS) or not all(behind) or any(piece[3] for piece in pieces):
        raise _bad_template(task, "only {title} and {text} are allowed in braces")
    if task.text == "{text}":
        return ("text",), lambda texts: [text.strip() for text in texts]
    if task.text == "{title} {text}":
        return FIELDS, lambda *columns: [f"{a} {b}".strip() for a, b in zip(*columns, strict=True)]
    fields = tuple(field for field in FIELDS if field in used)

    def join(*columns: list[str]) -> list[str]:
        named = (map(_Field, row) for row in zip(*columns, strict=True))
        rows = (dict(zip(fields, row, strict=True)) for row in named)
        return [task.text.format_map(row).strip() for row in rows]

    return fields, join


class _Field(str):
    """A field whose format specification is appended unless the field is empty."""

    def __format__(self, behind: str) -> str:
        return self and self + behind


def _bad_template(task: TaskSpec, why: str) -> DefinitionError:
    return DefinitionError(
        f"task '{task.name}': key 'text': {task.text!r}: {why}. "
        "Write for example '{title} {text}'."
    )
