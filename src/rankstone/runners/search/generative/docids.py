"""Document identifiers that a model generates: atomic, naive and semantic."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import ModelError
from rankstone.runners.models import LocatedModel
from rankstone.runners.search.faiss.faiss_index import library
from rankstone.runners.transformer.tokens import token_ids

Kind = Literal["atomic", "naive", "semantic"]
FILE = "docids.json"
"""File beside a model's weights: document id -> the docid that the model was trained on."""
ITERATIONS = 20


def semantic(vectors: NDArray[np.float32], branching: int, leaf: int, seed: int) -> list[str]:
    """Return paths through hierarchical clusters, one number per level: "3 0 7 42".

    Tay et al., Transformer Memory as a Differentiable Search Index, NeurIPS 2022, arXiv:2202.06991,
    algorithm 1: sets of more than `leaf` documents are divided recursively by k-means into
    `branching` clusters; the last number counts the documents of a cluster. The paper joins the
    numbers without spaces, so that a tokenizer may merge several levels.
    """
    found = [""] * len(vectors)
    everything: tuple[tuple[int, ...], NDArray[np.int64]] = (), np.arange(len(vectors))
    waiting = [everything] if len(vectors) else []
    while waiting:
        path, rows = waiting.pop()
        if len(rows) > leaf:
            parts = clusters(vectors[rows], branching, seed)
            waiting += [((*path, n), rows[part]) for n, part in enumerate(parts) if len(part)]
            continue
        for number, row in enumerate(rows):
            found[row] = " ".join(map(str, (*path, number)))
    return found


def clusters(vectors: NDArray[np.float32], k: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the rows of at most `k` clusters; equal parts if k-means puts all in one cluster."""
    faiss = library()
    k = min(k, len(vectors))
    means = faiss.Kmeans(
        vectors.shape[1], k, niter=ITERATIONS, seed=seed, min_points_per_centroid=1
    )
    means.train(vectors)
    labels = means.index.search(vectors, 1)[1][:, 0]
    if (labels == labels[0]).all():
        return np.array_split(np.arange(len(vectors)), k)
    return [np.flatnonzero(labels == number) for number in range(k)]


def write(folder: Path, known: Mapping[str, str]) -> None:
    """Write the docids by document id, for `stated`."""
    (folder / FILE).write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")


def stated(model: LocatedModel, ids: Sequence[str]) -> list[str] | None:
    """Return the docids in the file beside the weights; None without the file.

    Raises ModelError if the file is about other documents.
    """
    if FILE not in model.files:
        return None
    path = model.folder / FILE
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return [str(known[id]) for id in ids]
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"Model '{model.id}': {path}: no docids by document: {error}.") from error
    except KeyError as error:
        raise ModelError(
            f"Model '{model.id}': {path}: no docid of document {error}. The model was trained on"
            " another collection: run it on that one."
        ) from None


def sequences(tokenizer: Any, kind: Kind, names: Sequence[str], model: str) -> list[list[int]]:
    """Return the token ids of docids; ModelError if atomic docids are not in the vocabulary."""
    if kind != "atomic":
        return list(tokenizer(text_target=list(names))["input_ids"]) if len(names) else []
    mend = ". Train it with a token for each document, or correct the key 'parameters.token'."
    return [[id] for id in token_ids(tokenizer, names, model, mend)]
