"""Comparison of an exported graph, with our own tokens, with the library's `encode`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rankstone.profiling.openvino_runtime import import_openvino
from rankstone.runners.transformer.network import Array, Loaded, Network
from rankstone.runners.transformer.tokens import PROBES, Ids, Tokens, beyond, copied, without

TOLERANCE = 1e-4
"""Largest difference attributed to rounding, relative to the largest value of a text."""
LONGEST = 512
"""Tokens of the longest probe text, if the model's limit is larger."""

Encode = Callable[[Sequence[str], str], Array]
"""(texts, prompt) -> one row per text."""


def difference(network: Network, loaded: Loaded, models: dict[str, Any]) -> str | None:
    """Return a description of how the exported `models` differ from the library; None if equal."""
    limit = min(loaded.facts.limit or LONGEST, LONGEST)
    probes = [*PROBES, beyond(limit)]
    side, backend = loaded.facts.truncation_side, loaded.tokenizer.backend_tokenizer
    with _limited(loaded.tokenizer, limit):
        tokens = Tokens(copied(backend), pad=loaded.facts.pad, limit=limit, truncation_side=side)
        graph = _encode(network, loaded, tokens, _compiled(models))
        peer = loaded.oracle or _encode(network, loaded, tokens, _by_torch(loaded))
        for prompt in ("", *dict.fromkeys(loaded.facts.prompts.values())):
            lone = [text for text in probes if len(tokens.encode([prompt + text]).ids[0])]
            for texts in (probes, *([text] for text in lone)):
                apart = _apart(graph(texts, prompt), peer(texts, prompt))
                if not apart <= TOLERANCE:
                    words = f"with the prompt {prompt!r} " if prompt else ""
                    of = f"{len(texts)} texts together" if len(texts) > 1 else repr(texts[0][:40])
                    return f"its results {words}differ from the library's by {apart:.2g} ({of})"
    return None


def _apart(found: Array, expected: Array) -> float:
    """Return the largest difference in any row, relative to the row's largest value."""
    scale = np.maximum(np.abs(expected).max(axis=1, keepdims=True), 1e-3)
    return float((np.abs(found - expected) / scale).max())


@contextlib.contextmanager
def _limited(tokenizer: Any, limit: int) -> Iterator[None]:
    """Set the library's own truncation to `limit`."""
    stated = tokenizer.model_max_length
    tokenizer.model_max_length = limit
    try:
        yield
    finally:
        tokenizer.model_max_length = stated


def _encode(
    network: Network, loaded: Loaded, tokens: Tokens, run: Callable[..., list[Array]]
) -> Encode:
    def encode(texts: Sequence[str], prompt: str) -> Array:
        own = loaded.tokens_of(tokens, prompt) if loaded.tokens_of else tokens
        rows = own.encode([prompt + text for text in texts]).ids
        ids, mask = own.padded(rows)
        skipped = 0 if loaded.facts.include_prompt else tokens.prompt_length(prompt)
        inputs = (ids, mask) if loaded.facts.include_prompt else (ids, mask, without(mask, skipped))
        outputs = np.stack(run(inputs, [len(row) for row in rows]))
        return network.head.comparable(outputs, loaded.facts)

    return encode


def _compiled(models: dict[str, Any]) -> Callable[..., list[Array]]:
    openvino = import_openvino()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    made = {n: openvino.Core().compile_model(m, "CPU", exact) for n, m in models.items()}

    def run(inputs: Sequence[Ids], lengths: Sequence[int]) -> list[Array]:
        rows = made["model"](list(inputs))[0].copy()
        if "decoder" not in made:
            return list(rows)
        pairs = zip(rows, lengths, strict=True)
        return [made["decoder"]([row[:length]])[0].copy() for row, length in pairs]

    return run


def _by_torch(loaded: Loaded) -> Callable[..., list[Array]]:
    import torch

    def run(inputs: Sequence[Ids], lengths: Sequence[int]) -> list[Array]:
        with torch.inference_mode():
            rows = loaded.network(*map(torch.from_numpy, inputs))
            if loaded.decoder is None:
                return list(rows.numpy())
            pairs = zip(rows, lengths, strict=True)
            return [loaded.decoder(row[:length]).numpy() for row, length in pairs]

    return run
