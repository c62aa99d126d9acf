"""Judgements in columns, as BEIR and TREC keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from rankstone.benchmarks.dataset import Judgement
from rankstone.benchmarks.readers.lines import fault, numbered_lines

QRELS_HEADER = ("query-id", "corpus-id", "score")
QUERY_NAMES = {"qid", "query_id", "query-id", "query", "queryid"}
"""First names of other headers in use, such as `qid docid label`."""


def read_judgements(path: Path) -> Iterator[Judgement]:
    """Yield judgements: `query-id corpus-id score` under a header, or the four columns of TREC.

    Tabs separate the columns of a line that has one (ids may hold spaces), white space else.
    """
    first = True
    for number, line in numbered_lines(path):
        fields = _fields(line)
        if first:
            first = False
            if _is_header(fields, path, number):
                continue
        if len(fields) not in (3, 4):
            raise fault(path, number, f"expected 3 columns (4 in TREC form), found {len(fields)}")
        label = _label(fields[-1])
        if label is None:
            raise fault(path, number, f"the score must be an integer, found {fields[-1]!r}")
        if not fields[0] or not fields[-2]:
            raise fault(path, number, "an id is empty")
        yield Judgement(fields[0], fields[-2], label)


def _fields(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _is_header(fields: list[str], path: Path, number: int) -> bool:
    names = tuple(field.strip().lower() for field in fields)
    if names[:2] == (QRELS_HEADER[1], QRELS_HEADER[0]):
        raise fault(
            path,
            number,
            f"columns in the wrong order: {', '.join(names)}, expected {', '.join(QRELS_HEADER)}",
        )
    other = len(fields) == 3 and names[0] in QUERY_NAMES and _label(names[2]) is None
    return names == QRELS_HEADER or other


def _label(value: str) -> int | None:
    """Return `value` as an integer (`1`, `-1`, also `1.0`); None if it is not one."""
    parse: tuple[Callable[[str], float], ...] = (int, float)
    for kind in parse:
        try:
            number = kind(value)
        except ValueError:
            continue
        return int(number) if abs(number) < 2**31 and number == int(number) else None
    return None
