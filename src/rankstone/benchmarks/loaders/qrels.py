"""Judgements without a corpus, which suffice to score a run file.

TREC distributes judgements of collections that few users have in full.
"""

from __future__ import annotations

from rankstone.benchmarks.dataset import RawJudgements, Sources
from rankstone.benchmarks.loaders import beir, irds
from rankstone.benchmarks.readers.qrels import read_judgements
from rankstone.errors import DataError, DefinitionError
from rankstone.specs import TaskSpec


def load(
    task: TaskSpec,
    sources: Sources,
    *,
    folder: str | None = None,
    file: str | None = None,
    irds_id: str | None = None,
    listed: str | None = None,
    content: str | None = None,
) -> RawJudgements:
    """Find the judgements `qrels/<split>` of a `folder` of the data folder, or a single `file`.

    Args:
        irds_id: id in ir_datasets whose judgements are used instead.
        listed: name of their file in ir_datasets' list of downloads.
        content: digest of the file when the task was named.

    Raises:
        DataError: the file, or the collection in the data folder, does not exist.
        DefinitionError: not exactly one of the three is given.
    """
    if sum(source is not None for source in (folder, file, irds_id)) != 1:
        raise DefinitionError(
            f"task '{task.name}': key 'source': expected one of 'folder', 'file' and 'irds_id'."
            " Name one."
        )
    if folder is not None:
        raw = beir.load(task, sources, folder=folder)
        return RawJudgements(judgements=raw.judgements, splits=raw.splits, source=raw.source)
    if irds_id is not None:
        return _of_irds(task, sources, irds_id, [] if listed is None else [listed])
    path = task.path(str(file))
    if not path.is_file():
        raise DataError(f"{task.name}: there is no file {path}. Name one with judgements.")
    return RawJudgements(
        judgements=lambda split: read_judgements(path),
        splits=lambda: [task.split],
        source=str(path),
    )


def _of_irds(task: TaskSpec, sources: Sources, id: str, listed: list[str]) -> RawJudgements:
    names = {task.split: id}
    raw = irds.load(task, sources, id=id, splits=names, files={task.split: listed})
    return RawJudgements(
        judgements=raw.judgements,
        splits=raw.splits,
        source=raw.source,
        present=lambda: irds.fetched(id, listed, sources),
    )
