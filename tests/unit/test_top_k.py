"""Selection of the top k scores against a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from rankstone.runners.top_k import GROUP, highest


@pytest.mark.parametrize("distinct", [3, 50, 10**6])
@pytest.mark.parametrize("n", [0, 1, 40 * GROUP, 40 * GROUP + 5])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_highest_are_the_first_of_all_in_order(distinct: int, n: int, share: float) -> None:
    rng = np.random.default_rng(0)
    scores = (rng.integers(1, distinct + 1, n) * (rng.random(n) < share)).astype(np.float32)
    scores[::7] *= -1
    order = np.lexsort((np.arange(n), -scores))
    order = order[scores[order] > 0]
    for k in (0, 1, 10, 39, 40, 2000):
        documents, values = highest(scores, k)
        np.testing.assert_array_equal(documents, order[:k])
        np.testing.assert_array_equal(values, scores[order[:k]])
