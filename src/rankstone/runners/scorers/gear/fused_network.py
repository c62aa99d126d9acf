"""GeAR's networks: two BERT encoders, and the query's with cross-attention to the document's.

Liu et al., GeAR: Generation Augmented Retrieval, ACL 2025 (arXiv:2501.02772). Imports torch: import
this inside functions.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from rankstone.runners.protocols import Role
from rankstone.runners.scorers.apart import EXTRA

CROSSED = ".crossattention."
"""Part of the names of the tensors that a BERT has only with cross-attention."""


class FusedEncoders(nn.Module):
    """Encoders of both roles, and the fusion encoder.

    The fusion encoder has the query encoder's weights, and in each layer, between self-attention
    and feed-forward network, a cross-attention to the document's last token states.
    """

    def __init__(self, query: Any, document: Any) -> None:
        """`query`: a BERT with cross-attention, as of `crossed`."""
        super().__init__()
        self.query, self.document = query, document

    @classmethod
    def load(cls, folder: Path) -> FusedEncoders:
        """Load the folders `query` and `document`, and the cross-attention beside them."""
        query, document = (_bert(folder / role) for role in ("query", "document"))
        return cls(crossed(query, load_file(folder / EXTRA)), document)

    def save(self, folder: Path) -> None:
        """Write both encoders as plain BERTs, and the cross-attention beside them."""
        tensors = self.query.state_dict()
        plain: Any = BertModel(_config(self.query.config, decoder=False), add_pooling_layer=False)
        plain.load_state_dict({name: one for name, one in tensors.items() if CROSSED not in name})
        plain.save_pretrained(folder / "query")
        self.document.save_pretrained(folder / "document")
        own = {name: one.cpu().contiguous() for name, one in tensors.items() if CROSSED in name}
        save_file(own, folder / EXTRA)

    def states(self, role: Role, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the (n, length, width) token states of the encoder of `role`."""
        read = self._asked if role == "query" else self.document
        found: Tensor = read(input_ids=ids, attention_mask=mask).last_hidden_state
        return found

    def vectors(self, role: Role, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the (n, width) means of the token states, of unit length."""
        return pooled(self.states(role, ids, mask), mask)

    def fused(self, ids: Tensor, mask: Tensor, states: Tensor, read: Tensor) -> Tensor:
        """Return the (n, length, width) states of the queries that have read documents.

        Args:
            states: (n, tokens, width) states of the documents.
            read: (n, tokens) 1 for the documents' tokens, 0 for padding.
        """
        found: Tensor = self._asked(
            ids, mask, encoder_hidden_states=states, encoder_attention_mask=read
        ).last_hidden_state
        return found

    def attention(
        self, ids: Tensor, mask: Tensor, states: Tensor, read: Tensor, layer: int
    ) -> Tensor:
        """Return the (n, tokens) attention that documents' tokens get at `layer`, counted from 1.

        It is the mean over the heads and the query's tokens, special ones included.
        """
        heads: Tensor = self._asked(
            ids, mask, encoder_hidden_states=states, encoder_attention_mask=read,
            output_attentions=True,
        ).cross_attentions[layer - 1]  # fmt: skip
        given = mask[..., None].to(heads.dtype)
        found: Tensor = (heads.mean(dim=1) * given).sum(1) / given.sum(1)
        return found

    def _asked(self, input_ids: Tensor, attention_mask: Tensor, **more: Any) -> Any:
        """Run the query encoder; its self-attention is in both directions."""
        lowest = torch.finfo(torch.float32).min
        seen = torch.where(attention_mask[:, None, None, :] > 0, 0.0, lowest)
        seen = seen.expand(-1, 1, input_ids.shape[1], -1)
        return self.query(input_ids=input_ids, attention_mask=seen, use_cache=False, **more)


def begun(folder: Path, layers: int | None) -> FusedEncoders:
    """Return both encoders with the weights of one BERT, up to layer `layers`.

    Cross-attention begins with the weights of the self-attention of its layer.
    """
    bert = _bert(folder)
    if layers is not None:
        bert.encoder.layer = bert.encoder.layer[:layers]
        bert.config.num_hidden_layers = layers
    copied = {
        name.replace(".attention.", CROSSED): one.clone()
        for name, one in bert.state_dict().items() if ".attention." in name
    }  # fmt: skip
    return FusedEncoders(crossed(bert, copied), deepcopy(bert))


def crossed(bert: Any, tensors: dict[str, Tensor]) -> Any:
    """Return `bert` with cross-attention of the weights `tensors`."""
    network: Any = BertModel(_config(bert.config, decoder=True), add_pooling_layer=False)
    network.load_state_dict({**bert.state_dict(), **tensors})
    return network.eval()


def pooled(states: Tensor, mask: Tensor) -> Tensor:
    """Return the means of token states, of unit length."""
    given = mask[..., None].to(states.dtype)
    return nn.functional.normalize((states * given).sum(1) / given.sum(1), dim=-1)


def _bert(folder: Path) -> Any:
    network: Any = BertModel.from_pretrained(
        folder, add_pooling_layer=False, attn_implementation="eager", local_files_only=True
    )
    return network.eval()


def _config(config: BertConfig, *, decoder: bool) -> Any:
    made = deepcopy(config)
    made.is_decoder = made.add_cross_attention = decoder
    made._attn_implementation = "eager"
    return made
