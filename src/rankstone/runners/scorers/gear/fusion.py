"""Local retrieval by GeAR's fusion encoder: the sentences of one document, by their attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.profiling.device import opened, resolve
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Json, Role, Truncation
from rankstone.runners.transformer.engines.choice import library_versions
from rankstone.text_files import SENTENCE_JOINT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FusionScorer:
    """Cross-attention of a query to the sentences of one document.

    The candidates are taken for the sentences of one document, in order: joined by spaces, they are
    the text of the document encoder. A sentence's score is the share of its tokens in the attention
    that the fusion encoder pays to all sentences at `layer`, the mean over heads and query tokens;
    scores of one query add up to 1. A sentence behind `document_length` has the score 0.
    Liu et al., GeAR: Generation Augmented Retrieval, ACL 2025, arXiv:2501.02772.

    The model's folder holds two BERTs for the library transformers, `query` and `document`, each
    with its tokenizer, and beside them `scorer.safetensors` with the query's cross-attention,
    named as transformers does: ``encoder.layer.0.crossattention.self.query.weight``.
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}
    listwise: ClassVar[bool] = True

    model: LocatedModel
    by: Literal["attention", "vectors"] = "attention"
    """`vectors`: the cosine of the two encoders' vectors of query and sentence, each sentence
    alone; the bi-encoder that the fusion is compared with."""
    layer: Annotated[int, Field(ge=1)] = 10
    """Layer whose cross-attention is read, from 1; `vectors` reads none."""
    query_length: Annotated[int, Field(ge=3)] = 512
    """Tokens per query, special tokens included."""
    document_length: Annotated[int, Field(ge=3)] = 512
    """Tokens per document, special tokens included."""
    device: str | None = None
    """A torch device; None: the best available."""

    @property
    def one_document(self) -> bool:
        """True if the candidates are read as one document, whose sentences they must be."""
        return self.by == "attention"

    def describe(self) -> Mapping[str, Json]:
        return {
            **self.model.describe(),
            "scorer": f"fusion encoder, by {self.by}",
            "layer": self.layer,
            "query_length": self.query_length,
            "document_length": self.document_length,
            "device": str(resolve(self.device)),
            "engine": f"torch {version('torch')}",
            "libraries": library_versions(),
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        if not len(documents):
            return np.zeros(0, dtype=np.float32)
        scores = self._shares if self.by == "attention" else self._cosines
        return scores(query, documents)

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        """Count the query and its document, or each of its sentences, as one text."""
        texts = [SENTENCE_JOINT.join(documents)] if self.by == "attention" else documents
        asked = self._count("query", [query])
        counts = self._count("document", texts)
        limits = self.query_length, self.document_length
        return Truncation.of(
            asked + counts, np.minimum(asked, limits[0]) + counts.clip(0, limits[1])
        )

    def _shares(self, query: str, sentences: Sequence[str]) -> NDArray[np.float32]:
        import torch

        encoders = self._encoders
        asked, mask, _ = self._tokens("query", [query])
        ids, read, starts = self._tokens("document", [SENTENCE_JOINT.join(sentences)])
        with torch.inference_mode():
            states = encoders.states("document", ids, read)
            given = encoders.attention(asked, mask, states, read, self.layer)[0]
        return shares(given.double().cpu().numpy(), starts[0], [len(one) for one in sentences])

    def _cosines(self, query: str, sentences: Sequence[str]) -> NDArray[np.float32]:
        import torch

        asked, mask, _ = self._tokens("query", [query])
        ids, read, _ = self._tokens("document", sentences)
        with torch.inference_mode():
            vectors = self._encoders.vectors("document", ids, read)
            found = vectors @ self._encoders.vectors("query", asked, mask)[0]
        scores: NDArray[np.float32] = found.float().cpu().numpy()
        return scores

    def _tokens(self, role: Role, texts: Sequence[str]) -> tuple[Any, Any, NDArray[np.int64]]:
        """Return ids and mask, and the first character of each token, -1 of special ones."""
        limit = self.query_length if role == "query" else self.document_length
        found = self._tokenizers[role](
            list(texts), truncation=True, max_length=limit, padding=True, return_tensors="pt",
            return_offsets_mapping=True, return_special_tokens_mask=True,
        )  # fmt: skip
        starts = found["offset_mapping"][..., 0].numpy().astype(np.int64)
        starts[found["special_tokens_mask"].numpy() > 0] = -1
        device = opened(resolve(self.device))
        return found["input_ids"].to(device), found["attention_mask"].to(device), starts

    def _count(self, role: Role, texts: Sequence[str]) -> NDArray[np.int64]:
        ids = self._tokenizers[role](list(texts), verbose=False)["input_ids"]
        return np.array([len(one) for one in ids], dtype=np.int64)

    @cached_property
    def _tokenizers(self) -> dict[Role, Any]:
        from transformers import AutoTokenizer

        roles: tuple[Role, Role] = ("query", "document")
        return {role: AutoTokenizer.from_pretrained(self.model.folder / role) for role in roles}

    @cached_property
    def _encoders(self) -> Any:
        from rankstone.runners.scorers.gear.fused_network import FusedEncoders
        from rankstone.runners.transformer.network import model_errors, quiet

        with quiet(), model_errors(f"Model '{self.model.id}' in {self.model.folder}"):
            found = FusedEncoders.load(self.model.folder)
        n = found.query.config.num_hidden_layers
        if self.by == "attention" and self.layer > n:
            raise DefinitionError(
                f"key 'scorer.parameters.layer': model '{self.model.id}' has {n} layers, and layer"
                f" {self.layer} is asked for. Lower it."
            )
        return found.to(opened(resolve(self.device)))


def shares(
    given: NDArray[np.float64], starts: NDArray[np.int64], lengths: Sequence[int]
) -> NDArray[np.float32]:
    """Return each sentence's share of the attention that all sentences get.

    Args:
        given: (tokens,) attention.
        starts: (tokens,) first character of each token in the document, -1 if it has none.
        lengths: characters of each sentence.
    """
    ends = list(accumulate(length + len(SENTENCE_JOINT) for length in lengths))
    owners = np.searchsorted(ends, starts[starts >= 0], side="right")
    sums = np.bincount(owners, weights=given[starts >= 0], minlength=len(lengths))
    total = sums.sum()
    found: NDArray[np.float32] = (sums / total if total else sums).astype(np.float32)
    return found
