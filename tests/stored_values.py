"""Records stored with values per query, for tests of what compares methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.results.per_query import write_per_query
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore, Staged


def store_values(
    folder: Path, record: RunRecord, values: Any, queries: Sequence[str] = ()
) -> RunRecord:
    """Store `record` in `folder` with values of nDCG@10, or of each measure, per query.

    The queries are q0, q1, ... unless they are named.
    """
    columns = values if isinstance(values, Mapping) else {"nDCG@10": values}
    columns = {name: np.asarray(column, dtype=float) for name, column in columns.items()}
    file = folder.parent / "values"
    file.parent.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(columns.values())))
    write_per_query(file, queries or [f"q{n}" for n in range(count)], columns)
    return ResultStore(folder).write(record, Staged(per_query=file))


def store_mean(folder: Path, record: RunRecord, values: Any) -> tuple[RunRecord, Path]:
    """Store `record` with these values of nDCG@10, its only measure; return it and its path."""
    measure = record.measures["nDCG@10"].model_copy(update={"mean": float(np.mean(values))})
    changed = record.model_copy(update={"measures": {"nDCG@10": measure}})
    stored = store_values(folder, changed, values)
    return stored, ResultStore(folder).path(stored)
