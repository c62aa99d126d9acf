"""Training of GeAR: contrastive learning of two encoders, and generation from the fusion encoder.

Liu et al., GeAR: Generation Augmented Retrieval, ACL 2025 (arXiv:2501.02772). Imports torch: import
this inside functions.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sentence_transformers.base.modules import InputModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rankstone.runners.scorers.gear.fused_network import FusedEncoders, pooled
from rankstone.training.losses.docids import IGNORED


class Tokens(NamedTuple):
    ids: Tensor
    mask: Tensor


class Fusion(InputModule):
    """The encoders as a module of sentence-transformers."""

    tokenizer: Any

    def __init__(self, network: FusedEncoders, tokenizer: Any, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.network, self.tokenizer, self.limit = network, tokenizer, limit

    def preprocess(self, inputs: Any, prompt: str | None = None, **_: Any) -> dict[str, Any]:
        return dict(
            self.tokenizer(
                list(inputs), truncation=True, max_length=self.limit, padding=True,
                return_tensors="pt",
            )
        )  # fmt: skip

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        return features

    def get_config_dict(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        folder = Path(output_path)
        self.network.save(folder)
        for role in ("query", "document"):
            self.tokenizer.save_pretrained(folder / role)

    @classmethod
    def load(cls, model_name_or_path: str, *_: Any, **__: Any) -> Fusion:
        from transformers import AutoTokenizer

        folder = Path(model_name_or_path)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder / "query")
        return cls(FusedEncoders.load(folder), tokenizer, 0)


class GenerationAugmented(nn.Module):
    """The contrastive loss, plus `weight` times the cross-entropy of a decoder.

    The contrastive loss is the mean of both directions, from queries to documents of the batch and
    back, against soft labels: `soft` times the softmax of moving averages of both encoders, plus
    1 - `soft` times the pairs of the batch (ALBEF, Li et al. 2021, arXiv:2107.07651, without its
    queue). The decoder, a causal BERT, attends to the states of the fusion encoder and predicts the
    relevant part of the document. It starts at random, but for the word embeddings, which it shares
    with the query encoder, and is discarded after training.

    Args:
        weight: Weight of the decoder's loss; 0.25 in GeAR.
        decoder_layers: Layers of the decoder; None: as many as the encoders have.
        temperature: Divisor of the cosines.
        soft: Share of the soft labels.
        momentum: Share of the former weights in the moving averages, of each step.
    """

    def __init__(
        self, model: Any, weight: float = 0.25, decoder_layers: int | None = None,
        temperature: float = 0.07, soft: float = 0.4, momentum: float = 0.995,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.weight, self.temperature = model, weight, temperature
        self.soft, self.momentum = soft, momentum
        encoders = model[0].network
        self.average = deepcopy(encoders).requires_grad_(False)
        self.decoder = decoder_of(encoders, decoder_layers) if weight else None

    def forward(self, sentence_features: Any, labels: Any = None) -> Tensor:
        asked, document, target = (
            Tokens(features["input_ids"], features["attention_mask"])
            for features in sentence_features
        )
        if self.training:
            self._follow()
        states = self.encoders.states("document", *document)
        queries = self.encoders.vectors("query", *asked)
        loss = self._contrast(queries, pooled(states, document.mask), asked, document)
        if self.decoder is None:
            return loss
        return loss + self.weight * self._generation(asked, states, document.mask, target)

    @property
    def encoders(self) -> FusedEncoders:
        found: FusedEncoders = self.model[0].network
        return found

    @torch.no_grad()
    def _follow(self) -> None:
        self.average.eval()
        pairs = zip(self.average.parameters(), self.encoders.parameters(), strict=True)
        for slow, now in pairs:
            slow.lerp_(now, 1 - self.momentum)

    def _contrast(
        self, queries: Tensor, documents: Tensor, asked: Tokens, document: Tokens
    ) -> Tensor:
        with torch.no_grad():
            slow = (
                self.average.vectors("query", *asked),
                self.average.vectors("document", *document),
            )
        scores = queries @ documents.T / self.temperature
        taught = slow[0] @ slow[1].T / self.temperature
        return (self._against(scores, taught) + self._against(scores.T, taught.T)) / 2

    def _against(self, scores: Tensor, taught: Tensor) -> Tensor:
        pairs = torch.eye(len(scores), device=scores.device)
        return cross_entropy(scores, self.soft * taught.softmax(1) + (1 - self.soft) * pairs)

    def _generation(self, asked: Tokens, states: Tensor, read: Tensor, target: Tokens) -> Tensor:
        assert self.decoder is not None
        fused = self.encoders.fused(asked.ids, asked.mask, states, read)
        found: Tensor = self.decoder(
            input_ids=target.ids, attention_mask=target.mask, encoder_hidden_states=fused,
            encoder_attention_mask=asked.mask,
            labels=target.ids.masked_fill(target.mask == 0, IGNORED), use_cache=False,
        ).loss  # fmt: skip
        return found


def decoder_of(encoders: FusedEncoders, layers: int | None) -> Any:
    """Return a causal language model of the encoders' sizes, with the query's word embeddings."""
    from transformers import BertLMHeadModel

    config = deepcopy(encoders.query.config)
    config.num_hidden_layers = layers or config.num_hidden_layers
    decoder: Any = BertLMHeadModel(config)
    decoder.set_input_embeddings(encoders.query.embeddings.word_embeddings)
    decoder.tie_weights()
    return decoder
