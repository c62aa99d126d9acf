"""Cross-encoders: query and document read together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import ModelError
from rankstone.runners.meter import report
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Json, Truncation
from rankstone.runners.transformer import checkpoint
from rankstone.runners.transformer.batching import by_length


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CrossEncoderScorer:
    """The single logit of a sequence classifier over `[CLS] query [SEP] document [SEP]`.

    The logit itself, no sigmoid: that would not move a rank, but tie what it saturates. A pair that
    is too long loses tokens of its longer text first. Equal to ``CrossEncoder.predict`` of
    sentence-transformers with the identity as activation, up to the last bits.
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "transformers": "dense"}

    model: LocatedModel
    max_length: Annotated[int, Field(ge=8)] = 512
    """Tokens per pair, special tokens included; never more than the model's own limit."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """At most so many pairs are scored together ..."""
    batch_tokens: Annotated[int, Field(ge=1)] = 4096
    """... and at most so many tokens, padding included."""
    dtype: checkpoint.Dtype = "float32"
    device: str | None = None
    """A torch device; None: the best there is."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "scorer": "cross-encoder",
            **self.model.describe(),
            "max_length": self._limit,
            "truncation": "longest first",
            "activation": "identity",
            "dtype": self.dtype,
            "device": self._classifier.device.type,
            **checkpoint.libraries(),
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        scores = np.empty(len(documents), dtype=np.float32)
        columns = self._tokenized(query, documents, limit=self._limit)
        lengths = np.array([len(ids) for ids in columns["input_ids"]], dtype=np.int64)
        for rows in by_length(lengths, batch_tokens=self.batch_tokens, batch_size=self.batch_size):
            batch = {name: [values[row] for row in rows] for name, values in columns.items()}
            scores[rows] = self._logits(batch)
            report(self._classifier.costs.work(lengths[rows]))
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        ids = self._tokenized(query, documents, limit=None)["input_ids"]
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        return Truncation.of(lengths, self._limit)

    def _tokenized(
        self, query: str, documents: Sequence[str], limit: int | None
    ) -> Mapping[str, list[list[int]]]:
        """The model's inputs by name, of each pair."""
        if not len(documents):
            return {"input_ids": []}
        encoded = self._tokenizer(
            [query] * len(documents),
            list(documents),
            truncation="longest_first" if limit else False,
            max_length=limit,
            padding=False,
            return_attention_mask=False,
            verbose=False,
        )
        columns: Mapping[str, list[list[int]]] = encoded.data
        return columns

    def _logits(self, batch: Mapping[str, list[list[int]]]) -> NDArray[np.float32]:
        import torch

        device, pad = self._classifier.device, self._tokenizer.pad_token_id
        inputs = {
            name: checkpoint.padded(rows, pad if name == "input_ids" else 0).to(device)
            for name, rows in batch.items()
        }
        mask = checkpoint.mask_of(batch["input_ids"]).to(device)
        with torch.inference_mode():
            logits = self._classifier(**inputs, attention_mask=mask).logits
        out: NDArray[np.float32] = logits[:, 0].float().cpu().numpy()
        return out

    @cached_property
    def _limit(self) -> int:
        positions = getattr(self._classifier.config, "max_position_embeddings", self.max_length)
        return int(min(self.max_length, self._tokenizer.model_max_length, positions))

    @cached_property
    def _tokenizer(self) -> Any:
        return checkpoint.load_tokenizer(self.model.folder)

    @cached_property
    def _classifier(self) -> Any:
        kind = "AutoModelForSequenceClassification"
        model = checkpoint.load(kind, self.model.folder, self.dtype, self.device)
        if model.config.num_labels != 1:
            raise ModelError(
                f"Model '{self.model.id}' has {model.config.num_labels} labels:"
                " a scorer needs a model with one."
            )
        return model
