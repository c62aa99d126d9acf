"""Published numbers on real collections, with the released weights."""

from pathlib import Path

import numpy as np
import pytest

import rankstone
from tests.beir_layout import write_beir
from tests.shared_cache import sharing

pytest.importorskip("sentence_transformers", reason="needs the extra 'dense'")

pytestmark = pytest.mark.usefixtures("forked_cells")
MINILM = "dense/all-minilm-l6-v2"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def measure(method: str, task: str, cache: Path, data: Path | None = None) -> rankstone.RunRecord:
    (record,) = rankstone.run(method, task, cache=cache, results=cache / "results", data=data)
    assert record.error is None
    return record


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "published"), [("beir/scifact", 0.64508), ("beir/nfcorpus", 0.31594)]
)
def test_minilm_reaches_its_published_ndcg(
    task: str, published: float, cache: Path, data_folder: Path
) -> None:
    record = measure(MINILM, task, cache, data_folder)
    assert record["measures"]["nDCG@10"]["mean"] == pytest.approx(published, abs=0.006)
    assert record["truncation"]["document"]["texts_cut"] > 0


@pytest.mark.slow
def test_splade_tiny_reaches_its_ndcg_with_the_plain_formula(
    cache: Path, data_folder: Path
) -> None:
    record = measure("sparse/splade-tiny", "beir/scifact", cache, data_folder)
    assert record["measures"]["nDCG@10"]["mean"] == pytest.approx(0.645, abs=0.01)


def test_bm25_on_scifact_is_in_the_expected_range(cache: Path, data_folder: Path) -> None:
    record = measure("lexical/bm25", "beir/scifact", cache, data_folder)
    assert 0.66 <= record["measures"]["nDCG@10"]["mean"] <= 0.69


@pytest.mark.slow  # an interrupted encoding, below, is compared with a whole one
def test_two_runs_of_a_transformer_agree_bit_for_bit(tmp_path: Path) -> None:
    folder = generated(tmp_path / "words")
    first, second = (
        measure("hybrid/rrf-bm25-wordllama-minilm", str(folder), sharing(tmp_path / name))
        for name in ("one", "two")
    )
    assert first.measures == second.measures
    assert first.files.run_sha256 == second.files.run_sha256
    assert first.files.per_query_sha256 == second.files.per_query_sha256
    assert first.queries == second.queries


def generated(folder: Path) -> Path:
    """Write a collection of 200 documents of 3 to 120 words, in BEIR layout."""
    rng = np.random.default_rng(0)
    words = np.array([
        "a", "run", "of", "plain", "words", "that", "a", "model", "and", "a", "word", "count",
        "both", "know",
    ])  # fmt: skip
    texts = [" ".join(rng.choice(words, n)) for n in rng.integers(3, 120, 200)]
    documents = {f"d{i}": text for i, text in enumerate(texts)}
    queries = {f"q{i}": text[:40] for i, text in enumerate(texts)}
    return write_beir(folder, documents, queries, test=zip(queries, documents, strict=True))


def test_an_interrupted_encoding_gives_the_same_vectors(tmp_path: Path) -> None:
    whole = measure("dense/wordllama-256", "stdlib/functions@first50", sharing(tmp_path / "one"))
    shards = sorted((tmp_path / "one" / "encodings").rglob("*.shard"))
    assert len(shards) > 1
    before = [shard.read_bytes() for shard in shards]
    shards[0].unlink()
    (again,) = rankstone.run(
        "dense/wordllama-256",
        "stdlib/functions@first50",
        cache=tmp_path / "one",
        results=tmp_path / "again",
    )
    assert again.provenance.resumed
    assert again.files.run_sha256 == whole.files.run_sha256
    kept = [np.frombuffer(b, np.uint8)[:1024] for b in before]
    found = [np.frombuffer(s.read_bytes(), np.uint8)[:1024] for s in shards]
    assert all(np.array_equal(a, b) for a, b in zip(kept, found, strict=True))
