"""Fixed dimensional encodings against their definition, and searches over them."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.errors import AdapterError, DefinitionError, RankstoneWarning
from rankstone.runners.representations.ragged import Ragged, ragged
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from rankstone.runners.search.multi_vector.ball_carving import carved
from rankstone.runners.search.multi_vector.fde import FdeShape, FixedDimensionalEncoder, _nearest
from rankstone.runners.search.multi_vector.muvera import Muvera, MuveraIndex
from rankstone.runners.search.rescoring import RescoredIndex
from rankstone.runners.testing import MemoryChunks, PlainContext
from tests.numbered import Tokens, texts


def encoder(seed=0, dim=8, **parameters):
    settings = {"repetitions": 3, "simhash_bits": 2, "inner_dim": 4, **parameters}
    return FixedDimensionalEncoder.draw(FdeShape(dim=dim, **settings), seed)


def bits_of(token, planes):
    return [bool(np.dot(plane, token) > 0) for plane in planes.T.astype(np.float64)]


def by_definition(tokens, own, *, role):
    """Compute section 2 of the paper by loops over repetitions, blocks and tokens."""
    shape = own.shape
    k, inner = shape.simhash_bits, shape.inner_dim
    blocks = []
    for r in range(shape.repetitions):
        planes = own.planes[:, r * k : (r + 1) * k]
        project = np.eye(shape.dim)
        if inner != shape.dim:
            project = np.sign(own.signs[:, r * inner : (r + 1) * inner]) / np.sqrt(inner)
        # In the order of their numbers: the bit of plane 0 changes fastest.
        for wanted in itertools.product([False, True], repeat=k):
            wanted = list(wanted[::-1])
            inside = [x @ project for x in tokens if bits_of(x, planes) == wanted]
            if inside:
                blocks.append(sum(inside) if role == "query" else sum(inside) / len(inside))
            elif role == "query" or not len(tokens):
                blocks.append(np.zeros(inner))
            else:
                differing = [np.sum(np.array(bits_of(x, planes)) != wanted) for x in tokens]
                blocks.append(tokens[int(np.argmin(differing))] @ project)
    return np.concatenate(blocks) / np.sqrt(shape.repetitions)


@pytest.mark.parametrize(("bits", "inner"), [(0, 4), (1, 8), (2, 4), (3, 2), (4, 8)])
def test_encodings_are_those_of_the_definition(bits, inner):
    own = encoder(simhash_bits=bits, inner_dim=inner)
    given_texts = texts([3, 0, 1, 7, 20])
    for role, method in (("query", own.queries), ("document", own.documents)):
        found = method(given_texts.tokens, given_texts.lengths)
        expected = [by_definition(x, own, role=role) for x in given_texts.matrices()]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_block_is_the_sum_and_the_mean():
    own = encoder(repetitions=1, simhash_bits=0, inner_dim=8)
    queries, documents = texts([3, 2]), texts([4, 1, 6], seed=1)
    found = own.queries(queries.tokens, queries.lengths) @ (
        own.documents(documents.tokens, documents.lengths).T
    )
    expected = [
        [(q @ d.T).sum(axis=0).mean() for d in documents.matrices()] for q in queries.matrices()
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_with_many_bits_a_token_meets_the_one_with_the_fewest_differing_bits():
    own = encoder(repetitions=1, simhash_bits=9, inner_dim=8)
    queries, documents = texts([1] * 30), texts([12], seed=1)
    found = own.queries(queries.tokens, queries.lengths) @ (
        own.documents(documents.tokens, documents.lengths).T
    )
    planes = own.planes
    bits = np.array([bits_of(x, planes) for x in documents.tokens])
    for row, query in enumerate(queries.tokens):
        distance = (bits != bits_of(query, planes)).sum(axis=1)
        nearest = documents.tokens[np.argmin(distance)]  # the first of them
        if distance.min() > 0:
            assert found[row, 0] == pytest.approx(query @ nearest, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.lists(st.integers(0, 31), min_size=1, max_size=12))
def test_the_nearest_token_has_the_fewest_differing_sign_bits(bits, numbers):
    """Guards against Gray-code ranks, as in ports of Google's code that invert it wrongly."""
    numbers = np.array(numbers) % 2**bits
    found = _nearest(numbers, (1, 1, 2**bits))
    for block in range(2**bits):
        differing = [int(number ^ block).bit_count() for number in numbers]
        assert found[block] == int(np.argmin(differing))


def test_inner_products_approach_maxsim_as_repetitions_rise():
    queries, documents = texts([8] * 6, 16, 1, unit=True), texts([20] * 40, 16, 2, unit=True)
    exact = np.array(
        [[(q @ d.T).max(axis=1).sum() for d in documents.matrices()] for q in queries.matrices()]
    )

    def spread(repetitions):
        """Return the standard deviation over seeds, the error of unbiased estimates."""
        found = [
            own.queries(queries.tokens, queries.lengths)
            @ own.documents(documents.tokens, documents.lengths).T
            for own in (
                encoder(seed, 16, repetitions=repetitions, simhash_bits=4, inner_dim=8)
                for seed in range(8)
            )
        ]
        return np.std(found, axis=0).mean(), np.mean(found, axis=0)

    spreads = [spread(repetitions) for repetitions in (2, 8, 32)]
    # Independent repetitions: a quarter of the variance each time, so half of the deviation.
    assert spreads[1][0] == pytest.approx(spreads[0][0] / 2, rel=0.2)
    assert spreads[2][0] == pytest.approx(spreads[1][0] / 2, rel=0.2)
    assert (spreads[2][1] <= exact + 3 * spreads[2][0]).all(), "it never exceeds MaxSim by design"
    assert np.corrcoef(spreads[2][1].ravel(), exact.ravel())[0, 1] > 0.6


def test_more_bits_come_closer_to_maxsim():
    queries, documents = texts([6] * 5, 16, 1, unit=True), texts([20] * 40, 16, 2, unit=True)
    exact = np.array(
        [[(q @ d.T).max(axis=1).sum() for d in documents.matrices()] for q in queries.matrices()]
    )

    def shortfall(bits):
        own = encoder(0, 16, repetitions=40, simhash_bits=bits, inner_dim=16)
        found = own.queries(queries.tokens, queries.lengths) @ (
            own.documents(documents.tokens, documents.lengths).T
        )
        return (exact - found).mean()

    short = [shortfall(bits) for bits in (0, 2, 4, 7)]
    assert short == sorted(short, reverse=True)
    assert short[-1] > 0


@pytest.mark.parametrize("projection", ["signs", "count_sketch"])
def test_the_final_projection_keeps_inner_products_about_as_they_are(projection):
    queries, documents = texts([6] * 10, 16, 1), texts([20] * 30, 16, 2)

    def products(final):
        own = encoder(
            dim=16,
            repetitions=4,
            simhash_bits=3,
            inner_dim=8,
            final_dim=final,
            final_projection=projection,
        )
        encoded = own.queries(queries.tokens, queries.lengths)
        assert encoded.shape[1] == (final or 256)
        return encoded @ own.documents(documents.tokens, documents.lengths).T

    whole = products(None)
    errors = [np.std(products(final) - whole) for final in (64, 1024)]
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.3)


def test_a_final_projection_too_large_for_memory_is_generated_again(monkeypatch):
    documents = texts([3, 9])
    held = encoder(final_dim=8)
    held_bytes = held.nbytes()
    monkeypatch.setattr("rankstone.runners.search.multi_vector.fde.FINAL_BYTES", 0)
    drawn = encoder(final_dim=8)
    assert drawn.nbytes() < held_bytes
    np.testing.assert_array_equal(
        *(own.documents(documents.tokens, documents.lengths) for own in (held, drawn))
    )


def test_a_text_has_the_same_encoding_alone_and_in_a_batch(monkeypatch):
    own = encoder(dim=48, repetitions=10, simhash_bits=4)
    documents = texts([5, 1, 0, 30, 12, 2], 48)
    documents.tokens[7] = 0  # on every hyperplane
    whole = own.documents(documents.tokens, documents.lengths)
    monkeypatch.setattr("rankstone.runners.search.multi_vector.fde.BATCH_BYTES", 1)
    np.testing.assert_allclose(own.documents(documents.tokens, documents.lengths), whole, atol=1e-5)


def test_tokens_on_a_hyperplane_fall_to_the_same_side_in_every_batch():
    """Products that are zero up to rounding depend on the batch in float32."""
    own = encoder(dim=64, repetitions=1, simhash_bits=1, inner_dim=64)
    plane = own.planes[:, 0].astype(np.float64)
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((400, 64))
    tokens -= np.outer(tokens @ plane / (plane @ plane), plane)
    tokens = tokens.astype(np.float32)
    sides = (tokens.astype(np.float64) @ plane > 0).astype(int)
    assert 50 < sides.sum() < 350
    np.testing.assert_array_equal(own._block_of(tokens)[:, 0], sides)
    alone = [own._block_of(tokens[row : row + 1])[0, 0] for row in range(400)]
    np.testing.assert_array_equal(alone, sides)


def built(documents, tmp_path, **parameters):
    settings = {"repetitions": 6, "simhash_bits": 3, "inner_dim": 4, **parameters}
    method = Muvera(members=(Tokens(documents),), **settings)
    context = PlainContext(texts=range(len(documents)), work=tmp_path)
    return method.index(MemoryChunks(method.encoder, range(len(documents)), 7), context)


@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_search_orders_by_the_inner_product_of_encodings(tmp_path, search):
    documents, queries = texts([5, 0, 3, 9, 1, 30] * 6), texts([4, 0, 2, 7], seed=1)
    found = built(documents, tmp_path, search=search).search(queries, 40)
    own = encoder(repetitions=6, simhash_bits=3)
    products = own.queries(queries.tokens, queries.lengths) @ (
        own.documents(documents.tokens, documents.lengths).T
    )
    products[:, documents.lengths == 0] = -np.inf
    expected = np.argsort(-products, axis=1, kind="stable")[:, :30]
    for row in (0, 2, 3):
        np.testing.assert_array_equal(found.docs[row, :30], expected[row])
        np.testing.assert_allclose(
            found.scores[row, :30], products[row, expected[row]], rtol=1e-4, atol=1e-4
        )
    assert (found.docs[:, 30:] == -1).all(), "documents without tokens are not found"
    assert (found.docs[1] == -1).all(), "a query without tokens finds nothing"
    assert np.isneginf(found.scores[1]).all()


def test_rescoring_all_of_it_is_exact_maxsim(tmp_path):
    documents, queries = texts([5, 0, 3, 9, 1, 30] * 6), texts([4, 0, 2, 7], seed=1)
    found = built(documents, tmp_path, rescore=36).search(queries, 10)
    exact = MaxSimIndex.build(MemoryChunks(Tokens(documents), range(36))).search(queries, 10)
    np.testing.assert_array_equal(found.docs, exact.docs)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-4)


def test_carved_balls_are_sums_of_tokens_close_to_a_centre():
    """On a circle, a ball of tau .7 is an arc of 45.57 degrees on each side of its centre."""
    degrees = np.array([0, 100, 45, 140, 46, 300, 315, -1])
    tokens = np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)
    arcs = [[0, 45, 315, -1], [100, 140], [46], [300]]  # 315 is nearer to 300, but 0 came first
    expected = [sum(tokens[list(degrees).index(d)] for d in arc) for arc in arcs]
    # The order of the arcs is that of their first tokens: 0, 100, 46, 300.
    np.testing.assert_allclose(carved(tokens.astype(np.float32), 0.7), expected, atol=1e-6)
    np.testing.assert_array_equal(carved(tokens, 2.0), tokens)
    assert carved(tokens[:0], 0.7).shape == (0, 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(-0.5, 1.0))
def test_every_token_is_in_one_ball_and_centres_are_apart(seed, threshold):
    tokens = texts([9], dim=3, seed=seed, unit=True).tokens.astype(np.float64)
    balls = carved(tokens, threshold)
    np.testing.assert_allclose(balls.sum(axis=0), tokens.sum(axis=0), atol=1e-9)
    centres = []
    for token in tokens:
        if all(token @ centre < threshold for centre in centres):
            centres.append(token)
    assert len(balls) == len(centres)


def test_rescoring_with_balls_is_maxsim_of_the_sums(tmp_path):
    documents, queries = texts([5, 0, 3, 9] * 6, unit=True), texts([4, 0, 2, 7], seed=1, unit=True)
    found = built(documents, tmp_path, rescore=24, ball=0.2).search(queries, 8)
    balls = [carved(matrix, 0.2) for matrix in queries.matrices()]
    assert sum(map(len, balls)) < queries.lengths.sum()
    for row in (0, 2, 3):
        sums = balls[row]
        exact = np.array([(sums @ d.T).max(axis=1).sum() if len(d) else -np.inf
                          for d in documents.matrices()])  # fmt: skip
        np.testing.assert_array_equal(found.docs[row], np.argsort(-exact)[:8])
        np.testing.assert_allclose(found.scores[row], np.sort(-exact)[:8] * -1, rtol=1e-5)
    assert (found.docs[1] == -1).all()


@pytest.mark.parametrize("search", ["exact", "hnsw", "pq"])
@pytest.mark.parametrize("rescore", [None, 5])
def test_a_reloaded_index_answers_alike(tmp_path, search, rescore):
    documents, queries = texts([5, 0, 3, 9, 1, 30] * 60), texts([4, 0, 2], seed=1)
    work, saved = tmp_path / "work", tmp_path / "saved"
    work.mkdir(), saved.mkdir()
    index = built(documents, work, search=search, rescore=rescore, ball=0.5, final_dim=24)
    index.save(saved)
    loaded = type(index).load(saved)
    assert isinstance(index, MuveraIndex if rescore is None else RescoredIndex)
    for one, other in zip(index.search(queries, 9), loaded.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.nbytes() == index.nbytes()


def test_codes_take_one_bit_per_dimension_and_rank_similarly(tmp_path):
    documents, queries = texts([5, 3, 9] * 400), texts([4, 2, 6, 5], seed=1)
    whole = built(documents, tmp_path)
    codes = built(documents, tmp_path, search="pq")
    assert whole.nbytes() == pytest.approx(1200 * 192 * 4, rel=0.05)
    tables = 256 * 192 * 4
    assert codes.nbytes() - tables == pytest.approx(1200 * 192 / 8, rel=0.15)
    kept = [
        len({*exact} & {*rough})
        for exact, rough in zip(
            whole.search(queries, 50).docs.tolist(), codes.search(queries, 50).docs.tolist(),
            strict=True,
        )
    ]  # fmt: skip
    assert np.mean(kept) > 25  # of 50, where chance finds two


def test_few_documents_get_few_centroids_and_a_warning(tmp_path):
    with pytest.warns(RankstoneWarning, match="took 16 centroids"):
        index = built(texts([5, 3] * 10), tmp_path, search="pq")
    assert (index.search(texts([2]), 20).docs >= 0).all()


def test_collections_without_tokens_or_documents_find_nothing(tmp_path):
    for lengths in ([], [0, 0, 0]):
        for search in ("exact", "hnsw", "pq"):
            index = built(texts(lengths), tmp_path, search=search)
            assert (index.search(texts([3, 0]), 2).docs == -1).all()
            saved = tmp_path / f"{len(lengths)}-{search}"
            saved.mkdir()
            index.save(saved)
            assert (MuveraIndex.load(saved).search(texts([3]), 2).docs == -1).all()


def test_the_seed_draws_the_matrices():
    one, same, other = encoder(1), encoder(1), encoder(2)
    documents = texts([4])
    encode = [own.documents(documents.tokens, documents.lengths) for own in (one, same, other)]
    np.testing.assert_array_equal(encode[0], encode[1])
    assert not np.allclose(encode[0], encode[2])


def test_wrong_parameters_and_vectors_are_refused(tmp_path):
    documents = texts([3, 2])
    with pytest.raises(DefinitionError, match=r"parameters\.inner_dim"):
        built(documents, tmp_path, inner_dim=9)
    with pytest.raises(DefinitionError, match=r"parameters\.search"):
        built(documents, tmp_path, final_dim=12, search="pq")
    index = built(documents, tmp_path)
    with pytest.raises(AdapterError, match="expected vectors of 8 dimensions"):
        index.search(texts([3], dim=4), 1)
    broken = texts([3, 2])
    broken.tokens[4, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AdapterError, match="NaN or infinite"):
            built(broken, tmp_path)
        with pytest.raises(AdapterError, match="queries: vectors hold NaN"):
            index.search(broken, 1)


def test_float16_tokens_are_encoded_as_their_float32_values(tmp_path):
    halves = ragged(texts([3, 5, 2]).matrices(), 8, "float16")
    floats = Ragged(halves.tokens.astype(np.float32), halves.offsets)
    queries = texts([2, 3], seed=3)
    one, other = (built(each, tmp_path).search(queries, 3) for each in (halves, floats))
    np.testing.assert_array_equal(one.scores, other.scores)
