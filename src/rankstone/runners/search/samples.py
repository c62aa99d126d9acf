"""What a binariser learns from: vectors of documents, and pairs of a query and its document."""

from __future__ import annotations

from typing import Any

import numpy as np

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Chunks, Context
from rankstone.runners.search.binariser import check
from rankstone.runners.search.binariser_training import Pairs
from rankstone.runners.search.bit_planes import Vectors


def sampled(documents: Chunks[Vectors], n: int, seed: int) -> Vectors:
    """(n, dim) vectors of at most `n` documents.

    Raises AdapterError for NaN or infinite values, or if there is no document.
    """
    if not len(documents):
        raise AdapterError("no code can be made for an empty collection: it has no vectors.")
    return _checked(documents.sample(n, seed))


def training_pairs(
    encoder: Any, documents: Chunks[Vectors], context: Context, *, words: int, n: int
) -> Pairs:
    """The first `words` words of `n` documents at most, each with its document; training queries
    with the documents judged relevant to them."""
    drawn = np.random.default_rng(context.seed).permutation(len(documents))[:n]
    owners = np.sort(drawn).astype(np.int64)
    heads = [" ".join(context.texts[int(at)].split(maxsplit=words)[:words]) for at in owners]
    queries = _checked(encoder.encode(heads, "query"))
    judged = context.train_judgements
    relevant = judged.label >= 1
    if relevant.any():
        asked = _checked(encoder.encode(list(context.train_queries), "query"))
        queries = np.concatenate([queries, asked[judged.query[relevant]]])
        owners = np.concatenate([owners, judged.document[relevant]])
    return Pairs(queries, _checked(documents.take(owners)), owners)


def _checked(vectors: Any) -> Vectors:
    found = np.asarray(vectors, dtype=np.float32)
    check(found, found.shape[-1])
    return found
