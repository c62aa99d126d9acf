"""Training data of a method, and its figures on queries that training did not see.

A method that was trained on the training split of a collection has seen the documents that are
relevant there. If some of them are also relevant in the test, the method is scored again on the
queries without such documents (docs: protocols of quality).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.benchmarks.dataset import Dataset, Judgements
from rankstone.evaluation.evaluate import Evaluation, measures_of
from rankstone.registry import ADAPTERS
from rankstone.results.record import TRAINING, TrainedOn, Unseen
from rankstone.specs import AdapterSpec, MethodSpec, TaskSpec

ORDER: tuple[TrainedOn, ...] = ("none", "corpus", TRAINING, "other")


def trained_on(
    method: MethodSpec, task: TaskSpec, *, learnt: bool, fitted: bool
) -> list[TrainedOn]:
    """Return the data on which `method` was trained, as far as known; empty if unknown.

    Args:
        learnt: it used training queries or their judgements.
        fitted: it was fitted to the corpus.
    """
    found: set[TrainedOn] = set(_of_weights(method, task))
    found |= {TRAINING} if learnt else {"corpus"} if fitted else set()
    if not found and not any(_may_have_weights(part) for part in _parts(method)):
        return ["none"]
    return [kind for kind in ORDER if kind in found]


def _of_weights(method: MethodSpec, task: TaskSpec) -> Iterator[TrainedOn]:
    here = set(task.dataset.split("/"))
    for part in _parts(method):
        for name in (isinstance(part, MethodSpec) and part.trained_on) or ():
            yield TRAINING if name in here else "other"
        recipe = part.training
        while recipe is not None:
            for data in recipe.data:
                own = isinstance(data, str) or data.dataset == task.dataset
                yield TRAINING if own else "other"
            for teacher in recipe.teachers.values():  # what it knows, it passes on
                yield from _of_weights(teacher, task)
            recipe = recipe.first


def _may_have_weights(part: AdapterSpec) -> bool:
    """Return True if it has weights, here or (`model_id`) behind an API, or is code of others,
    such as a Python object."""
    return bool(part.models) or "model_id" in part.parameters or part.adapter not in ADAPTERS


def _parts(spec: AdapterSpec) -> Iterator[AdapterSpec]:
    yield spec
    inner = [
        *spec.members,
        *([spec.scorer] if isinstance(spec, MethodSpec) and spec.scorer else []),
    ]
    for one in inner:
        yield from _parts(one)


class Seen(NamedTuple):
    """Test queries by overlap with the training data."""

    unseen: NDArray[np.bool_]
    """(n_queries,) True if no relevant document of the query is relevant in training."""
    judgements: int
    """Number of relevant judgements whose documents are relevant in training."""
    relevant: int


def taught_by_split(dataset: Dataset) -> NDArray[np.int64]:
    """Return the documents that are relevant in the training split."""
    return np.unique(_relevant(dataset.train_judgements, dataset.task.relevance)[1])


def seen(dataset: Dataset, taught: NDArray[np.int64]) -> Seen | None:
    """Return the overlap with the training data; None if no relevant document is shared.

    Args:
        taught: documents that are relevant in training.
    """
    rows, documents = _relevant(dataset.judgements, dataset.task.relevance)
    shared = (documents >= 0) & np.isin(documents, taught)
    if not shared.any():
        return None
    unseen = np.ones(len(dataset.query_ids), dtype=bool)
    unseen[rows[shared]] = False
    return Seen(unseen, int(shared.sum()), len(rows))


def _relevant(judgements: Judgements, least: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and documents of the relevant judgements."""
    kept = judgements.label >= least
    return judgements.query[kept], judgements.document[kept]


def scored_unseen(evaluation: Evaluation, found: Seen) -> Unseen:
    """Return the measures over the queries that training did not see."""
    n = int(found.unseen.sum())
    values = {name: column[found.unseen] for name, column in evaluation.per_query.items()}
    return Unseen(
        queries=n,
        seen_judgements=found.judgements,
        relevant_judgements=found.relevant,
        measures=measures_of(values) if n else {},
    )
