"""Exact search over rounded values against products in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from rankstone.errors import AdapterError, DefinitionError
from rankstone.runners.search.exact import flat
from rankstone.runners.search.quantisation import scalar
from rankstone.runners.search.quantisation.scalar import RoundedIndex
from tests.unit.test_flat import Blocks, random, same

WIDTHS = {"float16": 2, "int8": 1}


@pytest.fixture
def small(monkeypatch):
    """Several slices, and several blocks of a slice."""
    monkeypatch.setattr(flat, "SLICE_ROWS", 64)
    monkeypatch.setattr(scalar, "BUFFER_BYTES", 50 * 4 * 30)


@pytest.mark.parametrize("storage", WIDTHS)
@pytest.mark.parametrize(("n_queries", "dim"), [(1, 20), (30, 20), (3, 32)])
def test_scores_are_products_with_what_rounding_leaves(storage, n_queries, dim, small, tmp_path):
    documents, queries = random(700, dim), random(n_queries, dim, seed=1)
    docs, scores = RoundedIndex.build(Blocks(documents, 9), storage, tmp_path).search(queries, 50)
    products = queries.astype(np.float64) @ documents.T.astype(np.float64)
    # A value is off by half a step at most, of which there are 127 to the largest value.
    steps = [np.abs(one).max(axis=axis) / 127 for one, axis in ((documents, None), (queries, 1))]
    bounds = {
        "float16": np.full(
            n_queries, 2**-11 * np.abs(queries).sum(axis=1) * np.abs(documents).max()
        ),
        "int8": (
            np.abs(queries).sum(axis=1) * steps[0] / 2
            + np.abs(documents).sum(axis=1).max() * steps[1] / 2
            + dim * steps[0] * steps[1] / 4
        ),
    }
    errors = np.abs(scores - np.take_along_axis(products, docs, axis=1))
    assert (errors <= bounds[storage][:, None] + 1e-4).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    kth = -np.sort(-products, axis=1)[:, 49]
    assert (np.abs(scores[:, -1] - kth) <= bounds[storage] + 1e-4).all()
    assert all(len(set(row)) == 50 for row in docs.tolist())


@pytest.mark.parametrize("storage", WIDTHS)
def test_codes_on_disk_give_the_results_of_resident_ones(storage, small, tmp_path, monkeypatch):
    documents = random(700, 20)
    documents[350:] = documents[:350]  # every score twice
    resident = RoundedIndex.build(Blocks(documents, 7), storage, tmp_path)
    (tmp_path / "saved").mkdir()
    resident.save(tmp_path / "saved")
    loaded = RoundedIndex.load(tmp_path / "saved")
    monkeypatch.setattr(scalar, "resident_limit", lambda: resident.nbytes() - 1)
    read = RoundedIndex.build(Blocks(documents, 4), storage, tmp_path)
    mapped = RoundedIndex.load(tmp_path / "saved")
    assert resident.nbytes() == 700 * 20 * WIDTHS[storage] > read.nbytes()
    assert "from disk" in read.notes()[0]
    assert not resident.notes()
    for queries in (random(1, 20, seed=1), random(25, 20, seed=2)):
        for index in (loaded, read, mapped):
            same(index.search(queries, 301), resident.search(queries, 301))


def test_integers_have_equal_scores_alone_and_in_a_batch(small, tmp_path):
    index = RoundedIndex.build(Blocks(random(500, 20), 2), "int8", tmp_path)
    queries = random(40, 20, seed=3)
    queries[7] = 0
    together = index.search(queries, 500).scores
    for row in (0, 7, 39):
        np.testing.assert_array_equal(
            index.search(queries[row : row + 1], 500).scores[0], together[row]
        )


def test_values_that_cannot_be_rounded_are_refused_or_padded(tmp_path):
    huge = random(5) * np.float32(1e6)
    with pytest.raises(DefinitionError, match="float16 holds no value of"):
        RoundedIndex.build(Blocks(huge, 1), "float16", tmp_path)
    huge[3, 2] = np.nan
    with pytest.raises(AdapterError, match="position 3"):
        RoundedIndex.build(Blocks(huge, 2), "int8", tmp_path)
    none = RoundedIndex.build(Blocks(random(4) * 0, 1), "int8", tmp_path)
    assert (none.search(random(2), 6).scores[:, :4] == 0).all()
    empty = RoundedIndex.build([], "int8", tmp_path)
    assert (empty.search(random(2), 3).docs == -1).all()
