"""Collections in BEIR layout, a folder or a `.tar.zst` archive, named by path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rankstone.benchmarks.content import content_digest, pinned
from rankstone.benchmarks.dataset import RawDataset, Sources
from rankstone.benchmarks.loaders import beir
from rankstone.errors import DataError
from rankstone.specs import TaskSpec


def load(task: TaskSpec, sources: Sources, *, path: str, content: str | None = None) -> RawDataset:
    """Return the collection in the folder or archive at `path`.

    Args:
        content: `content_of` the path when the task was named.

    Raises:
        DataError: there is neither a folder nor an archive, or it is not in BEIR layout; or, when
            the data is read, its content differs from `content`.
    """
    given = task.path(path)
    if given.is_dir():
        splits_of(given)
    elif not (given.is_file() and given.name.endswith(beir.PACKED)):
        raise DataError(
            f"{task.name}: {given}: no such folder or {beir.PACKED} archive. Correct the path."
        )
    # The parent folder serves as the data folder.
    around = replace(sources, data=given.parent)
    raw = beir.load(task, around, folder=given.name.removesuffix(beir.PACKED))
    return pinned(replace(raw, source=str(given)), content, lambda: content_of(given))


def content_of(path: Path) -> str:
    """Return the digest of the files that are read from a folder, or of an archive."""
    if path.is_file():
        return content_digest({"archive": path})
    files = beir.Files(path)
    read = [*files.parts("corpus"), *files.query_files(), *files.qrels().values()]
    return content_digest({one.relative_to(path).as_posix(): one for one in read})


def splits_of(folder: Path) -> list[str]:
    """Return the splits for which a folder in BEIR layout has judgements.

    Raises:
        DataError: the folder is not in BEIR layout; the message names the missing files.
    """
    splits = beir.Files(folder).qrels()
    missing = [f"{stem}.jsonl" for stem in ("corpus", "queries") if not beir.parts_of(folder, stem)]
    if missing or not splits:
        lacks = " and ".join([*missing, *([] if splits else ["qrels/<split>.tsv"])])
        raise DataError(
            f"{folder}: not in BEIR layout: no {lacks}. Add it, or name documents, topics and "
            "judgements apart: --on files:docs=PATH,topics=PATH,qrels=PATH"
        )
    return sorted(splits)
