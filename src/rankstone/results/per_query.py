"""The Parquet files beside a record: measures per query, and raw latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rankstone.arrays import Floats
from rankstone.errors import ResultsError

UNSEEN = "unseen"
"""Name of the column of queries whose relevant documents are not relevant in training."""


class PerQuery(NamedTuple):
    query_ids: list[str]
    measures: dict[str, Floats]
    """Measure name -> (n_queries,) values."""
    unseen: NDArray[np.bool_] | None = None
    """(n_queries,) True where no relevant document is relevant in training; None: not recorded."""


class RawLatency(NamedTuple):
    """Milliseconds, one entry per timed query, in the order they were run."""

    encode_ms: Floats
    search_ms: Floats


def write_per_query(
    path: Path,
    query_ids: Sequence[str],
    measures: Mapping[str, Floats],
    unseen: NDArray[np.bool_] | None = None,
) -> None:
    """Write `query`, one float64 column per measure, in the mapping's order, and `unseen`.

    Raises:
        ResultsError: A measure is named as another column, or does not have one value per query.
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
