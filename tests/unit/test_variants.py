"""Runs over modified cached vectors, against brute force in double precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rankstone
from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.cache_key import corpus_material
from rankstone.encodings.variants import STORED, bfloat16, int8, of_stored_vectors, transforms
from rankstone.errors import DataError
from rankstone.profiling.clock import Clock
from rankstone.runners.objects.method import object_method
from rankstone.runners.protocols import Hits
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.specs import TaskSpec
from tests.beir_layout import write_beir

DIM = 160
TEXTS = {f"d{n}": f"document {n}" for n in range(30)}
QUERIES = {f"q{n}": f"query {n}" for n in range(4)}


def vector(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a vector of a different norm for each text."""
    rng = np.random.default_rng(list(text.encode()))
    return (rng.normal(size=DIM) * rng.uniform(0.5, 4)).astype(np.float32)


class Vectors(rankstone.Runner):
    """Unnormalised vectors, cached in shards."""

    cacheable = True
    encoded = 0

    def encode(self, texts: Any, role: Any) -> Any:
        if role == "document":
            Vectors.encoded += len(texts)
        return np.array([vector(text) for text in texts], dtype=np.float32).reshape(-1, DIM)

    def index(self, documents: Any, context: Any) -> Any:
        return ExactIndex.build(documents)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    judged = [(query, "d3") for query in QUERIES]
    write_beir(tmp_path / "data" / "tiny", TEXTS, QUERIES, test=judged)
    return Sources(data=tmp_path / "data", cache=tmp_path / "cache")


TASK = TaskSpec(
    name="tiny/letters", description="d", loader="beir", dataset="tiny", depth=30, text="{text}"
)


def fill(dataset: Dataset, sources: Sources) -> None:
    material = corpus_material(dataset.sha256["corpus"], TASK.text)
    folder = sources.cache / "encodings"
    cache = EncodingCache(
        folder=folder, corpus=dataset.corpus, key_material=material, clock=Clock()
    )
    assert sum(map(len, cache.chunks(Vectors()))) == len(TEXTS)


def order(hits: Hits) -> dict[str, list[str]]:
    documents = list(TEXTS)
    rows = zip(QUERIES, hits.docs.tolist(), strict=True)
    return {query: [documents[position] for position in row] for query, row in rows}


def by_brute_force(change: Callable[[Any], Any]) -> dict[str, list[str]]:
    def changed(text: str) -> Any:
        return change(vector(text)).astype(np.float64)

    vectors = {id: changed(text) for id, text in TEXTS.items()}
    return {
        query: sorted(vectors, key=lambda id: -float(vectors[id] @ changed(text)))
        for query, text in QUERIES.items()
    }


def unit(v: Any) -> Any:
    return v.astype(np.float64) / np.linalg.norm(v.astype(np.float64))


def test_stored_vectors_are_searched_as_they_are_and_changed(sources: Sources) -> None:
    method, dataset = object_method(Vectors()), open_dataset(TASK, sources)
    with pytest.raises(DataError, match="no encodings of its documents"):
        list(of_stored_vectors(method, dataset, sources))
    fill(dataset, sources)
    before = Vectors.encoded
    runs = dict(of_stored_vectors(method, dataset, sources))
    assert Vectors.encoded == before  # documents come from the cache
    assert runs.keys() == {name for name, _ in transforms(DIM)}
    assert order(runs[STORED]) == by_brute_force(lambda v: v)
    cosine = by_brute_force(unit)
    assert order(runs["cosine of the stored vectors"]) == cosine != order(runs[STORED])
    halves = by_brute_force(lambda v: v.astype(np.float16))
    assert order(runs["vectors rounded to float16"]) == halves
    for kept in (128, 64):
        first = by_brute_force(lambda v, kept=kept: unit(v[:kept]))
        assert order(runs[f"the first {kept} of {DIM} dimensions, cosine"]) == first


def test_rounding_stays_within_half_a_step() -> None:
    vectors = np.array([vector(text) for text in TEXTS.values()])
    vectors[0] = 0
    # bfloat16 has 8 significant bits; representable values are unchanged.
    rounded = bfloat16(vectors)
    assert np.all(np.abs(rounded - vectors) <= np.abs(vectors) * 2.0**-8)
    assert np.array_equal(bfloat16(rounded), rounded)
    assert np.array_equal(bfloat16(np.float32([1 + 2**-8, 1 + 3 * 2**-8])), [1, 1 + 2**-6])
    steps = np.abs(vectors).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(int8(vectors) - vectors) <= steps / 2 * 1.0001)
    assert np.unique(int8(vectors)[1]).size <= 255
