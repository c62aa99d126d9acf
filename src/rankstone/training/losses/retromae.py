"""Pre-training of an encoder by reconstruction from the state of its first token (RetroMAE).

Xiao et al., RetroMAE: Pre-Training Retrieval-oriented Language Models Via Masked Auto-Encoder,
EMNLP 2022 (arXiv:2205.12035). Imports torch: import this inside functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class EnhancedDecoding(nn.Module):
    """Masked language modelling by the encoder, and enhanced decoding by a one-layer decoder.

    The encoder reads a text with some tokens masked. The decoder predicts every token from the
    state of the encoder's first token and the embeddings of the other tokens: row i of its
    attention mask sees the first token's state and a random set of positions without i. Both heads
    share the word embeddings. The decoder is discarded after training.

    Args:
        encoder_mask: Fraction of the tokens that are masked in the encoder.
        decoder_mask: Fraction of the positions that are masked in each row of the decoder.
    """

    def __init__(self, model: Any, encoder_mask: float = 0.3, decoder_mask: float = 0.5) -> None:
        super().__init__()
        self.model, self.encoder_mask, self.decoder_mask = model, encoder_mask, decoder_mask
        network = model[0].auto_model
        if not hasattr(getattr(network, "embeddings", None), "position_embeddings"):
            raise ValueError("enhanced decoding needs a network with BERT's embeddings")
        width, heads = network.config.hidden_size, network.config.num_attention_heads
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.after_attention, self.after_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.forward_layer = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))

    def forward(self, sentence_features: Any, labels: Any = None) -> Tensor:
        (features,) = sentence_features
        ids, mask = features["input_ids"], features["attention_mask"].bool()
        ordinary = mask & ~self._special(ids)
        hidden_tokens = ordinary & (torch.rand(ids.shape, device=ids.device) < self.encoder_mask)
        corrupted = ids.masked_fill(hidden_tokens, self.model.tokenizer.mask_token_id)
        states = (
            self.model[0]
            .auto_model(input_ids=corrupted, attention_mask=mask.long())
            .last_hidden_state
        )
        visible = visible_positions(mask, self.decoder_mask)
        decoded = self.decoded(states[:, 0], ids, visible)
        return self._loss(states, ids, hidden_tokens) + self._loss(decoded, ids, ordinary)

    def decoded(self, sentence: Tensor, ids: Tensor, visible: Tensor) -> Tensor:
        """Return the decoder's (n, length, width) states.

        Args:
            sentence: (n, width) states of the first token.
            ids: (n, length) unmasked tokens.
            visible: (n, length, length) True if a row sees a position.
        """
        embeddings = self.model[0].auto_model.embeddings
        places = torch.arange(ids.shape[1], device=ids.device)
        positions = embeddings.position_embeddings(places)
        asked = sentence[:, None] + positions
        seen = embeddings.word_embeddings(ids) + positions
        seen = torch.cat([sentence[:, None], seen[:, 1:]], dim=1)
        unseen = (~visible).repeat_interleave(self.attention.num_heads, dim=0)
        found, _ = self.attention(asked, seen, seen, attn_mask=unseen, need_weights=False)
        found = self.after_attention(asked + found)
        decoded: Tensor = self.after_forward(found + self.forward_layer(found))
        return decoded

    def _loss(self, states: Tensor, ids: Tensor, predicted: Tensor) -> Tensor:
        words = self.model[0].auto_model.embeddings.word_embeddings.weight
        logits = self.head(states[predicted]) @ words.T
        if not len(logits):
            return states.sum() * 0
        return functional.cross_entropy(logits, ids[predicted])

    def _special(self, ids: Tensor) -> Tensor:
        special = torch.tensor(self.model.tokenizer.all_special_ids, device=ids.device)
        return torch.isin(ids, special)


def visible_positions(mask: Tensor, share_hidden: float) -> Tensor:
    """Return an (n, length, length) mask of the positions that each row sees.

    These are the first one, and random ones that are neither padding nor the row itself.

    Args:
        mask: (n, length) True for tokens that are not padding.
    """
    n, length = mask.shape
    drawn = torch.rand((n, length, length), device=mask.device) >= share_hidden
    itself = torch.eye(length, dtype=torch.bool, device=mask.device)
    visible: Tensor = drawn & mask[:, None, :] & ~itself
    visible[:, :, 0] = True
    return visible
