"""Lengths of texts sent to an API: estimation, batching, truncation and counting."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Json, Truncation

BYTES_PER_TOKEN = 4
"""Estimate without a tokenizer: about right for English."""
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Lengths:
    """Limits of a text's length, applied before sending: the server's truncation is unknown."""

    max_characters: Positive | None = None
    """Most characters of a text, prompt included; the rest is truncated."""
    max_length: Positive | None = None
    """Most tokens of a text, prompt and special tokens included; needs `tokenizer`."""
    tokenizer: str = ""
    """The model's `tokenizer.json`, to count tokens; without it they are estimated."""

    def __post_init__(self) -> None:
        if self.max_length is not None and not self.tokenizer:
            raise DefinitionError(
                "key 'parameters.max_length': tokens cannot be counted without a tokenizer. State"
                " parameters.tokenizer, the file tokenizer.json of the model, or max_characters."
            )
        if self.tokenizer and not Path(self.tokenizer).expanduser().is_file():
            raise DefinitionError(f"key 'parameters.tokenizer': no file {self.tokenizer}.")

    def described(self) -> dict[str, Json]:
        body: dict[str, Json] = {
            "max_characters": self.max_characters, "max_length": self.max_length
        }  # fmt: skip
        if self.tokenizer:
            file = Path(self.tokenizer).expanduser().read_bytes()
            body["tokenizer_sha256"] = hashlib.sha256(file).hexdigest()
        return body

    def sizes(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, estimated without a tokenizer."""
        if self.tokenizer:
            return [len(ids) for ids in self._encoded(texts, special=True)]
        return [len(t.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1 for t in texts]

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Return the texts, truncated at the limits."""
        cut = [text[: self.max_characters] for text in texts]
        if self.max_length is None:
            return cut
        keep = max(self.max_length - self._special, 0)
        ends = [[end for _, end in text.offsets] for text in self._encoded(cut, special=False)]
        return [
            text if len(stops) <= keep else text[: stops[keep - 1] if keep else 0]
            for text, stops in zip(cut, ends, strict=True)
        ]

    def left_out(self, texts: Sequence[str]) -> Truncation | None:
        """Count what the limits truncate, in tokens, or in characters without a tokenizer."""
        if self.max_length is None and self.max_characters is None:
            return None
        count = self.sizes if self.tokenizer else lambda read: [len(text) for text in read]
        whole, kept = np.array(count(texts)), np.array(count(self.cut(texts)))
        return Truncation.of(whole.astype(np.int64), kept.astype(np.int64))

    def _encoded(self, texts: Sequence[str], *, special: bool) -> Any:
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=special)

    @property
    def _special(self) -> int:
        return int(self._tokenizer.num_special_tokens_to_add(False))

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(Path(self.tokenizer).expanduser()))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


def batches(sizes: Sequence[int], *, texts: int, tokens: int) -> Iterator[slice]:
    """Yield consecutive batches of at most so many texts and tokens; a longer text is sent
    alone."""
    start = total = 0
    for row, size in enumerate(sizes):
        if row > start and (row - start == texts or total + size > tokens):
            yield slice(start, row)
            start, total = row, 0
        total += size
    if len(sizes) > start:
        yield slice(start, len(sizes))
