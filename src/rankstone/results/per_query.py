"""The Parquet files beside a record: measures per query, raw latencies, requests under load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rankstone.arrays import Floats, Ints
from rankstone.errors import ResultsError

UNSEEN = "unseen"
"""Name of the column that flags queries whose relevant documents are not relevant in training."""


class PerQuery(NamedTuple):
    query_ids: list[str]
    measures: dict[str, Floats]
    """Measure name -> (n_queries,) values."""
    unseen: NDArray[np.bool_] | None = None
    """(n_queries,) True if no relevant document is relevant in training; None if not recorded."""


class RawLatency(NamedTuple):
    """Milliseconds, one entry per timed query, in the order of execution."""

    encode_ms: Floats
    search_ms: Floats


ANSWERED, LATE, ABANDONED, DROPPED = range(4)
"""States of a request: answered in time; answered after the time limit; not served because it
waited longer than the limit; rejected because the queue was full."""
COLD, STEADY = -1, -2
"""Trial numbers of a cold start: the first queries of a new process, timed from its start, and the
same queries repeated."""
BEFORE, UPDATING, COMPACTED = -3, -4, -5
"""Trial numbers with updates: before them, during them, and after compaction."""
INSERT, DELETE, COMPACT = -1, -2, -3
"""Rows of requests that are not searches."""


class RawLoad(NamedTuple):
    """Requests of `rankstone load`, arrays of length n in the order of arrival."""

    trial: Ints
    """Trial number, from 0; `COLD` and `STEADY` for a cold start; `BEFORE`, `UPDATING` and
    `COMPACTED` for updates."""
    row: Ints
    """Position of the query in the task's order; `INSERT`, `DELETE` and `COMPACT` for updates."""
    scheduled_s: Floats
    """Arrival, in seconds since the start of the trial."""
    begun_s: Floats
    """Start of service; for requests that were not served, when they left the queue."""
    ended_s: Floats
    state: Ints
    same: Floats
    """1 if the answer equals that of a single client, 0 if not; NaN if not served. With updates: 0
    if a result had been deleted before the search."""
    overlap: Floats
    """Share of a single client's first results that are in the answer; NaN if not served. With
    updates: of the first results of exact search over the documents live at that moment."""
    value: Floats
    """The task's headline measure of the answer; NaN if not served."""
    single: Floats
    """The task's headline measure of the single client's answer."""

    @classmethod
    def of(cls, row: Any, scheduled: Any, begun: Any, ended: Any, state: Any) -> RawLoad:
        """Return requests of trial 0 whose answers are unknown."""
        unknown = np.full(len(row), np.nan)
        return cls(
            trial=np.zeros(len(row), np.int64),
            row=np.asarray(row, np.int64),
            scheduled_s=np.asarray(scheduled, np.float64),
            begun_s=np.asarray(begun, np.float64),
            ended_s=np.asarray(ended, np.float64),
            state=np.asarray(state, np.int64),
            same=unknown,
            overlap=unknown,
            value=unknown,
            single=unknown,
        )

    def where(self, chosen: NDArray[Any]) -> RawLoad:
        """Return the requests selected by a mask or by positions."""
        return RawLoad(*(column[chosen] for column in self))

    @classmethod
    def joined(cls, parts: Sequence[RawLoad]) -> RawLoad:
        """Return the concatenated requests of all parts."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    @property
    def served(self) -> NDArray[np.bool_]:
        """(n,) True if the request was answered, in time or not."""
        return self.state <= LATE


def write_per_query(
    path: Path,
    query_ids: Sequence[str],
    measures: Mapping[str, Floats],
    unseen: NDArray[np.bool_] | None = None,
) -> None:
    """Write `query`, one float64 column per measure, in the mapping's order, and `unseen`.

    Raises:
        ResultsError: a measure has the name of another column, or not one value per query.
    """
    for name, values in measures.items():
        if name in ("query", UNSEEN) or np.shape(values) != (len(query_ids),):
            raise ResultsError(
                f"{path}: measure '{name}' has shape {np.shape(values)};"
                f" expected one value for each of {len(query_ids)} queries."
            )
    columns = {name: pa.array(np.asarray(v, np.float64)) for name, v in measures.items()}
    more = {} if unseen is None else {UNSEEN: pa.array(unseen, pa.bool_())}
    _write(path, {"query": pa.array(list(query_ids), pa.string()), **columns, **more})


def read_per_query(path: Path) -> PerQuery:
    """Read the file of `write_per_query`; a ResultsError names the file."""
    table = _read(path, ["query"])
    names = [name for name in table.column_names if name not in ("query", UNSEEN)]
    values = {name: table[name].to_numpy().astype(np.float64) for name in names}
    unseen = table[UNSEEN].to_numpy() if UNSEEN in table.column_names else None
    return PerQuery(table["query"].to_pylist(), values, unseen)


def write_latency(path: Path, encode_ms: Floats, search_ms: Floats) -> None:
    """Write the latencies of a closed loop, both (n,) in milliseconds."""
    if np.shape(encode_ms) != np.shape(search_ms):
        raise ResultsError(
            f"{path}: {np.shape(encode_ms)} encode times for {np.shape(search_ms)} search times."
            " Time both of every query."
        )
    columns = {"encode_ms": encode_ms, "search_ms": search_ms}
    _write(path, {name: pa.array(np.asarray(v, np.float64)) for name, v in columns.items()})


def read_latency(path: Path) -> RawLatency:
    """Read the file of `write_latency`; a ResultsError names the file."""
    table = _read(path, ["encode_ms", "search_ms"])
    return RawLatency(table["encode_ms"].to_numpy(), table["search_ms"].to_numpy())


def write_load(path: Path, requests: RawLoad) -> None:
    """Write the requests of all trials."""
    _write(path, {name: pa.array(column) for name, column in requests._asdict().items()})


def read_load(path: Path) -> RawLoad:
    """Read the file of `write_load`; a ResultsError names the file."""
    table = _read(path, RawLoad._fields)
    return RawLoad(*(table[name].to_numpy() for name in RawLoad._fields))


def _write(path: Path, columns: Mapping[str, pa.Array]) -> None:
    pq.write_table(pa.table(dict(columns)), path, compression="zstd")


def _read(path: Path, needed: Sequence[str]) -> pa.Table:
    try:
        table = pq.read_table(path, memory_map=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ResultsError(f"{path}: cannot be read as Parquet: {error}") from error
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise ResultsError(f"{path}: column '{missing[0]}' is missing; found {table.column_names}.")
    return table
