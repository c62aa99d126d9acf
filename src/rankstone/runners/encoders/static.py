"""Static token embeddings (WordLlama, Model2Vec and similar): the mean over a text's tokens.

No transformer runs: encoding takes tokenisation and one sparse matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from rankstone.errors import ModelError
from rankstone.profiling.machine import usable_cores
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Chunks, Context, Defaults, Json, Role
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exact.gpu import GpuIndex, exact
from rankstone.runners.transformer.checkpoint_files import check_files

BATCH = 256
"""Texts tokenised at once; bounds the memory of token lists."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StaticEmbeddings(Defaults):
    """Mean of token embeddings, of unit length for cosine; exact search over the vectors.

    Follows WordLlama's own inference (no special tokens, no truncation, ids beyond the vocabulary
    clipped to its last), and sentence-transformers' StaticEmbedding for other models. A text
    without tokens is the zero vector (WordLlama returns NaN under cosine).
    """

    cacheable: ClassVar[bool] = True

    model: LocatedModel
    weights: str
    """Safetensors file in the model's folder: a (vocabulary, dim) matrix, or model2vec's
    `embeddings`, with the row (`mapping`) and weight (`weights`) of each token."""
    tokenizer: str = "tokenizer.json"
    """File of the `tokenizers` library in the model's folder."""
    similarity: Literal["cosine", "dot"] = "cosine"

    def describe(self) -> Mapping[str, Json]:
        return {
            **self.model.only(self.weights, self.tokenizer).describe(),
            "max_length": None,
            "pooling": "mean",
            "normalized": self.similarity == "cosine",
            "similarity": self.similarity,
            "dtype": "float32",
            "engine": f"tokenizers {version('tokenizers')}, scipy {version('scipy')}",
            "index": ExactIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """Return (len(texts), dim) vectors, which do not depend on the number of cores."""
        vectors = np.empty((len(texts), self._matrix.shape[1]), dtype=np.float32)
        _ = self._tokenizer  # loaded once, before threads start

        def fill(start: int) -> None:
            vectors[start : start + BATCH] = self._means(list(texts[start : start + BATCH]))

        starts = range(0, len(texts), BATCH)
        if len(starts) < 2:
            for start in starts:
                fill(start)
            return vectors
        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(fill, starts))
        return vectors

    def index(
        self, documents: Chunks[NDArray[np.float32]], context: Context
    ) -> ExactIndex | GpuIndex:
        return exact(documents, context.device)

    def _means(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the means of the tokens' rows, by a product with the text-token incidence matrix.

        Padding texts to one length would take length x dim floats per text.
        """
        from scipy.sparse import csr_array

        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = [np.asarray(text.ids, dtype=np.int64) for text in encoded]
        lengths = np.array([len(text) for text in ids])
        columns = np.minimum(np.concatenate(ids), len(self._matrix) - 1)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        ones = np.ones(len(columns), dtype=np.float32)
        incidence = csr_array((ones, columns, starts), shape=(len(texts), len(self._matrix)))
        vectors: NDArray[np.float32] = incidence @ self._matrix
        vectors /= np.maximum(lengths, 1)[:, None].astype(np.float32)
        if self.similarity == "cosine":
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(norms > 0, norms, 1)
        return vectors

    @cached_property
    def _matrix(self) -> NDArray[np.float32]:
        from safetensors.numpy import load_file

        check_files(self.model.only(self.weights, self.tokenizer))
        tensors = load_file(self.model.folder / self.weights)
        rows, weights = tensors.pop("mapping", None), tensors.pop("weights", None)
        if len(tensors) != 1:
            raise ModelError(
                f"Model '{self.model.id}': {self.weights} holds {', '.join(tensors) or 'nothing'},"
                " expected one matrix of token embeddings. Correct the key 'parameters.weights'."
            )
        (matrix,) = tensors.values()
        matrix = matrix if rows is None else matrix[rows]
        matrix = matrix if weights is None else matrix * weights[:, None]
        return np.ascontiguousarray(matrix, dtype=np.float32)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        check_files(self.model.only(self.tokenizer))
        tokenizer = Tokenizer.from_file(str(self.model.folder / self.tokenizer))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
