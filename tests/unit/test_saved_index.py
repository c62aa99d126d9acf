"""Saving of indexes that are dataclasses: all types of fields are restored."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csc_array

from rankstone.runners.encoders.bm25 import BM25
from rankstone.runners.saved import SavedIndex, throughout


@dataclass(frozen=True, eq=False)
class Part(SavedIndex):
    vectors: Any
    context: Any = None

    def search(self, queries, k): ...


@dataclass(frozen=True, eq=False)
class Whole(SavedIndex):
    parts: tuple[Part, ...]
    sizes: tuple[int, ...]
    weights: Any
    scorer: Any
    texts: Any
    name: str
    depth: int | None
    context: Any = None


def whole():
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.empty((0, 2), np.uint8)]
    return Whole(
        parts=tuple(Part(array, context=object()) for array in arrays),
        sizes=(3, 2),
        weights=csc_array(np.eye(3, dtype=np.float32)),
        scorer=BM25(k1=1.5),
        texts=["", "one", "zwei \ud800"],
        name="x",
        depth=None,
        context=object(),
    )


def test_every_kind_of_field_comes_back(tmp_path):
    saved = whole()
    saved.save(tmp_path)
    loaded = Whole.load(tmp_path)
    for one, other in zip(saved.parts, loaded.parts, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)
        assert one.vectors.dtype == other.vectors.dtype
    np.testing.assert_array_equal(loaded.weights.toarray(), np.eye(3))
    assert isinstance(loaded.weights, csc_array)
    assert list(loaded.texts) == saved.texts
    names = ("sizes", "scorer", "name", "depth")
    assert [getattr(loaded, name) for name in names] == [getattr(saved, name) for name in names]
    assert loaded.context is None
    assert loaded.parts[0].context is None


def test_bytes_are_those_of_arrays_and_parts(tmp_path):
    saved = whole()
    sparse = 3 * 4 + 3 * saved.weights.indices.itemsize + 4 * saved.weights.indptr.itemsize
    assert saved.nbytes() == 6 * 4 + sparse
    saved.save(tmp_path)
    assert Whole.load(tmp_path).nbytes() == saved.nbytes()


def test_unsupported_fields_cannot_be_saved(tmp_path):
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        Part(object()).save(tmp_path)


def test_the_description_is_plain_json(tmp_path):
    whole().save(tmp_path)
    written = json.loads((tmp_path / "index.json").read_text())
    assert written["name"] == "x"
    assert "context" not in written


class Foreign:
    """Third-party index without `save`."""

    def search(self, queries, k): ...

    def nbytes(self):
        return 1

    def notes(self):
        return ["a note"]


def test_an_index_can_only_be_saved_if_its_parts_can():
    assert throughout(whole(), "save")
    assert throughout(Part(Part(np.zeros(2))), "save")
    assert not throughout(Part(Foreign()), "save")
    assert throughout(Part(Foreign()), "nbytes")
    assert Part((Foreign(), Part(Foreign()))).notes() == ["a note"] * 2
