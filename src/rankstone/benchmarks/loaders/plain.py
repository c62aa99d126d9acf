"""Collections in BEIR layout that lie anywhere: a folder, or its `.tar.zst`, named by its path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rankstone.benchmarks.dataset import RawDataset, Sources
from rankstone.benchmarks.loaders import beir
from rankstone.errors import DataError
from rankstone.specs import TaskSpec


def load(task: TaskSpec, sources: Sources, *, path: str) -> RawDataset:
    """The collection in the folder or archive at `path`.

    Raises:
        DataError: neither is there, or the folder is not in BEIR layout.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        splits_of(place)
    elif not (place.is_file() and place.name.endswith(beir.PACKED)):
        raise DataError(
            f"{task.name}: {place}: no such folder or {beir.PACKED} archive. Correct the path."
        )
    # The folder around it is, for once, the data folder.
    around = replace(sources, data=place.parent)
    raw = beir.load(task, around, folder=place.name.removesuffix(beir.PACKED))
    return replace(raw, source=str(place))


def splits_of(folder: Path) -> list[str]:
    """The splits that a folder in BEIR layout has judgements for.

    Raises:
        DataError: it is not in BEIR layout; the message says what is missing.
    """
    splits = {
        path.name.removesuffix(ending)
        for ending in beir.QRELS_ENDINGS
        for path in folder.glob(f"qrels/*{ending}")
    }
    missing = [f for f in ("corpus.jsonl", "queries.jsonl") if not any(folder.glob(f"{f}*"))]
    if missing or not splits:
        lacks = " and ".join([*missing, *([] if splits else ["qrels/<split>.tsv"])])
        raise DataError(
            f"{folder}: not in BEIR layout: no {lacks}. Add it, or name documents, topics and "
            "judgements apart: --on files:docs=PATH,topics=PATH,qrels=PATH"
        )
    return sorted(splits)
