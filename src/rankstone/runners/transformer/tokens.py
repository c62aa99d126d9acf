"""Texts as the token ids a transformer is fed, cut where its limit says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Tokenised(NamedTuple):
    """Texts as token ids.

    Attributes:
        ids: one array per text, special tokens included, no longer than the limit.
        counts: (n,) how many tokens each text has without any limit.
    """

    ids: list[Ids]
    counts: Ids


class Tokens:
    """A tokenizer of the `tokenizers` library, and what its model wants around a text.

    The limit cuts the text's own tokens at their end and leaves the special tokens whole, as
    ``transformers`` does with ``truncation=True`` and its default side.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        pad: int,
        limit: int | None,
        before: Sequence[str] | None = None,
        after: Sequence[str] | None = None,
        side: Literal["left", "right"] = "right",
    ) -> None:
        """
        Args:
            tokenizer: a ``tokenizers.Tokenizer``; this object makes it its own.
            pad: id of the padding token.
            limit: the most tokens that the model takes; None where it has no limit.
            before: tokens to put before a text instead of the tokenizer's own.
            after: tokens to put behind a text instead of the tokenizer's own.
            side: where padding stands.

        Raises:
            ValueError: one of `before` or `after` is not in the vocabulary.
        """
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.pad, self.limit, self._side = pad, limit, side
        own_before, own_after = _around(tokenizer)
        self._before = own_before if before is None else _known(tokenizer, before)
        self._after = own_after if after is None else _known(tokenizer, after)
        self.n_special = len(self._before) + len(self._after)

    def encode(self, texts: Sequence[str]) -> Tokenised:
        """The ids of `texts`, cut at the limit."""
        room = None if self.limit is None else max(self.limit - self.n_special, 0)
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        own = [np.array(one.ids, dtype=np.int64) for one in encoded]
        return Tokenised(
            [np.concatenate([self._before, ids[:room], self._after]) for ids in own],
            np.array([len(ids) + self.n_special for ids in own], dtype=np.int64),
        )

    def ends(self, texts: Sequence[str]) -> list[Ids]:
        """For each text, the character behind each of its own tokens."""
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array([end for _, end in one.offsets], dtype=np.int64) for one in encoded]

    def padded(self, ids: Sequence[Ids], multiple: int = 1) -> tuple[Ids, Ids]:
        """(n, length) ids with padding, and the attention mask that leaves it out.

        The length is that of the longest, rounded up to a `multiple`.
        """
        longest = max(map(len, ids))
        shape = (len(ids), -(-longest // multiple) * multiple)
        table, mask = np.full(shape, self.pad, np.int64), np.zeros(shape, np.int64)
        for row, one in enumerate(ids):
            place = slice(0, len(one)) if self._side == "right" else slice(-len(one), None)
            table[row, place] = one
            mask[row, place] = 1
        return table, mask


def _around(tokenizer: Any) -> tuple[Ids, Ids]:
    """The special tokens that the tokenizer itself puts before and behind a text."""
    probe = tokenizer.encode("a")
    inner = np.flatnonzero(np.array(probe.special_tokens_mask) == 0)
    ids = np.array(probe.ids, dtype=np.int64)
    first, last = (inner[0], inner[-1]) if len(inner) else (len(ids), len(ids))
    return ids[:first], ids[last + 1 :]


def _known(tokenizer: Any, tokens: Sequence[str]) -> Ids:
    ids = [tokenizer.token_to_id(token) for token in tokens]
    for token, found in zip(tokens, ids, strict=True):
        if found is None:
            raise ValueError(f"the token {token!r} is not in the model's vocabulary")
    return np.array(ids, dtype=np.int64)
