"""On a CUDA device encoders and scorers give the library's results; memory that runs out is met.

    make gpu PYTHON=python3

Needs a CUDA device with torch, transformers and sentence-transformers; skipped elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rankstone.errors import RankstoneWarning
from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.encoders.late_interaction import LateInteraction
from rankstone.runners.encoders.sparse import SparseEncoder
from rankstone.runners.models import LocatedModel, locate
from rankstone.runners.scorers.cross_encoder import CrossEncoderScorer
from rankstone.runners.scorers.poly_encoder import PolyEncoderScorer
from rankstone.runners.scorers.uni_encoder import UniEncoderScorer
from rankstone.specs import ModelSpec
from tests import tiny_models, tiny_rerankers

pytestmark = pytest.mark.skipif(
    not Path("/dev/nvidiactl").exists(), reason="no CUDA device on this machine"
)

TEXTS = [
    "a", "The fox crosses the river.", "naïve café 漢字", "fox " * 400,
    *(f"glacier number {i} " * (1 + i % 9) for i in range(60)),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANKSTONE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> LocatedModel:
    """A tiny random BERT in sentence-transformers' layout: mean pooling, cosine."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    plain = tiny_models.write_encoder(tmp_path_factory.mktemp("plain"))
    made = SentenceTransformer(
        modules=[Transformer(str(plain), max_seq_length=256), Pooling(32, "mean"), Normalize()]
    )
    folder = tmp_path_factory.mktemp("tiny")
    made.save(str(folder), create_model_card=False)
    return locate(ModelSpec(id="tiny", path=str(folder)))


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-4), ("bf16", 3e-2)])
def test_dense_vectors_are_the_librarys(dense: LocatedModel, precision: str, apart: float) -> None:
    from sentence_transformers import SentenceTransformer

    runner = DenseEncoder(model=dense, precision=precision)
    expected = SentenceTransformer(str(dense.folder), device="cuda").encode(TEXTS)
    found = runner.encode(TEXTS, "document")
    assert runner.describe()["device"] == "cuda"
    assert np.abs(found - expected).max() <= apart


def test_sparse_values_are_the_librarys(tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder as Library
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    folder = tiny_models.write_masked(tmp_path)
    runner = SparseEncoder(model=locate(ModelSpec(id="tiny", path=str(folder))), max_length=128)
    network = Transformer(str(folder), transformer_task="fill-mask", max_seq_length=128)
    library = Library(modules=[network, SpladePooling("max")], device="cuda")
    expected = library.encode(TEXTS, convert_to_sparse_tensor=False).cpu().numpy()
    rows = runner.encode(TEXTS, "document")
    found = np.stack([rows[number] for number in range(len(TEXTS))])
    assert np.abs(found - expected).max() <= 1e-4 * expected.max()


def test_a_batch_that_does_not_fit_is_halved(dense: LocatedModel) -> None:
    import torch

    texts = ["fox river " * 120] * 4096
    expected = DenseEncoder(model=dense).encode(texts[:4], "document")
    runner = DenseEncoder(model=dense, batch_tokens=1 << 20)
    runner.encode(texts[:1], "document")
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**27) / total)
    try:
        with pytest.warns(RankstoneWarning, match="ran out of memory"):
            found = runner.encode(texts, "document")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.abs(found - expected[0]).max() <= 1e-5


def test_token_vectors_are_those_of_the_cpu(tmp_path: Path) -> None:
    folder = tiny_models.write_stanford_colbert(tmp_path / "colbert", dim=16)
    model = locate(ModelSpec(id="tiny", path=str(folder)))
    markers = {"query_marker": "[unused0]", "document_marker": "[unused1]"}
    lengths = {"query_length": 32, "document_length": 220, "storage": "float32"}
    fast, plain = (
        LateInteraction(model=model, dim=16, engine="torch", device=device, **markers, **lengths)
        for device in ("cuda", "cpu")
    )
    assert fast.describe()["device"] == "cuda"
    for role in ("query", "document"):
        found, expected = (runner.encode(TEXTS, role) for runner in (fast, plain))
        np.testing.assert_array_equal(found.offsets, expected.offsets)
        np.testing.assert_allclose(found.tokens, expected.tokens, atol=1e-4)


def test_scores_are_those_of_the_cpu(tmp_path: Path) -> None:
    short = {"query_length": 20, "document_length": 24}
    cross = tiny_rerankers.write_cross_encoder(tmp_path / "cross")
    poly = tiny_rerankers.write_poly_encoder(tmp_path / "poly")
    uni = tiny_rerankers.write_uni_encoder(tmp_path / "uni")
    for make in (
        lambda device: CrossEncoderScorer(model=cross, engine="torch", device=device),
        lambda device: PolyEncoderScorer(model=poly, engine="torch", device=device, **short),
        lambda device: UniEncoderScorer(model=uni, device=device, **short),
    ):
        found, expected = (
            make(device).score(tiny_rerankers.QUERY, tiny_rerankers.CANDIDATES)
            for device in (None, "cpu")
        )
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
