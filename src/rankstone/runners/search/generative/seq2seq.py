"""Sequence-to-sequence models in torch: encoder states and decoder probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.profiling.device import opened, resolve
from rankstone.runners.meter import Work, report
from rankstone.runners.protocols import Truncation
from rankstone.runners.representations.base import offsets_of
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.transformer.network import Head, Loaded, Network

Ints = NDArray[np.int64]
Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True, kw_only=True)
class EncoderDecoder(Head):
    """Network with an encoder and a decoder."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.pairs import load_seq2seq

        return load_seq2seq(network)


@dataclass(frozen=True, kw_only=True)
class Seq2Seq:
    """An encoder-decoder model."""

    network: Network
    precision: Precision
    device: str | None

    @cached_property
    def loaded(self) -> Loaded:
        return self.network.load()

    @cached_property
    def net(self) -> Any:
        import torch

        number = getattr(torch, DTYPES[self.precision])
        return self.loaded.network.to(opened(resolve(self.device)), number)

    @property
    def tokenizer(self) -> Any:
        return self.loaded.tokenizer

    def inputs(self, texts: Sequence[str], limit: int | None) -> list[list[int]]:
        """Return the token ids of inputs, at most `limit` each."""
        truncated = {"truncation": True, "max_length": limit} if limit else {}
        return list(self.tokenizer(list(texts), **truncated)["input_ids"]) if len(texts) else []

    def truncation(self, texts: Sequence[str], limit: int) -> Truncation:
        counts = np.array([len(ids) for ids in self.inputs(texts, None)], dtype=np.int64)
        return Truncation.of(counts, limit)

    def states(self, texts: Sequence[str], limit: int, batch_size: int) -> Ragged:
        """Return the encoder's states of the tokens of each text, in float32."""
        ids = self.inputs(texts, limit)
        lengths = np.array([len(one) for one in ids], dtype=np.int64)
        states = np.empty((int(lengths.sum()), self._width), np.float32)
        offsets = offsets_of(lengths)
        order = np.argsort(-lengths, kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            for row, matrix in zip(rows, self._encoded([ids[row] for row in rows]), strict=True):
                states[offsets[row] : offsets[row + 1]] = matrix
            report(self.loaded.facts.costs.work(lengths[rows]))
        return Ragged(states, offsets)

    def decoder(self, states: Ragged) -> CachedDecoder:
        return CachedDecoder(self, states)

    def nbytes(self) -> int:
        """Bytes of the weights."""
        return sum(one.numel() * one.element_size() for one in self.net.parameters())

    @cached_property
    def decoder_weights(self) -> int:
        """Number of decoder weights used per output token."""
        from rankstone.runners.transformer.flops import costs

        head = self.net.get_output_embeddings().weight.numel()
        return costs(self.net.get_decoder()).weights + int(head)

    @property
    def _width(self) -> int:
        return int(self.net.get_input_embeddings().weight.shape[1])

    def _encoded(self, ids: list[list[int]]) -> list[NDArray[np.float32]]:
        import torch

        longest = max(map(len, ids))
        if not longest:
            return [np.empty((0, self._width), np.float32)] * len(ids)
        pad = self.loaded.facts.pad
        device = self.net.device
        tokens = torch.tensor([[*one, *[pad] * (longest - len(one))] for one in ids], device=device)
        mask = torch.tensor([[n < len(one) for n in range(longest)] for one in ids], device=device)
        with torch.inference_mode():
            output = self.net.get_encoder()(input_ids=tokens, attention_mask=mask.long())
        states = output.last_hidden_state.float().cpu().numpy()
        return [matrix[: len(one)] for matrix, one in zip(states, ids, strict=True)]


class CachedDecoder:
    """A decoder with a key-value cache."""

    def __init__(self, model: Seq2Seq, states: Ragged) -> None:
        """`states`: the encoder's, with at least one token for each query."""
        import torch
        from transformers import DynamicCache, EncoderDecoderCache

        self._net, self._per_token = model.net, model.decoder_weights
        matrices = [torch.tensor(matrix) for matrix in states.matrices()]
        padded = torch.nn.utils.rnn.pad_sequence(matrices, batch_first=True)
        lengths = torch.from_numpy(states.lengths)[:, None]
        self._states = padded.to(self._net.device, self._net.dtype)
        mask = torch.arange(padded.shape[1])[None] < lengths
        self._mask = mask.long().to(self._net.device)
        self._cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def step(
        self, parents: Ints, tokens: Ints | None, rows: Ints, wanted: Ints
    ) -> NDArray[np.float64]:
        """See `Decoder`."""
        import torch

        from rankstone.runners.transformer.pairs import decoder_start

        device, first = self._net.device, np.full(len(parents), decoder_start(self._net))
        with torch.inference_mode():
            logits = self._logits(
                torch.from_numpy(parents).to(device),
                torch.from_numpy(first if tokens is None else tokens).to(device)[:, None],
            )
            logs = logits - logits.logsumexp(dim=1, keepdim=True)
            chosen = logs[torch.from_numpy(rows).to(device), torch.from_numpy(wanted).to(device)]
        report(Work(tokens=len(parents), flops=2.0 * self._per_token * len(parents)))
        found: NDArray[np.float64] = chosen.double().cpu().numpy()
        return found

    def _logits(self, parents: Any, tokens: Any) -> Any:
        """Return (n, vocabulary) float32 logits after `tokens`, which extend the hypotheses
        `parents`."""
        self._states, self._mask = self._states[parents], self._mask[parents]
        self._cache.reorder_cache(parents)
        output = self._net(
            encoder_outputs=(self._states,),
            attention_mask=self._mask,
            decoder_input_ids=tokens,
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.logits[:, -1].float()
