"""Judgements without a corpus, which are enough to score a run file.

TREC distributes judgements of collections that few people hold in full.
"""

from __future__ import annotations

from pathlib import Path

from rankstone.benchmarks.dataset import RawJudgements, Sources
from rankstone.benchmarks.loaders import beir
from rankstone.benchmarks.readers.qrels import read_judgements
from rankstone.errors import DataError, DefinitionError
from rankstone.specs import TaskSpec


def load(
    task: TaskSpec, sources: Sources, *, folder: str | None = None, file: str | None = None
) -> RawJudgements:
    """Find the judgements `qrels/<split>` of a `folder` of the data folder, or those in one `file`.

    Raises:
        DataError: there is no such file, or no such collection in the data folder.
        DefinitionError: both are named, or neither.
    """
    if (folder is None) == (file is None):
        raise DefinitionError(
            f"task '{task.name}': key 'source': expected either 'folder' or 'file'. Name one."
        )
    if folder is not None:
        raw = beir.load(task, sources, folder=folder)
        return RawJudgements(judgements=raw.judgements, splits=raw.splits, source=raw.source)
    path = Path(str(file)).expanduser()
    if not path.is_file():
        raise DataError(f"{task.name}: there is no file {path}. Name one with judgements.")
    return RawJudgements(
        judgements=lambda split: read_judgements(path),
        splits=lambda: [task.split],
        source=str(path),
    )
