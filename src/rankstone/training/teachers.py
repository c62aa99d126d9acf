"""Scores of a teacher, which distillation losses take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.errors import DefinitionError
from rankstone.runners.construct import build_runner
from rankstone.specs import MethodSpec, Recipe
from rankstone.training.data import Examples

Scores = NDArray[np.float64]


def teacher_scores(recipe: Recipe, examples: Examples, rows: Ints, chosen: Ints) -> Scores:
    """Return the teacher's (n_pairs, candidates) scores of `chosen` positions.

    A two-stage method scores by its `[scorer]`, a dense one by the inner product of its vectors.
    """
    if not isinstance(recipe.teacher, MethodSpec):
        raise DefinitionError(
            f"[training]: the loss '{recipe.loss}' learns from a teacher. Name a method: teacher"
        )
    runner: Any = build_runner(recipe.teacher)
    scorer = getattr(runner, "scorer", None)
    if scorer is not None:
        return _scored(scorer, examples, rows, chosen)
    return _products(runner, examples, rows, chosen)


def _scored(scorer: Any, examples: Examples, rows: Ints, chosen: Ints) -> Scores:
    found = np.empty(chosen.shape, dtype=np.float64)
    for number, (row, positions) in enumerate(zip(rows.tolist(), chosen, strict=True)):
        found[number] = scorer.score(examples.queries[row], examples.documents.take(positions))
    return found


def _products(runner: Any, examples: Examples, rows: Ints, chosen: Ints) -> Scores:
    asked, of_query = np.unique(rows, return_inverse=True)
    positions, of_document = np.unique(chosen, return_inverse=True)
    queries = _vectors(runner, [examples.queries[row] for row in asked.tolist()], "query")
    documents = _vectors(runner, examples.documents.take(positions), "document")
    taken = documents[of_document.reshape(chosen.shape)].astype(np.float64)
    products: Scores = np.einsum("nd,ncd->nc", queries[of_query].astype(np.float64), taken)
    return products


def _vectors(runner: Any, texts: Sequence[str], role: str) -> NDArray[np.float32]:
    vectors = runner.encode(texts, role)
    if not isinstance(vectors, np.ndarray):
        raise DefinitionError(
            "[training]: key 'teacher': expected a dense method, or a two-stage one with a"
            " [scorer]. Name one."
        )
    return vectors
