"""Training data of a recipe: reading, separation from the test data, and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rankstone.arrays import Ints
from rankstone.benchmarks.dataset import Corpus, Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError
from rankstone.files import sha256_of
from rankstone.specs import OWN, Recipe, TaskSpec, canonical_digest

BLOCK = 1024


@dataclass(frozen=True)
class Documents:
    """Concatenation of several corpora, addressed by position."""

    corpora: tuple[Corpus, ...]

    def __len__(self) -> int:
        return sum(map(len, self.corpora))

    def take(self, positions: Ints) -> list[str]:
        """Return the texts at `positions`, in that order."""
        starts = np.cumsum([0, *map(len, self.corpora)])
        texts = np.empty(len(positions), dtype=object)
        of = np.searchsorted(starts, positions, side="right") - 1
        for number, corpus in enumerate(self.corpora):
            rows = np.flatnonzero(of == number)
            if len(rows):
                texts[rows] = corpus.take(positions[rows] - starts[number])
        return list(texts)

    def __getitem__(self, rows: slice) -> list[str]:
        return self.take(np.arange(*rows.indices(len(self)), dtype=np.int64))


class Examples(NamedTuple):
    """Training queries, each with the positions of its relevant documents."""

    queries: Sequence[str]
    relevant: Sequence[Ints]
    documents: Documents
    numbers: Ints
    """Numbers of the queries; selecting queries does not change them."""

    def at(self, rows: Ints) -> Examples:
        chosen = rows.tolist()
        queries = [self.queries[row] for row in chosen]
        relevant = [self.relevant[row] for row in chosen]
        return Examples(queries, relevant, self.documents, self.numbers[rows])

    def split(self, share: float, seed: int) -> tuple[Examples, Examples]:
        """Return the training queries and the held-out queries, at least one of each.

        Raises:
            DataError: there is only one query.
        """
        if share and len(self.queries) < 2:
            raise DataError(
                "[training]: 'held_out' takes queries from the training, and there is only one."
                " Remove it."
            )
        order = np.random.default_rng(seed).permutation(len(self.queries))
        n = min(max(1, round(share * len(order))), len(order) - 1) if share else 0
        return self.at(np.sort(order[n:])), self.at(np.sort(order[:n]))


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Training data of a recipe, and its overlap with the test task."""

    examples: Examples
    relevant: Sequence[Ints]
    """Positions of the relevant documents, by query number."""
    digest: str
    tasks: tuple[str, ...]
    dropped: int
    """Number of training queries left out because of the test's queries or documents."""
    taught: Ints
    """Positions of documents of the test corpus that are relevant in both training and test."""


def normalised(text: str) -> str:
    """Return the text in lower case with single spaces; equal results count as duplicates."""
    return " ".join(text.lower().split())


def data_tasks(recipe: Recipe, task: TaskSpec) -> list[TaskSpec]:
    """Return the resolved tasks of the recipe; `own` stands for the test task."""
    found = [task if one == OWN else one for one in recipe.data]
    unresolved = [one for one in found if isinstance(one, str)]
    if unresolved:
        raise DataError(
            f"[training]: the task '{unresolved[0]}' was not looked up. Run the method by its name."
        )
    return [one for one in found if isinstance(one, TaskSpec)]


def training_data(recipe: Recipe, test: Dataset, sources: Sources) -> TrainingData:
    """Return the training queries of the recipe's tasks, without those that it excludes.

    Raises:
        DataError: a task has no training split, the data contains test queries, or no query is
            left.
    """
    tasks = data_tasks(recipe, test.task)
    opened = [test if task == test.task else open_dataset(task, sources) for task in tasks]
    examples = _joined(opened)
    asked = {normalised(text) for text in test.query_texts}
    repeated = [normalised(text) in asked for text in examples.queries]
    if any(repeated) and recipe.repeated_queries == "refuse":
        first = examples.queries[repeated.index(True)]
        raise DataError(
            f"{test.task.name}: {sum(repeated):,} training queries of"
            f" {', '.join(t.name for t in tasks)} are queries of the test, such as {first!r:.80}."
            ' Leave them out: repeated_queries = "drop" in [training].'
        )
    wanted = relevant_texts(test)
    known = {place: text for place, text in _texts(examples) if text in wanted}
    kept = ~np.array(repeated, dtype=bool)
    if recipe.documents == "disjoint":
        kept &= [not any(p in known for p in found.tolist()) for found in examples.relevant]
    if not kept.any():
        raise DataError(f"{test.task.name}: no training query is left. Correct [training].")
    left = examples.at(np.flatnonzero(kept))
    taught = {known[p] for found in left.relevant for p in found.tolist() if p in known}
    return TrainingData(
        examples=left,
        relevant=examples.relevant,
        digest=_digest(left, opened, _synthetic(recipe)),
        tasks=tuple(task.name for task in tasks),
        dropped=int((~kept).sum()),
        taught=np.array(sorted({p for text in taught for p in wanted[text]}), dtype=np.int64),
    )


def _joined(opened: Sequence[Dataset]) -> Examples:
    queries, relevant, start = list[str](), list[Ints](), 0
    for dataset in opened:
        judged = dataset.train_judgements
        right = judged.label >= dataset.task.relevance
        rows, documents = judged.query[right], judged.document[right]
        if not len(rows):
            raise DataError(
                f"{dataset.task.name}: it has no training split to learn from. Name another task in"
                f" [training] data, or run folds of it: {dataset.task.name}@fold1of5"
            )
        order = np.lexsort((documents, rows))
        asked, first = np.unique(rows[order], return_index=True)
        queries += [dataset.train_queries[row] for row in asked.tolist()]
        relevant += np.split(documents[order] + start, first[1:])
        start += len(dataset.corpus)
    whole = Documents(tuple(one.corpus for one in opened))
    return Examples(queries, relevant, whole, np.arange(len(queries), dtype=np.int64))


def relevant_texts(test: Dataset) -> dict[str, list[int]]:
    """Return text -> positions, of the documents that are relevant in the test."""
    judged = test.judgements
    right = (judged.label >= test.task.relevance) & (judged.document >= 0)
    positions = np.unique(judged.document[right])
    found = dict[str, list[int]]()
    for position, text in zip(positions.tolist(), test.corpus.take(positions), strict=True):
        found.setdefault(normalised(text), []).append(position)
    return found


def _texts(examples: Examples) -> Iterable[tuple[int, str]]:
    """Yield the position and the normalised text of each relevant document."""
    positions = np.unique(np.concatenate(examples.relevant))
    for start in range(0, len(positions), BLOCK):
        part = positions[start : start + BLOCK]
        texts = map(normalised, examples.documents.take(part))
        yield from zip(part.tolist(), texts, strict=True)


def _synthetic(recipe: Recipe) -> list[str]:
    """Return the sha256 of the file of synthetic queries; empty if the recipe names none."""
    inputs = recipe.options.get("inputs")
    path = inputs.get("queries") if isinstance(inputs, Mapping) else None
    try:
        return [] if path is None else [sha256_of(Path(path))]
    except OSError as error:
        raise DataError(f"[training]: 'options.inputs.queries': {error}. Correct it.") from None


def _digest(examples: Examples, opened: Sequence[Dataset], files: Sequence[str]) -> str:
    """Return the digest of the corpora, the queries, their relevant documents, and `files`."""
    pairs = hashlib.sha256()
    for query, found in zip(examples.queries, examples.relevant, strict=True):
        pairs.update(query.encode() + b"\0" + found.astype("<i8").tobytes() + b"\1")
    corpora = [[one.sha256["corpus"], one.task.text] for one in opened]
    return canonical_digest([corpora, pairs.hexdigest(), *files])
