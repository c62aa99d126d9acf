"""Judgements in columns, in the formats of BEIR and TREC."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from rankstone.benchmarks.dataset import Judgement
from rankstone.benchmarks.readers.lines import fault, numbered_lines, without_comments
from rankstone.benchmarks.readers.rows import is_tabbed
from rankstone.text_files import columns

QRELS_HEADER = ("query-id", "corpus-id", "score")
QUERY_NAMES = {"qid", "query_id", "query-id", "query", "queryid"}
"""First column names of other common headers, such as `qid docid label`."""
ITERATIONS = ("0", "Q0", "q0")
"""Values of the second column that identify TREC's format."""
_LABEL = re.compile(r"[+-]?[0-9]{1,10}(?:\.0*)?")


def read_judgements(path: Path) -> Iterator[Judgement]:
    """Yield judgements: `query-id corpus-id score` under a header, or TREC's four columns.

    Columns are separated by tabs if this gives three or four columns (ids may contain spaces), else
    by white space. A line such as `q1 0<TAB>d1<TAB>1` without a header has TREC's columns.
    """
    lines = without_comments(numbered_lines(path), _is_row)
    first = next(lines, None)
    if first is None:
        return
    header = _is_header(_fields(first[1], header=True), path, first[0])
    lines = without_comments(lines, _is_row) if header else itertools.chain([first], lines)
    for number, line in lines:
        yield _judgement(_fields(line, header=header), path, number)


def _judgement(fields: list[str], path: Path, number: int) -> Judgement:
    if len(fields) not in (3, 4):
        raise fault(path, number, f"expected 3 columns (4 in TREC form), found {len(fields)}")
    label = label_of(fields[-1])
    if label is None:
        raise fault(path, number, f"the score must be an integer, found {fields[-1]!r}")
    if not fields[0] or not fields[-2]:
        raise fault(path, number, "an id is empty")
    return Judgement(fields[0], fields[-2], label)


def _fields(line: str, *, header: bool) -> list[str]:
    words = columns(line)
    if "\t" not in line:
        return words
    tabbed = [field.strip() for field in line.rstrip().split("\t")]
    trec = len(words) == 4 and words[1] in ITERATIONS and not header
    if len(tabbed) not in (3, 4) or (len(tabbed) == 3 and trec):
        return words
    return tabbed if label_of(tabbed[-1]) is not None or not _is_judged(words) else words


def _is_judged(fields: list[str]) -> bool:
    return len(fields) in (3, 4) and label_of(fields[-1]) is not None


def _is_row(line: str) -> bool:
    """Return True if a line that starts with `#` has TREC's columns, or tab-separated columns."""
    fields = _fields(line, header=False)
    return _is_judged(fields) and (
        (len(fields) == 4 and fields[1] in ITERATIONS) or is_tabbed(line)
    )


def _is_header(fields: list[str], path: Path, number: int) -> bool:
    names = tuple(field.lower() for field in fields)
    if names[:2] == (QRELS_HEADER[1], QRELS_HEADER[0]):
        raise fault(
            path,
            number,
            f"columns in the wrong order: {', '.join(names)}, expected {', '.join(QRELS_HEADER)}",
        )
    other = len(fields) in (3, 4) and names[0] in QUERY_NAMES and label_of(names[-1]) is None
    return names == QRELS_HEADER or other


def label_of(value: str) -> int | None:
    """Return `value` as an integer (`1`, `-1`, also `1.0`); None if it is not a 32-bit integer."""
    if not _LABEL.fullmatch(value):
        return None
    number = int(value.partition(".")[0])
    return number if abs(number) < 2**31 else None
