"""Bank normalisation against its formulas, with exp and sum or scipy's logsumexp."""

import warnings
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from rankstone.errors import AdapterError, DefinitionError
from rankstone.runners.encoders.bm25 import BM25
from rankstone.runners.search.hubness import BankIndex, BankNormalisation, hubness
from rankstone.runners.testing import PlainContext

DIM, N, N_BANK, N_QUERIES = 6, 40, 25, 30
MODES = ("IS", "DIS", "DualIS", "DualDIS-exp")


@dataclass(frozen=True)
class Drawn:
    """Encoder of texts that name rows of a table: `document 3`, `train 0`, `query 7`."""

    scale: float = 1.0
    requires: ClassVar[dict] = {}
    cacheable: ClassVar[bool] = True
    broken: float = field(default=0.0)

    def describe(self):
        return {"drawn": self.scale, "normalized": False}

    def encode(self, texts, role):
        rows = [self.row(text) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(rows), DIM)

    def row(self, text):
        kind, number = text.split()
        seed = ["document", "train", "query"].index(kind) * 1000 + int(number)
        return np.random.default_rng(seed).standard_normal(DIM) * self.scale + self.broken

    def truncation(self, texts, role):
        return None


def texts(kind, n):
    return [f"{kind} {number}" for number in range(n)]


def context(tmp_path, **changes):
    settled = {"texts": texts("document", N), "train_queries": texts("train", N_BANK)}
    return PlainContext(work=tmp_path, **{**settled, **changes})


def built(tmp_path, encoder=None, **parameters):
    runner = BankNormalisation(members=(encoder or Drawn(),), **parameters)
    return runner.index(None, context(tmp_path))


def matrices(encoder):
    """Similarities of queries, of training queries and of documents with all documents."""
    documents = encoder.encode(texts("document", N), "document")
    queries = encoder.encode(texts("query", N_QUERIES), "query")
    train = encoder.encode(texts("train", N_BANK), "query")
    return queries, *((one @ documents.T).astype(np.float64) for one in (queries, train, documents))


def expected(encoder, mode, beta, beta2, k):
    """Return (n_queries, N) values that rank as the mode's s', as logarithms for two factors."""
    _, given_, train, among = matrices(encoder)
    np.fill_diagonal(among, -np.inf)
    banks = [(train, beta)] + ([(among, beta2)] if "Dual" in mode else [])
    total = np.zeros_like(given_)
    for bank, temperature in banks:
        log_mean = logsumexp(temperature * bank, axis=0) - np.log(np.isfinite(bank).sum(axis=0))
        active = {int(doc) for row in bank for doc in np.argsort(-row)[:k]}
        for row, similarity in enumerate(given_):
            normalised = "DIS" not in mode or int(similarity.argmax()) in active
            total[row] += temperature * similarity - (log_mean if normalised else 0)
    return total / sum(temperature for _, temperature in banks)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_its_formula(tmp_path, mode, k):
    encoder = Drawn()
    index = built(tmp_path, encoder, mode=mode, beta=1.5, beta2=0.7, k=k)
    queries = matrices(encoder)[0]
    before = queries.copy()
    hits = index.search(queries, N)
    want = expected(encoder, mode, 1.5, 0.7, k)
    np.testing.assert_array_equal(queries, before)
    np.testing.assert_array_equal(hits.docs, np.argsort(-want, axis=1))
    np.testing.assert_allclose(hits.scores, -np.sort(-want, axis=1), rtol=1e-4, atol=1e-4)


def dis_factor(similarity, bank, beta, k):
    """(n_queries, N): the inverted softmax where the query's best document is active, else raw."""
    active = {int(doc) for row in bank for doc in np.argsort(-row)[:k]}
    among = np.where(np.isfinite(bank), np.exp(beta * bank), 0).sum(axis=0)
    softmax = np.exp(beta * similarity) / among
    on = np.array([int(row.argmax()) in active for row in similarity])
    return np.where(on[:, None], softmax, similarity), on


@pytest.mark.parametrize("k", [1, 3])
def test_dualdis_is_the_product_of_two_dis(tmp_path, k):
    """As published; the few similarities below zero rank by the rule that the class states."""
    encoder = Drawn(scale=0.5)
    queries, similarity, train, among = matrices(encoder)
    np.fill_diagonal(among, -np.inf)
    (first, on), (second, also) = (
        dis_factor(np.maximum(similarity, 1e-6), bank, beta, k)
        for bank, beta in ((train, 1.5), (among, 0.7))
    )
    index = built(tmp_path, encoder, mode="DualDIS", beta=1.5, beta2=0.7, k=k)
    hits = index.search(queries, N)
    kinds = set()
    for row, wanted in enumerate(first * second):
        positive = np.flatnonzero(similarity[row] > 1e-6)
        found = [doc for doc in hits.docs[row].tolist() if doc in set(positive.tolist())]
        assert found == positive[np.argsort(-wanted[positive], kind="stable")].tolist()
        kinds.add((bool(on[row]), bool(also[row])))
    assert len(kinds) > 1
    assert {True, False} in map(set, kinds), "one bank alone is active for some query"
    few = index.search(queries, 3)
    np.testing.assert_array_equal(few.docs, hits.docs[:, :3])


def test_inverted_softmax_is_exp_over_sum(tmp_path):
    encoder = Drawn(scale=0.5)
    _, similarity, bank, _ = matrices(encoder)
    published = np.exp(2 * similarity) / np.exp(2 * bank).sum(axis=0)
    hits = built(tmp_path, encoder, mode="IS", beta=2.0).search(matrices(encoder)[0], N)
    np.testing.assert_array_equal(hits.docs, np.argsort(-published, axis=1))


def test_a_row_is_raw_or_normalised_as_a_whole_and_both_occur(tmp_path):
    encoder = Drawn()
    queries, raw, _, _ = matrices(encoder)
    hits = built(tmp_path, encoder, mode="DIS", beta=1.0).search(queries, N)
    softmax = expected(encoder, "IS", 1.0, 1.0, 1)
    kinds = set()
    for row in range(N_QUERIES):
        values = np.empty(N)
        values[hits.docs[row]] = hits.scores[row]
        fits = [bool(np.allclose(values, one[row], atol=1e-4)) for one in (raw, softmax)]
        assert sum(fits) == 1
        kinds.add(fits.index(True))
    assert kinds == {0, 1}


def test_scores_in_the_hundreds_do_not_overflow(tmp_path):
    encoder = Drawn(scale=30.0)
    queries = matrices(encoder)[0]
    assert 20 * abs(matrices(encoder)[1]).max() > 10_000, "exp of it is infinite"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hits = built(tmp_path, encoder, mode="DualDIS-exp").search(queries, N)
    want = expected(encoder, "DualDIS-exp", 20.0, 3.0, 1)
    np.testing.assert_array_equal(hits.docs, np.argsort(-want, axis=1))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(0, 12), st.floats(0.1, 50), st.booleans(), st.data())
def test_hubness_is_a_log_mean_of_exponentials(n_bank, n, beta, among, data):
    seed, piece = data.draw(st.integers(0, 99)), data.draw(st.integers(1, 5))
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((n, 3)).astype(np.float32)
    own = np.sort(rng.choice(n, min(n_bank, n), replace=False)) if among else None
    bank = documents[own] if among else rng.standard_normal((n_bank, 3)).astype(np.float32)
    pieces = [documents[start : start + piece] for start in range(0, n, piece)]
    found = hubness(bank, pieces, beta, own=own)
    assert found.shape == (n,)
    for doc in range(n):
        rows = [row for row in range(len(bank)) if own is None or own[row] != doc]
        logits = beta * bank[rows].astype(np.float64) @ documents[doc]
        want = logsumexp(logits) - np.log(len(rows)) if rows else 0.0
        assert found[doc] == pytest.approx(want, rel=1e-4, abs=1e-4)


def test_large_banks_are_summed_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    bank, documents = rng.standard_normal((50, 3)), rng.standard_normal((20, 3))
    whole = hubness(bank, [documents], 2.0, own=None)
    monkeypatch.setattr("rankstone.runners.search.hubness.BANK_BLOCK", 7)
    np.testing.assert_allclose(hubness(bank, [documents], 2.0), whole, rtol=1e-6)
    own = np.arange(20)[::-1].copy()
    blocks = hubness(documents[own], [documents[:9], documents[9:]], 2.0, own=own)
    monkeypatch.undo()
    np.testing.assert_allclose(hubness(documents[own], [documents], 2.0, own=own), blocks)


@pytest.mark.parametrize("mode", MODES)
def test_a_reloaded_index_is_the_same(tmp_path, mode):
    index, queries = built(tmp_path, mode=mode), matrices(Drawn())[0]
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    loaded = BankIndex.load(tmp_path / "saved")
    for one, other in zip(index.search(queries, 9), loaded.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.nbytes() == index.nbytes()
    banks = 2 if "Dual" in mode else 1
    assert index.nbytes() == N * (DIM + banks) * 4 + ("DIS" in mode) * banks * N + 8 * banks


def test_without_training_queries_the_error_names_the_key(tmp_path):
    runner = BankNormalisation(members=(Drawn(),))
    with pytest.raises(DefinitionError, match=r"key 'parameters.mode': DIS needs a bank"):
        runner.index(None, context(tmp_path, train_queries=()))


def test_members_without_vectors_are_refused(tmp_path):
    runner = BankNormalisation(members=(BM25(),))
    with pytest.raises(DefinitionError, match=r"key 'members': this needs one vector per text"):
        runner.index(None, context(tmp_path))


def test_vectors_that_are_no_numbers_are_the_encoders_fault(tmp_path):
    with pytest.raises(AdapterError, match="NaN or infinite"):
        built(tmp_path, Drawn(broken=np.nan), mode="IS")
