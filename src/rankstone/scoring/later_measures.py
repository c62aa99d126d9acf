"""Measures that were added after a run, computed from the stored run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rankstone.errors import ResultsError
from rankstone.evaluation.measure_names import canonical
from rankstone.files import temporary_folder
from rankstone.results.per_query import read_per_query, write_per_query
from rankstone.results.record import RunRecord
from rankstone.results.side_files import SUFFIXES
from rankstone.results.store import ResultStore, Staged
from rankstone.scoring.task_qrels import Judged
from rankstone.scoring.verification import changed_data, evaluated


def with_measures(
    record: RunRecord,
    measures: Sequence[str],
    store: ResultStore,
    judged: Callable[[RunRecord], Judged],
) -> RunRecord:
    """Return the record, as stored, with `measures` by their `canonical` names; existing measures
    are not computed again.

    A failure, and a record without a run or values per query, is returned unchanged.

    Raises: RankstoneError, if a measure is unknown or deeper than the run, or the data changed.
    """
    missing = [
        name for name in dict.fromkeys(map(canonical, measures)) if name not in record.measures
    ]
    files, path = record.files, store.path(record)
    if not missing or files.run is None or files.per_query is None:
        return record
    opened = judged(record)
    if fault := next(changed_data(record, opened), None):
        raise ResultsError(f"{path}: {fault}. Run the method again: rankstone run")
    found = evaluated(record, path, opened, missing)
    former = read_per_query(path.with_name(files.per_query))
    if former.query_ids != list(found.query_ids):
        raise ResultsError(f"{path}: its queries changed. Run the method again: rankstone run")
    with temporary_folder(store.folder, ".measures-{}") as folder:
        file = folder / "per_query.parquet"
        values = {**former.measures, **found.per_query}
        write_per_query(file, former.query_ids, values, former.unseen)
        kept: Staged = {k: path.with_name(name) for k in SUFFIXES if (name := files[k])}
        every = {**record.measures, **found.measures}
        changed = record.model_copy(update={"measures": every})
        return store.write(changed, {**kept, "per_query": file})
