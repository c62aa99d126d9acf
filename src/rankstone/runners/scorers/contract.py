"""Checks of scorers and their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError, DefinitionError
from rankstone.runners.protocols import Scorer

LARGEST = 1e30
"""Upper bound of scores, so that lower scores remain representable in float32."""


def require_scorer(scorer: Any) -> None:
    """Raise DefinitionError if `scorer` is not a scorer."""
    if not isinstance(scorer, Scorer):
        raise DefinitionError(
            f"table 'scorer': {type(scorer).__name__} does not score pairs."
            " Name an adapter with the methods of rankstone.runners.protocols.Scorer."
        )


def require_scores(scorer: Any) -> None:
    """Raise DefinitionError if `scorer` is listwise: its scores only order candidates of one
    list."""
    if getattr(scorer, "listwise", False):
        raise DefinitionError(
            f"table 'scorer': {type(scorer).__name__} orders candidates of one list, and its scores"
            ' of two lists cannot be compared. Use it behind adapter = "two_stage".'
        )


def require_any_order(scorer: Any) -> None:
    """Raise DefinitionError if `scorer` reads its candidates as one document: the results of a
    first stage are of many documents, and in its order."""
    if getattr(scorer, "one_document", False):
        raise DefinitionError(
            f"table 'scorer': {type(scorer).__name__} reads its candidates as the sentences of one"
            ' document, in order. Use it with adapter = "exhaustive", on a task with a filter.'
        )


def checked(given: Any, n: int, scorer: Any) -> NDArray[np.float32]:
    """Return the scores of `n` documents; AdapterError unless they are (n,), finite and bounded."""
    scores: NDArray[np.float32] = np.asarray(given, dtype=np.float32)
    if scores.shape != (n,) or not (np.abs(scores) < LARGEST).all():
        raise AdapterError(
            f"{type(scorer).__name__} gave scores of shape {scores.shape} for {n} documents:"
            f" expected ({n},), all finite and below {LARGEST:g}. The scorer is at fault."
        )
    return scores
