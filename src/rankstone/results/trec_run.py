"""TREC run files: ``query Q0 document rank score tag``, one line per result, best first.

Scores are float32, printed as the shortest text that reads back as the same float32. Columns are
separated by white space, so white space inside an id is percent-encoded (UTF-8 bytes, ``"a b"`` ->
``"a%20b"``); all other characters are unchanged. `read_run(..., known=ids)` decodes ids.

Blank lines are skipped, and lines before the first result that start with ``#`` are comments, as in
ir_metadata; ``#12 Q0 ...`` with six columns is a result of the query ``#12``.

Lines are joined and parsed by Arrow, a block of queries at a time: millions of lines take seconds.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import zstandard
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.errors import ResultsError
from rankstone.text_files import BOM, DAMAGE, columns, encode_id, needs_encoding, opened

COLUMNS = ("query", "q0", "document", "rank", "score", "tag")
SCHEMA = pa.schema(
    {**dict.fromkeys(("query", "document", "rank"), pa.string()), "score": pa.float32()}.items()
)
"""The columns that are used."""
LINES_PER_BLOCK = 500_000
# Characters that separate columns, or may be stripped from their ends or from a line's start.
_ODD = r"[\x00-\x20\x{85}\p{Z}\x{FEFF}]"


class Run(NamedTuple):
    """Lines of a run file, in file order; distinct ids are stored once."""

    query_ids: list[str]
    """Distinct query ids, in order of first appearance."""
    document_ids: list[str]
    """Distinct document ids, in order of first appearance."""
    query: Ints
    """(n_lines,) rows of `query_ids`."""
    document: Ints
    """(n_lines,) rows of `document_ids`."""
    score: NDArray[np.float32]
    """(n_lines,)"""
    contradicted: tuple[str, ...] = ()
    """Queries with a result that has a larger rank and a higher score than another."""


def write_run(
    path: Path,
    query_ids: Sequence[str],
    docs: Ints,
    scores: NDArray[np.float32],
    ids: Callable[[Ints], list[str]],
    tag: str,
) -> None:
    """Write a ranking as a TREC run file, compressed with zstd.

    Args:
        path: written in place; `ResultStore.write` makes it appear atomically.
        query_ids: (n_queries,)
        docs: (n_queries, k) positions, best first; -1 pads.
        scores: (n_queries, k) beside `docs`.
        ids: returns the document ids at an array of positions, such as `Corpus.ids`.
        tag: name of the system; white space in it becomes `-`.

    Raises:
        ResultsError: an id is empty, two ids have the same encoding, or a score is NaN.
    """
    if not len(query_ids) == len(docs) == len(scores):
        raise ResultsError(
            f"{path}: {len(query_ids)} query ids for {len(docs)} rankings and {len(scores)} rows"
            " of scores. Pass one of each per query."
        )
    queries = pa.array(_encode(query_ids, path), pa.string())
    name = re.sub(r"\s+", "-", tag.strip()) or "rankstone"
    step = max(1, LINES_PER_BLOCK // max(1, docs.shape[1]))
    with path.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as out:
        for start in range(0, len(docs), step):
            block = slice(start, start + step)
            out.write(_lines(queries[block], docs[block], scores[block], ids, name, path))


def _lines(
    queries: pa.StringArray,
    docs: Ints,
    scores: NDArray[np.float32],
    ids: Callable[[Ints], list[str]],
    tag: str,
    path: Path,
) -> memoryview:
    """Return the text of one block of queries, UTF-8."""
    row, column = np.nonzero(docs >= 0)
    score = np.asarray(scores[row, column], dtype=np.float32)
    if np.isnan(score).any():
        raise ResultsError(f"{path}: a score is NaN, which has no rank. Correct the runner.")
    distinct, inverse = np.unique(docs[row, column], return_inverse=True)
    names = pa.array(_encode(ids(distinct), path), pa.string())
    ranks = pa.array(np.arange(1, docs.shape[1] + 1)).cast(pa.string())
    lines = pc.binary_join_element_wise(
        queries.take(pa.array(row)),
        "Q0",
        names.take(pa.array(inverse)),
        ranks.take(pa.array(column)),
        pa.array(score).cast(pa.string()),
        f"{tag}\n",
        " ",
    )
    return _text_of(lines)


def _text_of(lines: pa.StringArray) -> memoryview:
    """Return the concatenated strings of an Arrow array, without a copy."""
    if not len(lines):
        return memoryview(b"")
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)
    first, last = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return memoryview(lines.buffers()[2])[int(first) : int(last)]


def _encode(ids: Sequence[str], path: Path) -> Sequence[str]:
    """Return the ids as written in a run file."""
    if "" in ids:
        raise ResultsError(f"{path}: an id is empty, which a TREC run cannot hold. Name it.")
    if not needs_encoding("".join(ids)):
        return ids
    encoded = [encode_id(id) for id in ids]
    if len(set(encoded)) != len(set(ids)):
        clash = next(e for e, i in zip(encoded, ids, strict=True) if e != i and e in set(ids))
        raise ResultsError(f"{path}: two ids are both written '{clash}' in a TREC run. Rename one.")
    return encoded


def read_run(path: Path, *, known: Iterable[str] = ()) -> Run:
    """Read a run file, plain or compressed. As in trec_eval, ranks do not affect the order.

    Leading comments and blank lines are skipped; line numbers in errors include them.

    Args:
        path: The file.
        known: ids of the collection (documents and queries); those with white space are recognised
            in encoded form and decoded.

    Raises:
        ResultsError: a line has not six columns, a score is not a number, text is not UTF-8, or a
            (query, document) pair has a second result; the message has file and line number. Or the
            file cannot be read.
    """
    originals = _originals(known, path)
    try:
        table = _parse_fast(path)
        if table is None:
            table = _parse_lines(path)
        query_ids, query = _rows(table["query"], originals)
        document_ids, document = _rows(table["document"], originals)
        run = Run(query_ids, document_ids, query, document, table["score"].to_numpy())
        _check_lines(path, run)
    except DAMAGE as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error
    return run._replace(contradicted=_contradicted(run, table["rank"]))


def _results(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the columns of each result with its line number."""
    started = False
    with opened(path, ResultsError) as stream:
        for number, line in enumerate(stream, start=1):
            words = line.split() if line.isascii() else _stripped(line)
            if words and (started or not _is_comment(words)):
                started = True
                yield number, words


def _stripped(line: bytes) -> list[bytes]:
    """Return the columns without surrounding white space, of a line that may start with a
    byte-order mark; invalid UTF-8 is kept."""
    found = columns(line.removeprefix(BOM).decode("utf-8", "surrogateescape"))
    return [column.encode("utf-8", "surrogateescape") for column in found]


def _is_comment(words: list[bytes]) -> bool:
    """Return True for a comment before all results; the name of a query may start with `#`."""
    is_result = len(words) == len(COLUMNS) and words[1].upper() in (b"Q0", b"0")
    return words[0].startswith(b"#") and not is_result


def _parse_fast(path: Path) -> pa.Table | None:
    """Parse all lines at once; None unless single separators delimit all columns."""
    first, words = next(_results(path), (0, []))
    if len(words) != len(COLUMNS):
        return None
    with opened(path, ResultsError) as stream:
        for _ in range(first - 1):
            stream.readline()
        line = stream.peek(1)[:4096].partition(b"\n")[0]
        try:
            table = pyarrow.csv.read_csv(
                stream,
                pyarrow.csv.ReadOptions(column_names=list(COLUMNS)),
                pyarrow.csv.ParseOptions(
                    delimiter="\t" if b"\t" in line else " ",
                    quote_char=False,
                    double_quote=False,
                ),
                pyarrow.csv.ConvertOptions(
                    column_types={**dict.fromkeys(COLUMNS, pa.string()), "score": pa.float32()},
                    null_values=[],
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            return None
    if any(_is_irregular(table[name]) for name in COLUMNS if name != "score"):
        return None
    return table


def _is_irregular(column: pa.ChunkedArray) -> bool:
    """Return True if splitting at any white space may give other columns."""
    lengths = pc.binary_length(column)
    spaced = pc.match_substring_regex(column, _ODD)
    return pc.min(lengths).as_py() == 0 or bool(pc.any(spaced).as_py())


def _parse_lines(path: Path) -> pa.Table:
    """Parse line by line, split at any white space: slower, with line numbers in errors."""
    found: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for number, raw in _results(path):
        if len(raw) != len(COLUMNS):
            raise ResultsError(
                f"{path}:{number}: expected 6 columns (query Q0 document rank score tag),"
                f" found {len(raw)}."
            )
        found["query"].append(_id(raw[0], path, number))
        found["document"].append(_id(raw[2], path, number))
        found["rank"].append(raw[3].decode("utf-8", "replace").strip())
        found["score"].append(_score(raw[4], path, number))
    return pa.table(found, schema=SCHEMA)


def _id(raw: bytes, path: Path, line: int) -> str:
    id = _decode(raw, path, line).strip()
    if not id:
        raise ResultsError(f"{path}:{line}: an id is empty. Correct the line.")
    return id


def _decode(raw: bytes, path: Path, line: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ResultsError(f"{path}:{line}: {raw!r} is not UTF-8.") from None


def _score(raw: bytes, path: Path, line: int) -> float:
    try:
        # Arrow rounds decimal text to float32 once; Python's float would round twice.
        return float(pa.scalar(raw.decode("utf-8").strip()).cast(pa.float32()).as_py())
    except (pa.ArrowInvalid, UnicodeDecodeError):
        text = raw.decode("utf-8", "replace")
        raise ResultsError(f"{path}:{line}: the score {text!r} is not a number.") from None


def _rows(column: pa.ChunkedArray, originals: Mapping[str, str]) -> tuple[list[str], Ints]:
    """Return the distinct ids of a text column, and the index of each line's id among them."""
    # Combined into one chunk first: unifying the dictionaries of many chunks is quadratic in Arrow.
    whole = pa.array([], pa.string()) if not len(column) else column.combine_chunks()
    encoded = whole.dictionary_encode()
    rows = encoded.indices.to_numpy().astype(np.int64)
    return [originals.get(id, id) for id in encoded.dictionary.to_pylist()], rows


def _originals(known: Iterable[str], path: Path) -> dict[str, str]:
    """Return the known ids with white space by their encoded form."""
    ids = list(known)
    if not needs_encoding("".join(ids)):
        return {}
    spaced = {encode_id(id): id for id in ids if needs_encoding(id)}
    for clash in spaced.keys() & set(ids):
        raise ResultsError(
            f"{path}: '{clash}' may stand for two known ids, '{clash}' and '{spaced[clash]}'."
            " Rename one of them."
        )
    return spaced


def _check_lines(path: Path, run: Run) -> None:
    """Raise ResultsError for NaN scores and a second result of a (query, document) pair."""
    nan = np.flatnonzero(np.isnan(run.score))
    if len(nan):
        line = _line(path, int(nan[0]))
        raise ResultsError(f"{path}:{line}: the score is NaN, which has no rank.")
    keys = run.query * max(1, len(run.document_ids)) + run.document
    order = np.argsort(keys, kind="stable")
    again = order[1:][keys[order][1:] == keys[order][:-1]]
    if len(again):
        index = int(again.min())
        raise ResultsError(
            f"{path}:{_line(path, index)}: a second result for query"
            f" '{run.query_ids[run.query[index]]}' and document"
            f" '{run.document_ids[run.document[index]]}'. Keep one."
        )


def _line(path: Path, index: int) -> int:
    """Return the line number of a result, given its index from 0."""
    return next(itertools.islice(_results(path), index, None))[0]


def _contradicted(run: Run, ranks: pa.ChunkedArray) -> tuple[str, ...]:
    """Return the queries whose ranks contradict their scores; none if ranks are not numbers."""
    try:
        rank = ranks.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return ()
    query, score = run.query, run.score
    within = query[1:] == query[:-1]
    ordered = (rank[1:] > rank[:-1]) | ~within
    if not ordered.all() or np.count_nonzero(~within) >= len(run.query_ids):
        order = np.lexsort((-score, rank, query))
        query, score, rank = query[order], score[order], rank[order]
        within = query[1:] == query[:-1]
    wrong = within & (rank[1:] > rank[:-1]) & (score[1:] > score[:-1])
    return tuple(run.query_ids[row] for row in np.unique(query[1:][wrong]).tolist())
