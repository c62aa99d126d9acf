"""Teacher scores for distillation losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.errors import DefinitionError
from rankstone.runners.compose.fusion_base import Fusion, normalise
from rankstone.runners.construct import build_runner
from rankstone.runners.representations.base import take
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.representations.sparse_rows import SparseRows
from rankstone.runners.search.rescoring import similarities
from rankstone.specs import MethodSpec, Recipe
from rankstone.training.data import Examples

Scores = NDArray[np.float64]


def teacher_scores(recipe: Recipe, examples: Examples, rows: Ints, chosen: Ints) -> Scores:
    """Return the teacher's scores of the `chosen` positions, both (n_pairs, candidates).

    A two-stage method scores with its `[scorer]`, an encoder by the similarity of its
    representations, and a weighted fusion by the weighted sum of its members' scores, normalised
    over each pair's candidates, like the heterogeneous teachers of Geng et al. (arXiv:2411.04403).
    """
    if not isinstance(recipe.teacher, MethodSpec):
        raise DefinitionError(
            f"[training]: the loss '{recipe.loss}' learns from a teacher. Name a method as"
            " 'teacher'."
        )
    return _scores(build_runner(recipe.teacher), examples, rows, chosen)


def _scores(runner: Any, examples: Examples, rows: Ints, chosen: Ints) -> Scores:
    how, weights = (getattr(runner, name, None) for name in ("normalisation", "weights"))
    if isinstance(runner, Fusion) and how is not None and isinstance(weights, list):
        parts = [_scores(member, examples, rows, chosen) for member in runner.members]
        scaled = (normalise(part.astype(np.float32), how) for part in parts)
        fused: Scores = np.sum([w * n for w, n in zip(weights, scaled, strict=True)], axis=0)
        return fused
    scorer = getattr(runner, "scorer", None)
    if scorer is not None:
        return _scored(scorer, examples, rows, chosen)
    return _compared(runner, examples, rows, chosen)


def _scored(scorer: Any, examples: Examples, rows: Ints, chosen: Ints) -> Scores:
    found = np.empty(chosen.shape, dtype=np.float64)
    for number, (row, positions) in enumerate(zip(rows.tolist(), chosen, strict=True)):
        found[number] = scorer.score(examples.queries[row], examples.documents.take(positions))
    return found


def _compared(runner: Any, examples: Examples, rows: Ints, chosen: Ints) -> Scores:
    asked, of_query = np.unique(rows, return_inverse=True)
    positions, of_document = np.unique(chosen, return_inverse=True)
    queries = _encoded(runner, [examples.queries[row] for row in asked.tolist()], "query")
    documents = _encoded(runner, examples.documents.take(positions), "document")
    found = np.empty(chosen.shape, dtype=np.float64)
    places = of_document.reshape(chosen.shape)
    for number, query in enumerate(of_query.tolist()):
        compared = take(documents, places[number])
        found[number] = similarities(queries[query : query + 1], compared)
    return found


def _encoded(runner: Any, texts: Sequence[str], role: str) -> Any:
    found = runner.encode(texts, role)
    if isinstance(found, (np.ndarray, Ragged, SparseRows)):
        return found
    raise DefinitionError(
        "[training]: key 'teacher': expected an encoder, a weighted fusion of encoders with stated"
        " weights, or a two-stage method with a [scorer]. Name one."
    )
