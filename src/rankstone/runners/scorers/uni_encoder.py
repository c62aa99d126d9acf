"""Uni-Encoders: all candidates in one sequence with the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.profiling.device import memory_errors, opened, resolve
from rankstone.runners.meter import Work, report
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Json, Truncation
from rankstone.runners.scorers.apart import (
    Layout,
    check_positions,
    extra_tensors,
    packed,
    packed_scores,
    truncated_apart,
)
from rankstone.runners.transformer.engines.choice import library_versions
from rankstone.runners.transformer.network import Head, Loaded, Network
from rankstone.runners.transformer.tokens import Ids, Tokens, copied


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UniEncoderScorer:
    """One sequence of `[CLS] query [SEP]` and `[CLS] candidate [SEP]` for each candidate.

    Each candidate's positions continue from the query's end, as if it were the only one; token
    types are 0 for the query and 1 for candidates. Arrow attention: query tokens attend to all
    tokens, a candidate's tokens to the query and the candidate. Score = w . mean of the candidate's
    outputs (+ b). Song et al.: Uni-Encoder, Findings of ACL 2023.

    The query attends to all candidates, so a score depends on the other candidates in the sequence,
    but not on their order. Masked attention is not computed: tokens are packed without padding, and
    time and memory are linear in the number of candidates.

    The model's folder holds a BERT backbone as transformers saves it (``config.json``,
    ``model.safetensors``, tokenizer) and beside it ``scorer.safetensors`` with the tensor
    ``weight`` (d,) and, optionally, ``bias`` (1,).
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}

    model: LocatedModel
    attention: Literal["arrow", "one-way"] = "arrow"
    """`one-way`, not in the paper: the query does not attend to candidates, so that a candidate's
    score does not depend on the others."""
    together: Annotated[int, Field(ge=1)] | None = None
    """Candidates per sequence; None: all. It should be as in training, such as 10."""
    query_length: Annotated[int, Field(ge=3)] = 256
    """Tokens per query, special tokens included."""
    document_length: Annotated[int, Field(ge=3)] = 256
    """Tokens per candidate, special tokens included."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    device: str | None = None
    """A torch device; None: the best available."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "scorer": "uni-encoder",
            **self.model.describe(),
            "attention": self.attention,
            "together": self.together,
            "query_length": self.query_length,
            "document_length": self.document_length,
            "dtype": self.dtype,
            "device": self._backbone.device.type,
            "engine": f"torch {version('torch')}",
            "libraries": library_versions(),
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        if not len(documents):
            return np.zeros(0, dtype=np.float32)
        (context,) = self._tokens(self.query_length).encode([query]).ids
        rows = self._tokens(self.document_length).encode(documents).ids
        size = self.together or len(rows)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return np.concatenate([self._scores(context, part) for part in parts])

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        of_query, of_documents = map(self._tokens, (self.query_length, self.document_length))
        return truncated_apart(of_query, of_documents, query, documents)

    def _scores(self, context: Ids, rows: Sequence[Ids]) -> NDArray[np.float32]:
        import torch

        device = self._backbone.device
        layout = Layout.of(len(context), [len(row) for row in rows], device, self.attention)
        ids = torch.from_numpy(np.concatenate([context, *rows])).to(device)
        with torch.inference_mode(), memory_errors("Lower scorer.parameters.together."):
            found = packed_scores(self._backbone, self._head, ids, layout)
            scores: NDArray[np.float32] = found.cpu().numpy()
        self._report(len(context), [len(row) for row in rows])
        return scores

    def _report(self, context: int, sizes: Sequence[int]) -> None:
        tokens = context + sum(sizes)
        seen = tokens if self.attention == "arrow" else context
        attended = float(context * seen + sum(size * (context + size) for size in sizes))
        work: Work = self._loaded.facts.costs.work(np.array([tokens]), attended)
        report(work._replace(texts=len(sizes)))

    def _tokens(self, limit: int) -> Tokens:
        backend, facts = copied(self._loaded.tokenizer.backend_tokenizer), self._loaded.facts
        return Tokens(backend, pad=facts.pad, limit=limit, embeddings=facts.embeddings)

    @cached_property
    def _loaded(self) -> Loaded:
        loaded = Network(model=self.model, head=Packed()).load()
        check_positions(self.model, loaded.facts, self.query_length + self.document_length)
        return loaded

    @cached_property
    def _backbone(self) -> Any:
        import torch

        device, number = opened(resolve(self.device)), getattr(torch, self.dtype)
        return self._loaded.network.to(device, number)

    @cached_property
    def _head(self) -> dict[str, Any]:
        import torch

        tensors = extra_tensors(self.model, "weight")
        device, dtype = self._backbone.device, self._backbone.dtype
        return {
            name: torch.from_numpy(tensors[name].reshape(-1)).to(device, dtype)
            for name in ("weight", "bias")
            if name in tensors
        }


@plain_dataclass(frozen=True, kw_only=True)
class Packed(Head):
    """Network of packed sequences: a BERT with `arrow_attention`."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.vectors import load_states

        loaded = load_states(network)
        return replace(loaded, network=packed(loaded.network.backbone))
