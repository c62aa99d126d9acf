"""Training pairs as columns, in the forms that losses of sentence-transformers read."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.errors import DefinitionError
from rankstone.runners.protocols import AnyRunner
from rankstone.specs import Recipe
from rankstone.training.data import Examples
from rankstone.training.docids import inputs
from rankstone.training.negatives import with_negatives
from rankstone.training.teachers import teacher_scores

Form = Literal[
    "pairs", "candidates", "scores", "numbered", "taught", "asked", "labelled", "lists", "texts",
    "docids",
]  # fmt: skip
"""pairs: query, relevant document, negatives. candidates: the same, of a loss that needs negatives.
scores: and the teacher's scores of these. numbered: and the numbers of the query and of the
documents, by which a loss finds other relevant ones in its batch. taught: and both, the numbers
first. asked: the query, and the numbers of it and the relevant document. labelled: query, document,
1 or 0. lists: query, documents, their labels. texts: documents alone, relevant or not. docids:
inputs of documents, and their positions."""
EXACT = 2**24
"""Numbers below are exact in float32, in which labels reach a loss."""
COMPARED = ("candidates", "labelled", "lists", "scores", "taught")
"""Forms whose losses learn from a document beside the relevant one, and not from the batch's."""
Columns = dict[str, list[Any]]


class Table(NamedTuple):
    columns: Columns
    queries: Ints
    """(n_rows,) number of each row's query."""
    margins: NDArray[np.float64] | None = None
    """(n_rows,) the teacher's score of the relevant document less that of the first negative."""

    def __len__(self) -> int:
        return len(self.queries)


def columns(recipe: Recipe, examples: Examples, form: Form, start: AnyRunner) -> Table:
    """Return rows for each pair, in the order of a permutation by the recipe's seed.

    Pairs that no step would see are left out.
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
    """Return the rows of queries, and positions of their relevant documents, of all pairs."""
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


def _refuse_held_out(recipe: Recipe) -> None:
    if recipe.held_out:
        raise DefinitionError(
            f"[training]: '{recipe.loss}' learns from documents, and no queries are held out."
            " Remove 'held_out'."
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
