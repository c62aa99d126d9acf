"""Binarisers against the formulas of their papers, and effects of training."""

import dataclasses

import numpy as np
import pytest

from rankstone.errors import AdapterError, DefinitionError
from rankstone.runners.protocols import Hits
from rankstone.runners.search.binary.bebr import (
    Bebr,
    CompatibleBebr,
    ContentThresholds,
    LearnedThresholds,
    ResidualSigns,
)
from rankstone.runners.search.binary.binariser import BinarisedIndex, Binariser, scaled
from rankstone.runners.search.binary.binariser_training import Recipe, trained, widened
from rankstone.runners.search.binary.binary_hash import BinaryHash
from rankstone.runners.search.binary.layers import Layers
from rankstone.runners.search.binary.learners import (
    batch_normalised,
    content_thresholds,
    thresholds,
)
from rankstone.runners.search.binary.projections import (
    at_medians,
    itq,
    orthonormal,
    plain,
    residual_signs,
)
from rankstone.runners.testing import MemoryChunks, PlainContext

RECIPE = Recipe(
    epochs=8, batch=64, learning_rate=0.005, temperature=0.05, hardest=5, queue=0, noise=0.7
)


class Vectorial:
    """Encoder of texts that are row numbers of a matrix."""

    def __init__(self, matrix):
        self.matrix = matrix

    def encode(self, texts, role):
        return self.matrix[[int(text) for text in texts]]


def vectors(n=400, dim=24, seed=0):
    """Return correlated vectors in clusters away from the origin."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, dim)) * np.linspace(2, 0.3, dim) + 0.3
    points = centres[rng.integers(0, 12, n)] + 0.4 * rng.standard_normal((n, dim))
    return points.astype(np.float32)


def built(adapter, matrix, tmp_path, **parameters):
    encoder = Vectorial(matrix)
    runner = adapter(members=(encoder,), **parameters)
    texts = [str(row) for row in range(len(matrix))]
    context = PlainContext(texts=texts, work=tmp_path)
    return runner.build(MemoryChunks(encoder, texts, 50), context)


def cosines(one, other):
    return scaled(one) @ scaled(other).T / one.shape[1]


@pytest.mark.parametrize("loops", [0, 1, 2, 3])
def test_the_untrained_form_is_that_of_the_formula(loops):
    x = vectors()
    rotation = orthonormal(24, 24, seed=0).astype(np.float64)
    scaled_x = x / np.sqrt((x.astype(np.float64) ** 2).mean(axis=1, keepdims=True))
    b = np.where(scaled_x @ rotation > 0, 1.0, -1.0)
    for i in range(1, loops + 1):
        f = b @ rotation.T
        f *= np.sqrt(24) / np.linalg.norm(f, axis=1, keepdims=True)
        b += 2.0**-i * np.where((scaled_x - f) @ rotation > 0, 1.0, -1.0)
    binariser = residual_signs(24, 24, loops, seed=0)
    codes = binariser.planes.decode(binariser(x))
    assert (codes != b).mean() < 1e-3, "but for values that are zero up to rounding"


def test_more_loops_stand_nearer_to_the_vectors():
    x = vectors()
    errors = []
    for loops in range(4):
        binariser = residual_signs(24, 24, loops, seed=0)
        codes = binariser.planes.decode(binariser(x))
        errors.append(np.abs(cosines(codes, codes) - cosines(x, x)).mean())
    assert errors[0] > errors[1] > errors[2] > errors[3]


def test_codes_do_not_depend_on_what_shares_a_batch():
    x = vectors(300, 128)
    for binariser in (
        residual_signs(128, 96, 2, 0),
        widened(residual_signs(128, 96, 1, 0), 500, 0),
    ):
        together = binariser(x)
        np.testing.assert_array_equal(
            together, np.concatenate([binariser(x[i : i + 1]) for i in range(300)])
        )
        np.testing.assert_array_equal(
            together, np.concatenate([binariser(x[:7]), binariser(x[7:])])
        )


def test_values_near_zero_are_computed_in_double():
    """sum_j w_j with w = (1, 2^-30, -1) is positive, and zero in single precision."""
    weight = np.array([[1.0], [2.0**-30], [-1.0]], dtype=np.float32)
    binariser = Binariser(Layers.affine(weight))
    assert binariser.planes.decode(binariser(np.ones((1, 3), np.float32))) == 1.0


def test_itq_loses_less_than_any_rotation_tried_and_stays_orthogonal():
    x = scaled(vectors())
    centred = x - x.mean(axis=0)

    def loss(rotation):
        values = centred @ rotation
        return ((np.where(values > 0, 1, -1) - values) ** 2).mean()

    learned = itq(x, 24, centre=True, seed=0)
    weight = learned.weights[0]
    np.testing.assert_allclose(weight.T @ weight, np.eye(24), atol=1e-5)
    tried = min(loss(orthonormal(24, 24, seed)) for seed in range(50))
    assert loss(weight) < 0.95 * min(tried, loss(np.eye(24)))
    np.testing.assert_allclose(learned(x), centred @ weight, atol=1e-4)


def test_fewer_bits_of_itq_span_the_principal_directions():
    x = scaled(vectors())
    _, _, right = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    weight = itq(x, 5, centre=True, seed=0).weights[0]
    np.testing.assert_allclose(weight @ weight.T, right[:5].T @ right[:5], atol=1e-3)


def test_medians_set_half_of_every_bit():
    x = scaled(vectors())
    hash_ = at_medians(plain(24, None, 0), x)
    assert (np.abs((hash_(x) > 0).mean(axis=0) - 0.5) < 0.01).all()


@pytest.mark.parametrize("bits", [10, 24, 60])
def test_random_directions_are_orthonormal_or_a_tight_frame(bits):
    weight = orthonormal(24, bits, seed=3)
    if bits <= 24:
        np.testing.assert_allclose(weight.T @ weight, np.eye(bits), atol=1e-5)
    else:
        np.testing.assert_allclose(weight @ weight.T, np.eye(24) * bits / 24, atol=1e-5)


def test_widened_networks_compute_what_they_start_from():
    x = vectors()
    for start in (residual_signs(24, None, 2, 0), residual_signs(24, 60, 0, 0)):
        wide = widened(start, hidden=200, seed=0)
        assert [w.shape for w in wide.first.weights] == [(24, 200), (200, start.planes.dim)]
        np.testing.assert_allclose(wide.first(x), start.first(x), atol=1e-4)
        differing = wide.planes.decode(wide(x)) != start.planes.decode(start(x))
        assert differing.mean() < 1e-3


@pytest.mark.parametrize("loops", [0, 1])
def test_training_brings_codes_of_copies_nearer_than_others(loops):
    """The aim of the loss, on unseen noise: the noisy copy has the nearest code."""
    x = vectors(300, 64)
    noise = np.random.default_rng(7).standard_normal((8, 300, 64)).astype(np.float32)
    copies = (scaled(x) + 0.7 * noise).reshape(-1, 64)
    start = widened(residual_signs(64, None, loops, 0), 128, 0)

    def found(binariser):
        docs, queries = (binariser.planes.decode(binariser(v)) for v in (x, copies))
        return (cosines(queries, docs).argmax(axis=1) == np.tile(np.arange(300), 8)).mean()

    assert found(trained(start, x, RECIPE, seed=0)) > found(start) + 0.01


@pytest.mark.parametrize("queue", [0, 100])
def test_training_follows_the_seed(queue):
    x = vectors(100)
    start = widened(residual_signs(24, None, 1, 0), 64, 0)
    recipe = dataclasses.replace(RECIPE, queue=queue, epochs=2, learning_rate=0.02)
    codes = trained(start, x, recipe, seed=0)(x)
    np.testing.assert_array_equal(trained(start, x, recipe, seed=0)(x), codes)
    assert (trained(start, x, recipe, seed=1)(x) != codes).any()
    assert (start(x) != codes).any()


def test_learned_thresholds_change_nothing_but_thresholds():
    x = vectors(200)
    start = Binariser(plain(24, None, 0))
    learned = trained(start, x, RECIPE, 0, thresholds).first
    np.testing.assert_array_equal(learned.weights[0], start.first.weights[0])
    assert np.abs(learned.biases[0]).max() > 0.01
    assert (start.first.biases[0] == 0).all()


def test_batch_normalisation_is_part_of_the_first_map_in_the_end():
    """Compared with torch's module in inference mode."""
    import torch

    x = scaled(vectors(200))
    learner = batch_normalised(Layers.affine(np.zeros((24, 64))), seed=3)
    again = batch_normalised(Layers.affine(np.zeros((24, 64))), seed=3)
    net = learner.call.__closure__[0].cell_contents
    assert [type(m).__name__ for m in net] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    optimiser = torch.optim.SGD(learner.parameters, 0.1)
    for start in range(0, 200, 50):
        learner.call(torch.from_numpy(x[start : start + 50])).square().mean().backward()
        optimiser.step()
    assert not torch.equal(learner.parameters[0], again.parameters[0])
    assert torch.equal(again.call(torch.from_numpy(x[:1])), again.call(torch.from_numpy(x[:1])))
    with torch.inference_mode():
        expected = net.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(learner.finished()(x), expected, atol=1e-5)


def test_new_queries_find_old_codes_after_compatible_training(tmp_path):
    """The new encoder has another dimension and unrelated coordinates."""
    old, texts = vectors(150, 48), [str(row) for row in range(150)]
    mix = np.random.default_rng(5).standard_normal((48, 40)).astype(np.float32)
    members = Vectorial(old), Vectorial(np.tanh(old @ mix / 7))
    settings = {"dimensions": 32, "hidden": 96, "learning_rate": 0.02, "noise": 0.3, "batch": 16}
    context = PlainContext(texts=texts, work=tmp_path)
    documents = MemoryChunks(members[0], texts, 50)

    def found(epochs):
        runner = CompatibleBebr(members=members, epochs=epochs, **settings)
        index = runner.build(documents, context)
        kept = Bebr(members=members[:1], epochs=epochs, **settings).build(documents, context)
        np.testing.assert_array_equal(index.codes.blocks, kept.codes.blocks)
        docs = index.search(members[1].encode(texts, "query"), 1).docs[:, 0]
        return (docs == np.arange(150)).mean()

    assert found(0) < 0.05, "chance, for the new networks know nothing of the old codes"
    assert found(10) > 0.1  # .0067 is chance
    with pytest.raises(DefinitionError, match="vectors of two encoders are not compared"):
        CompatibleBebr(members=members, rescore=5)


def test_thresholds_by_content_are_learned_and_the_projection_is_not():
    x = vectors(200)
    start = Binariser(plain(24, 30, 0))
    (weight,) = start.first.weights
    learned = trained(start, x, RECIPE, 0, content_thresholds(16)).first
    shift = scaled(x) @ weight - learned(scaled(x))
    inward, outward = learned.weights[0][:, 60:], -learned.weights[1][60:]
    hidden = np.maximum(scaled(x) @ inward + learned.biases[0][60:], 0)
    np.testing.assert_allclose(shift, hidden @ outward - learned.biases[1], atol=1e-4)
    assert shift.std(axis=0).max() > 0.01, "they differ from vector to vector"
    untrained = content_thresholds(16)(start.first, 0).finished()
    np.testing.assert_allclose(untrained(x), start.first(x), atol=1e-5)


def test_the_bytes_of_an_index_count_its_networks(tmp_path):
    index = built(Bebr, vectors(100), tmp_path, hidden=64, loops=1, epochs=0)
    networks = 3 * 4 * (24 * 64 + 64 + 64 * 24 + 24)
    assert index.nbytes() == index.codes.nbytes() + networks


@pytest.mark.parametrize(
    ("adapter", "parameters"),
    [
        (BinaryHash, {"method": "sign"}),
        (BinaryHash, {"method": "median", "bits": 40}),
        (BinaryHash, {"method": "itq", "bits": 16, "centre": False}),
        (LearnedThresholds, {"epochs": 1}),
        (ContentThresholds, {"epochs": 1, "bits": 30}),
        (ResidualSigns, {"loops": 3}),
        (Bebr, {"dimensions": 32, "epochs": 1, "hidden": 64}),
        (Bebr, {"dimensions": 32, "epochs": 1, "hidden": 64, "batch_norm": True}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_index_finds_what_is_near_and_survives_saving(adapter, parameters, tmp_path):
    x = vectors(200)
    index = built(adapter, x, tmp_path, **parameters)
    hits = index.search(x[:20], 200)
    assert (hits.scores[:, 0] > 1 - 1e-6).all(), "a document's own code is the nearest"
    codes = index.binariser.planes.decode(index.binariser(x))
    expected = cosines(codes[:20], codes)
    np.testing.assert_allclose(hits.scores, -np.sort(-expected, axis=1), atol=1e-6)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    loaded = BinarisedIndex.load(tmp_path / "saved")
    for one, other in zip(hits, loaded.search(x[:20], 200), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.nbytes() == index.nbytes()


def test_hamming_distances_are_the_scores_of_a_hash(tmp_path):
    x = vectors(100)
    hits: Hits = built(BinaryHash, x, tmp_path, method="sign").search(x[:5], 100)
    bits = x > 0
    hamming = (bits[:5, None] != bits).sum(axis=2)
    distances = np.take_along_axis(hamming, hits.docs, axis=1)
    np.testing.assert_allclose(hits.scores, 1 - 2 * distances / 24, atol=1e-6)
    order = np.argsort(hamming, axis=1, kind="stable")
    np.testing.assert_array_equal(hits.docs, order)


def test_one_document_is_searched_and_none_are_refused(tmp_path):
    x = vectors(1)
    for adapter, parameters in ((Bebr, {"hidden": 50}), (BinaryHash, {"method": "itq"})):
        assert built(adapter, x, tmp_path, **parameters).search(x, 3).docs.tolist() == [[0, -1, -1]]
        with pytest.raises(AdapterError, match="no documents to index"):
            built(adapter, x[:0], tmp_path, **parameters)


def test_vectors_that_are_no_numbers_are_refused(tmp_path):
    x = vectors(50)
    index = built(BinaryHash, x, tmp_path, method="sign")
    bad = x.copy()
    bad[3, 2] = np.nan
    with pytest.raises(AdapterError, match="vector 3 of 50 holds NaN"):
        index.search(bad, 3)
    with pytest.raises(AdapterError, match="NaN"):
        built(BinaryHash, bad, tmp_path, method="median")
    with pytest.raises(AdapterError, match=r"expected vectors \(n, 24\)"):
        index.search(x[:, :5], 3)


def test_parameters_that_make_no_sense_name_their_key(tmp_path):
    x = vectors(50)
    with pytest.raises(DefinitionError, match=r"key 'parameters\.bits': 25"):
        built(BinaryHash, x, tmp_path, method="itq", bits=25)
    with pytest.raises(DefinitionError, match=r"key 'parameters\.centre'"):
        built(BinaryHash, x, tmp_path, method="sign", centre=False)
