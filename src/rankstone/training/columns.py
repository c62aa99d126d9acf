"""Training pairs as columns, in the formats expected by the losses of sentence-transformers."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.errors import DefinitionError
from rankstone.runners.protocols import AnyRunner
from rankstone.specs import Recipe
from rankstone.text_files import SENTENCE_JOINT
from rankstone.training.data import Documents, Examples
from rankstone.training.docids import ids_of, inputs
from rankstone.training.negatives import with_negatives
from rankstone.training.teachers import teacher_scores

Form = Literal[
    "pairs", "candidates", "scores", "numbered", "taught", "asked", "labelled", "lists", "texts",
    "docids", "located",
]  # fmt: skip
"""Columns of a row, by format:

* pairs: query, relevant document, negatives.
* candidates: as pairs, for losses that need negatives.
* scores: as pairs, with the teacher's scores of the documents.
* numbered: as pairs, with the numbers of the query and the documents, by which a loss recognises
  other relevant documents in its batch.
* taught: as pairs, with the numbers and then the scores.
* asked: query, and the numbers of the query and the relevant document.
* labelled: query, document, label 1 or 0.
* lists: query, documents, their labels.
* texts: one document, relevant or not.
* located: query, document, the part of the document that is relevant to the query.
* docids: an input that stands for a document, and the document's position.
"""
EXACT = 2**24
"""Smaller integers are exact in float32, the type of the labels that a loss receives."""
COMPARED = ("candidates", "labelled", "lists", "scores", "taught")
"""Formats whose losses need a negative in each row, because they use no in-batch negatives."""
Columns = dict[str, list[Any]]


class Table(NamedTuple):
    columns: Columns
    queries: Ints
    """(n_rows,) query number of each row."""
    margins: NDArray[np.float64] | None = None
    """(n_rows,) teacher's score of the relevant document minus that of the first negative."""

    def __len__(self) -> int:
        return len(self.queries)


def columns(recipe: Recipe, examples: Examples, form: Form, start: AnyRunner) -> Table:
    """Return the rows of all pairs, shuffled by the recipe's seed.

    Pairs that no training step would use are left out.
    """
    if form == "texts":
        return _documents(recipe, examples)
    if form == "docids":
        return _docids(recipe, examples, start)
    rows, positives = pairs(examples)
    order = np.random.default_rng(recipe.seed).permutation(len(rows))[: recipe.steps * recipe.batch]
    order = np.repeat(order, recipe.pool)
    rows, positives = rows[order], positives[order]
    numbers = examples.numbers[rows]
    queries = [examples.queries[row] for row in rows.tolist()]
    if form == "asked":
        labels = np.column_stack([numbers, positives]).tolist()
        return Table({"anchor": queries, "label": labels}, numbers)
    if form == "located":
        return Table({"anchor": queries, **_located(examples.documents, positives)}, numbers)
    chosen = with_negatives(recipe, examples, rows, positives, start)
    if form in COMPARED and chosen.shape[1] < 2:
        raise DefinitionError(
            f"[training]: the loss '{recipe.loss}' compares documents. State 'negatives'."
        )
    texts: list[list[str]] = _texts(examples, chosen)
    if form == "labelled":
        return Table(_labelled(queries, texts), np.repeat(numbers, chosen.shape[1]))
    if form == "lists":
        labels = [[1] + [0] * (chosen.shape[1] - 1)] * len(queries)
        return Table({"query": queries, "documents": texts, "label": labels}, numbers)
    body: Columns = {"anchor": queries, "positive": [row[0] for row in texts]}
    for number in range(1, chosen.shape[1]):
        body[f"negative_{number}"] = [row[number] for row in texts]
    numbered = np.column_stack([numbers, chosen])
    if form == "numbered":
        body["label"] = numbered.tolist()
    if form not in ("scores", "taught"):
        return Table(body, numbers)
    scores = teacher_scores(recipe, examples, rows, chosen)
    labels = scores if form == "scores" else np.column_stack([numbered, scores])
    if form == "taught" and numbered.max() >= EXACT:
        raise DefinitionError(
            f"[training]: '{recipe.loss}' takes at most {EXACT:,} documents. Name a smaller task."
        )
    return Table({**body, "label": labels.tolist()}, numbers, scores[:, 0] - scores[:, 1])


def pairs(examples: Examples) -> tuple[Ints, Ints]:
    """Return the query row and the relevant document's position of every pair."""
    counts = [len(found) for found in examples.relevant]
    rows = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return rows, np.concatenate(examples.relevant)


def _documents(recipe: Recipe, examples: Examples) -> Table:
    _refuse_held_out(recipe)
    order = np.random.default_rng(recipe.seed).permutation(len(examples.documents))
    order = order[: recipe.steps * recipe.batch].astype(np.int64)
    return Table({"anchor": examples.documents.take(order)}, order)


def _docids(recipe: Recipe, examples: Examples, runner: Any) -> Table:
    _refuse_held_out(recipe)
    texts, positions = inputs(recipe, examples, runner)
    order = np.random.default_rng(recipe.seed).permutation(len(texts))
    order = order[: recipe.steps * recipe.batch].astype(np.int64)
    chosen = [texts[row] for row in order]
    return Table({"anchor": chosen, "label": np.array(positions)[order].tolist()}, order)


def _located(documents: Documents, positives: Ints) -> Columns:
    """Return the relevant sentences, and the documents that they are of.

    The id of a sentence is that of its document, `#` and its number.
    """
    owners = [id.rpartition("#")[0] for id in ids_of(documents)]
    if "" in owners:
        raise DefinitionError(
            "[training]: this loss learns which sentences of a document are relevant. Name a task"
            " of sentences in 'data', such as \"nq/gold-sentences\"."
        )
    starts = dict[str, int]()
    for position, owner in enumerate(owners):
        starts.setdefault(owner, position)
    sizes = Counter(owners)
    firsts = [starts[owners[position]] for position in positives.tolist()]
    wholes = [
        SENTENCE_JOINT.join(documents[first : first + sizes[owners[first]]]) for first in firsts
    ]
    return {"positive": wholes, "target": documents.take(positives)}


def _refuse_held_out(recipe: Recipe) -> None:
    if recipe.held_out:
        raise DefinitionError(
            f"[training]: '{recipe.loss}' learns from documents alone, so queries cannot be held"
            " out. Remove 'held_out'."
        )


def _texts(examples: Examples, chosen: Ints) -> list[list[str]]:
    positions, places = np.unique(chosen, return_inverse=True)
    texts = examples.documents.take(positions)
    return [[texts[place] for place in row] for row in places.reshape(chosen.shape)]


def _labelled(queries: list[str], texts: list[list[str]]) -> Columns:
    return {
        "query": [query for query, row in zip(queries, texts, strict=True) for _ in row],
        "document": [text for row in texts for text in row],
        "label": [float(number == 0) for row in texts for number, _ in enumerate(row)],
    }
