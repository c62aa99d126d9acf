"""Judgements without a corpus: enough to score a run file, and nothing else.

TREC hands out judgements over collections that few people keep whole. A task whose loader is
`load` holds those alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rankstone.benchmarks.dataset import Judgement, RawJudgements, Sources
from rankstone.benchmarks.loaders import beir
from rankstone.benchmarks.pins import check_pins
from rankstone.benchmarks.readers.lines import read_judgements
from rankstone.benchmarks.storage.arrow_tables import ContentDigest, text_array
from rankstone.errors import DataError, DefinitionError, did_you_mean
from rankstone.specs import TaskSpec


@dataclass(frozen=True, kw_only=True)
class JudgedQueries:
    """The judgements of one split, by ids."""

    qrels: dict[str, dict[str, int]]
    """Query id -> document id -> label, in the order of the file."""
    sha256: dict[str, str]
    """Digest of the `judgements`: the one that a data set with the same judgements has."""
    source: str
    warnings: tuple[str, ...] = ()


def load(
    task: TaskSpec, sources: Sources, *, folder: str | None = None, file: str | None = None
) -> RawJudgements:
    """The judgements `qrels/<split>` of a `folder` of the data folder, or those in one `file`.

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


def judged_queries(task: TaskSpec, raw: RawJudgements) -> JudgedQueries:
    """The task's split of `raw`, checked against what the task pins, cut at its limit.

    Raises:
        DataError: no such split, two labels for one pair, nothing judged, or not what is pinned.
    """
    known = list(raw.splits())
    if task.split not in known:
        hint = did_you_mean(task.split, known) or f" It has: {', '.join(known) or 'none'}."
        raise DataError(f"{task.name}: no judgements for the split '{task.split}'.{hint}")
    where = f"{task.name}: judgements of the split '{task.split}' ({raw.source})"
    qrels, n_repeated = _by_query(raw.judgements(task.split), where)
    counts = {"queries": len(qrels), "judgements": sum(map(len, qrels.values()))}
    check_pins(task, counts, {"judgements": _digest(qrels)}, raw.source)
    first = dict(list(qrels.items())[: task.limit_queries])
    warning = f"{where}: {n_repeated} judgements are repeated and count once"
    return JudgedQueries(
        qrels=first,
        sha256={"judgements": _digest(first)},
        source=raw.source,
        warnings=(warning,) if n_repeated else (),
    )


def _by_query(judgements: Iterable[Judgement], where: str) -> tuple[dict[str, dict[str, int]], int]:
    """The judgements by query, and how many were repeated."""
    qrels: dict[str, dict[str, int]] = {}
    n_repeated = 0
    for query, document, label in judgements:
        labels = qrels.setdefault(query, {})
        n_repeated += document in labels
        former = labels.setdefault(document, label)
        if former != label:
            raise DataError(
                f"{where}: query '{query}' and document '{document}' are judged {former} and "
                f"{label}. Keep one."
            )
    if not qrels:
        raise DataError(f"{where}: holds no judgements. Fetch it again.")
    return qrels, n_repeated


def _digest(qrels: dict[str, dict[str, int]]) -> str:
    """As `checks.split_digests` has it: over query, document and label, in the order of the ids."""
    rows = sorted(
        (query, document, str(label))
        for query, labels in qrels.items()
        for document, label in labels.items()
    )
    digest = ContentDigest(3)
    digest.update([text_array(column)[0] for column in zip(*rows, strict=True)])
    return digest.hexdigest()
