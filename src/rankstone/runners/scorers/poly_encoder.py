"""Poly-Encoders: several vectors of the query, attended to by each candidate's one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.meter import report
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Json, Truncation
from rankstone.runners.transformer import checkpoint
from rankstone.runners.transformer.batching import by_length

EXTRA = "scorer.safetensors"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PolyEncoderScorer:
    """m learned codes read the query; the candidate's vector reads what they found.

    With H (L, d) the query's token outputs, C (m, d) the codes and r (d,) the candidate's [CLS]
    output: Y = softmax(C H^T) H, and score = (softmax(r Y^T) Y) . r, nothing scaled.
    Humeau, Shuster, Lachaux, Weston: Poly-encoders, ICLR 2020, section 4.4.

    The model's folder holds a BERT-like backbone as transformers saves it (``config.json``,
    ``model.safetensors``, tokenizer) and beside it ``scorer.safetensors`` with the tensor ``codes``
    (m, d).
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "transformers": "dense"}

    model: LocatedModel
    candidates: str | None = None
    """Folder, inside the model's, of the candidates' own backbone; None: both share one."""
    query_length: Annotated[int, Field(ge=3)] = 256
    """Tokens per query, special tokens included."""
    document_length: Annotated[int, Field(ge=3)] = 256
    """Tokens per candidate, special tokens included."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """At most so many candidates are encoded together ..."""
    batch_tokens: Annotated[int, Field(ge=1)] = 4096
    """... and at most so many tokens, padding included."""
    dtype: checkpoint.Dtype = "float32"
    device: str | None = None
    """A torch device; None: the best there is."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "scorer": "poly-encoder",
            **self.model.describe(),
            "codes": len(self._codes),
            "candidates": self.candidates,
            "query_length": self.query_length,
            "document_length": self.document_length,
            "dtype": self.dtype,
            "device": self._backbone.device.type,
            **checkpoint.libraries(),
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        import torch

        scores = np.empty(len(documents), dtype=np.float32)
        rows = checkpoint.framed(self._tokenizer, documents, self.document_length)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        if not rows:
            return scores
        with torch.inference_mode():
            vectors = self._query_vectors(query)
            for batch in by_length(
                lengths, batch_tokens=self.batch_tokens, batch_size=self.batch_size
            ):
                outputs = self._outputs(self._candidate_backbone, [rows[row] for row in batch])
                scores[batch] = attend(outputs[:, 0], vectors).float().cpu().numpy()
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        limits = self.query_length, self.document_length
        return checkpoint.cut_apart(self._tokenizer, query, documents, limits)

    def _query_vectors(self, query: str) -> Any:
        """(m, d)"""
        rows = checkpoint.framed(self._tokenizer, [query], self.query_length)
        tokens = self._outputs(self._backbone, rows)[0]
        return (self._codes @ tokens.T).softmax(-1) @ tokens

    def _outputs(self, backbone: Any, rows: Sequence[Sequence[int]]) -> Any:
        """(len(rows), longest, d) token outputs."""
        ids = checkpoint.padded(rows, self._tokenizer.pad_token_id).to(backbone.device)
        mask = checkpoint.mask_of(rows).to(backbone.device)
        outputs = backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        report(backbone.costs.work(np.array([len(row) for row in rows])))
        return outputs

    @cached_property
    def _tokenizer(self) -> Any:
        return checkpoint.load_tokenizer(self.model.folder)

    @cached_property
    def _backbone(self) -> Any:
        both = max(self.query_length, self.document_length)
        return self._loaded(self.model.folder, self.query_length if self.candidates else both)

    @cached_property
    def _candidate_backbone(self) -> Any:
        if self.candidates is None:
            return self._backbone
        return self._loaded(self.model.folder / self.candidates, self.document_length)

    def _loaded(self, folder: Path, length: int) -> Any:
        backbone = checkpoint.load("AutoModel", folder, self.dtype, self.device)
        checkpoint.check_positions(self.model, backbone, length)
        return backbone

    @cached_property
    def _codes(self) -> Any:
        codes = checkpoint.extra_tensors(self.model, EXTRA, "codes")["codes"]
        return codes.to(self._backbone.device, self._backbone.dtype)


def attend(candidates: Any, vectors: Any) -> Any:
    """(n,) scores of candidates (n, d) that attend over the query's vectors (m, d)."""
    weights = (candidates @ vectors.T).softmax(-1)
    return ((weights @ vectors) * candidates).sum(-1)
