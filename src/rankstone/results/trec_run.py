"""TREC run files: ``query Q0 document rank score tag``, one line per result, best first.

Scores are float32, printed as the shortest text that reads back as the same float32. White space
separates the columns, so white space inside an id is percent-encoded (UTF-8 bytes, ``"a b"`` ->
``"a%20b"``) and every other character stands for itself; `read_run(..., known=ids)` maps back.

Lines before the first result whose first word is ``#`` alone are comments, as in ir_metadata;
``#12 Q0 ...`` is a result of the query ``#12``, and ``# Q0 ...`` one of the query ``#``.

Lines are joined and parsed by Arrow, a block of queries at a time: millions take seconds.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import zstandard
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.errors import ResultsError

COLUMNS = ("query", "q0", "document", "rank", "score", "tag")
SCHEMA = pa.schema([("query", pa.string()), ("document", pa.string()), ("score", pa.float32())])
"""The columns that are used."""
LINES_PER_BLOCK = 500_000
_SPACE = re.compile(r"\s")
# Readers written in C split at ASCII white space only; so does `read_run`.
_ASCII_SPACE = re.compile(r"[\t\n\r\x0b\x0c ]")


class Run(NamedTuple):
    """Lines of a run file, in file order; ids are stored once and referred to by row."""

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
        path: Written in place; `ResultStore.write` makes it appear atomically.
        query_ids: (n_queries,)
        docs: (n_queries, k) positions, best first; -1 pads.
        scores: (n_queries, k) beside `docs`.
        ids: Document ids at an array of positions, such as `Corpus.ids`.
        tag: Names the system; white space in it becomes `-`.

    Raises:
        ResultsError: An id is empty, or two ids are the same once encoded, or a score is NaN.
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
    """Return the concatenated strings of an Arrow array, its own memory layout."""
    if not len(lines):
        return memoryview(b"")
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)
    first, last = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return memoryview(lines.buffers()[2])[int(first) : int(last)]


def _encode(ids: Sequence[str], path: Path) -> Sequence[str]:
    """Return the ids as written in a run file."""
    if "" in ids:
        raise ResultsError(f"{path}: an id is empty, which a TREC run cannot hold. Name it.")
    if not _SPACE.search("".join(ids)):
        return ids
    encoded = [encode_id(id) for id in ids]
    if len(set(encoded)) != len(set(ids)):
        clash = next(e for e, i in zip(encoded, ids, strict=True) if e != i and e in set(ids))
        raise ResultsError(f"{path}: two ids are both written '{clash}' in a TREC run. Rename one.")
    return encoded


def encode_id(id: str) -> str:
    """Return `id` with its white space percent-encoded."""
    return _SPACE.sub(lambda match: quote(match.group(), safe=""), id)


def read_run(path: Path, *, known: Iterable[str] = ()) -> Run:
    """Read a run file: plain, `.gz` or `.zst`. The rank column is not used, as in trec_eval.

    Leading comments are skipped; line numbers in errors include them.

    Args:
        path: The file.
        known: Ids of the collection (documents and queries); those with white space are
            recognised in their encoded form and decoded.

    Raises:
        ResultsError: With file and line number: a line without six columns, a score that is not
            a number, text that is not UTF-8, a second result for one (query, document);
            or the file cannot be read.
    """
    originals = _originals(known, path)
    try:
        comments = _comments(path)
        table = _parse_fast(path, comments) or _parse_lines(path, comments)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error
    query_ids, query = _rows(table["query"], originals)
    document_ids, document = _rows(table["document"], originals)
    run = Run(query_ids, document_ids, query, document, table["score"].to_numpy())
    _check_lines(path, run, comments)
    return run


def _comments(path: Path) -> int:
    """Return the number of leading lines of comments."""
    with _open(path) as stream:
        words = (line.split(maxsplit=2)[:2] for line in stream)
        return sum(1 for _ in itertools.takewhile(_is_comment, words))


def _is_comment(words: list[bytes]) -> bool:
    """Test the first two words of a line: a query may be named `#`, followed by `Q0`."""
    return words[:1] == [b"#"] and words[1:] != [b"Q0"]


def _parse_fast(path: Path, comments: int) -> pa.Table | None:
    """Parse all lines at once; None unless single separators delimit every column."""
    with _open(path) as stream:
        for _ in range(comments):
            stream.readline()
        first = stream.peek(1)[:4096].partition(b"\n")[0]
        if not first:
            return None
        try:
            table = pyarrow.csv.read_csv(
                stream,
                pyarrow.csv.ReadOptions(column_names=list(COLUMNS)),
                pyarrow.csv.ParseOptions(
                    delimiter="\t" if b"\t" in first else " ",
                    quote_char=False,
                    double_quote=False,
                    ignore_empty_lines=False,
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
    """Return True if splitting at any white space would give other columns."""
    lengths = pc.binary_length(column)
    spaced = pc.match_substring_regex(column, _ASCII_SPACE.pattern)
    return pc.min(lengths).as_py() == 0 or bool(pc.any(spaced).as_py())


def _parse_lines(path: Path, comments: int) -> pa.Table:
    """Parse line by line, split at any white space: slower, with line numbers in errors."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    with _open(path) as stream:
        for number, raw in itertools.islice(enumerate(stream, start=1), comments, None):
            parts = raw.split()
            if len(parts) != len(COLUMNS):
                raise ResultsError(
                    f"{path}:{number}: expected 6 columns (query Q0 document rank score tag),"
                    f" found {len(parts)}."
                )
            columns["query"].append(_decode(parts[0], path, number))
            columns["document"].append(_decode(parts[2], path, number))
            columns["score"].append(_score(parts[4], path, number))
    return pa.table(columns, schema=SCHEMA)


def _open(path: Path) -> io.BufferedReader:
    """Open the decompressed bytes; Arrow's streams, unlike zstandard's, detect truncation."""
    kinds = {".gz": "gzip", ".zst": "zstd"}
    stream = pa.input_stream(str(path), compression=kinds.get(path.suffix.lower()))
    return io.BufferedReader(stream, buffer_size=1 << 20)


def _decode(raw: bytes, path: Path, line: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ResultsError(f"{path}:{line}: {raw!r} is not UTF-8.") from None


def _score(raw: bytes, path: Path, line: int) -> float:
    try:
        # Arrow rounds decimal text to float32 once; through Python's float it would be twice.
        return float(pa.scalar(raw.decode("ascii")).cast(pa.float32()).as_py())
    except (pa.ArrowInvalid, UnicodeDecodeError):
        raise ResultsError(f"{path}:{line}: the score {raw!r} is not a number.") from None


def _rows(column: pa.ChunkedArray, originals: Mapping[str, str]) -> tuple[list[str], Ints]:
    """Return distinct ids of a text column, and the row of each line among them."""
    # One chunk first: unifying the dictionaries of many chunks is quadratic in Arrow.
    whole = pa.array([], pa.string()) if not len(column) else column.combine_chunks()
    encoded = whole.dictionary_encode()
    rows = encoded.indices.to_numpy().astype(np.int64)
    return [originals.get(id, id) for id in encoded.dictionary.to_pylist()], rows


def _originals(known: Iterable[str], path: Path) -> dict[str, str]:
    """Return encoded form -> id, of the known ids with white space."""
    ids = list(known)
    if not _SPACE.search("".join(ids)):
        return {}
    spaced = {encode_id(id): id for id in ids if _SPACE.search(id)}
    for clash in spaced.keys() & set(ids):
        raise ResultsError(
            f"{path}: '{clash}' may stand for two known ids, '{clash}' and '{spaced[clash]}'."
            " Rename one of them."
        )
    return spaced


def _check_lines(path: Path, run: Run, comments: int) -> None:
    """Refuse NaN scores and a second result for one (query, document)."""
    first = comments + 1  # every line after the comments is a result
    nan = np.flatnonzero(np.isnan(run.score))
    if len(nan):
        raise ResultsError(f"{path}:{first + int(nan[0])}: the score is NaN, which has no rank.")
    keys = run.query * max(1, len(run.document_ids)) + run.document
    order = np.argsort(keys, kind="stable")
    again = order[1:][keys[order][1:] == keys[order][:-1]]
    if len(again):
        index = int(again.min())
        raise ResultsError(
            f"{path}:{first + index}: a second result for query"
            f" '{run.query_ids[run.query[index]]}' and document"
            f" '{run.document_ids[run.document[index]]}'. Keep one."
        )
