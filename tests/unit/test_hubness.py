"""k-occurrence and its skewness, against manual counts and scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rankstone.evaluation.hubness import k_occurrence, skewness


@given(st.integers(0, 6), st.integers(0, 5), st.integers(1, 7), st.integers(0, 99))
def test_occurrences_are_counted_among_the_k_best(n_queries, depth, k, seed):
    rng = np.random.default_rng(seed)
    docs = np.array([rng.permutation(8)[:depth] for _ in range(n_queries)], dtype=np.int64)
    docs = docs.reshape(n_queries, depth)
    docs[:, depth // 2 :][rng.random((n_queries, depth - depth // 2)) < 0.3] = -1
    found = k_occurrence(docs, 8, k)
    for doc in range(8):
        assert found[doc] == sum(doc in row[:k].tolist() for row in docs)


counts = arrays.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 50))


@settings(deadline=None)  # the first call imports scipy
@given(counts)
def test_skewness_is_that_of_scipy(values):
    from scipy.stats import skew

    mine = skewness(values)
    if len(set(values.tolist())) == 1:
        assert math.isnan(mine)
    else:
        assert mine == pytest.approx(skew(values), abs=1e-9)


def test_a_hub_skews_and_nothing_has_no_shape():
    hub, fair = np.array([9, 0, 0, 0, 1, 0]), np.array([1, 2, 1, 2, 1, 2])
    assert skewness(hub) > 1.5 > abs(skewness(fair))
    assert math.isnan(skewness(np.empty(0, np.int64)))
