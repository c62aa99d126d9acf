"""Token ids of texts, truncated at a model's limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import ModelError
from rankstone.runners.transformer.checkpoint_files import UnusableError

Ids = NDArray[np.int64]
Side = Literal["left", "right"]
PADDING, SEEN, UNSEEN = 0, 1, 2
"""Values of a mask: padding; attended to; not attended to, but with a vector."""
SECOND = 2
"""Mask value of a pair's second text, which is attended to."""
PROBED_QUERY = "which fox crosses a river?"
"""Query of the pairs compared with the library's."""
FILLED = -1
"""Placeholder of a mask token that pads a text, until the batch is formed."""
PROBES = (
    "", "a", "The Quick brown Fox, JUMPS over 13 lazy dogs.", "naïve café Übergröße",
    "漢字かな交じり文 🙂", "two\n\n words\t", "river [SEP] engine </s> <s>",
)  # fmt: skip
"""Texts for comparing our tokens and vectors with the library's."""


class Tokenised(NamedTuple):
    """Texts as token ids.

    Attributes:
        ids: one array per text, special tokens included, truncated at the limit.
        counts: (n,) number of tokens of each text without truncation.
    """

    ids: list[Ids]
    counts: Ids


class Tokens:
    """A tokenizer of the `tokenizers` library, with the special tokens around a text.

    Truncation removes only the text's own tokens and keeps special tokens, as ``transformers`` does
    with ``truncation=True``.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        pad: int,
        limit: int | None,
        before: Sequence[str] | None = None,
        after: Sequence[str] | None = None,
        side: Side = "right",
        truncation_side: Side = "right",
        embeddings: int | None = None,
    ) -> None:
        """
        Args:
            tokenizer: a ``tokenizers.Tokenizer``, which this object modifies.
            pad: id of the padding token.
            limit: most tokens of a text; None if the model has no limit.
            before: tokens before a text instead of the tokenizer's own.
            after: tokens after a text instead of the tokenizer's own.
            side: side of padding.
            truncation_side: side of truncation.
            embeddings: number of token ids with an embedding; None: no check.

        Raises:
            ValueError: one of `before` or `after` is not in the vocabulary.
        """
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.pad, self.limit, self._side = pad, limit, side
        self._truncation_side, self._embeddings = truncation_side, embeddings
        own_before, own_after = _around(tokenizer)
        self._before = own_before if before is None else _known(tokenizer, before)
        self._after = own_after if after is None else _known(tokenizer, after)
        self.n_special = len(self._before) + len(self._after)
        if embeddings is not None and tokenizer.get_vocab_size() <= embeddings:
            self._embeddings = None

    def encode(self, texts: Sequence[str]) -> Tokenised:
        """Return the ids of `texts`, truncated at the limit."""
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        own = [np.array(one.ids, dtype=np.int64) for one in encoded]
        ids = [np.concatenate([self._before, self._kept(one), self._after]) for one in own]
        counts = np.array([len(one) + self.n_special for one in own], dtype=np.int64)
        check_ids(ids, self._embeddings, self.tokenizer.id_to_token)
        return Tokenised(ids, counts)

    def _kept(self, ids: Ids) -> Ids:
        """Return a text's own ids, truncated."""
        if self.limit is None:
            return ids
        room = max(self.limit - self.n_special, 0)
        return ids[:room] if self._truncation_side == "right" else ids[max(len(ids) - room, 0) :]

    def ends(self, texts: Sequence[str]) -> list[Ids]:
        """Return the end offset, in characters, of each of a text's own tokens, for each text."""
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array([end for _, end in one.offsets], dtype=np.int64) for one in encoded]

    def prompt_length(self, prompt: str) -> int:
        """Return the number of tokens of `prompt` before those of the text, as counted by
        sentence-transformers."""
        return len(self.encode([prompt]).ids[0]) - min(len(self._after), 1) if prompt else 0

    def padded(self, ids: Sequence[Ids], multiple: int = 1) -> tuple[Ids, Ids]:
        """Return (n, length) padded ids, and their attention mask.

        The length is that of the longest text, at least 1, rounded up to a `multiple`.
        """
        longest = max(1, *map(len, ids))
        shape = (len(ids), -(-longest // multiple) * multiple)
        table, mask = np.full(shape, self.pad, np.int64), np.zeros(shape, np.int64)
        for row, one in enumerate(ids):
            start = 0 if self._side == "right" else shape[1] - len(one)
            table[row, start : start + len(one)] = one
            mask[row, start : start + len(one)] = 1
        return table, mask


class Expanded(Tokens):
    """Tokens of texts padded to the limit with mask tokens: ColBERT's queries."""

    def __init__(self, tokens: Tokens, mask: int, *, attend: bool) -> None:
        """
        Args:
            tokens: tokens of the texts themselves, which must have a limit.
            mask: id of the mask token.
            attend: True if the text's tokens attend to mask tokens, which attend to them anyway.
        """
        self.tokenizer, self.limit, self.n_special = (
            tokens.tokenizer, tokens.limit, tokens.n_special
        )  # fmt: skip
        self._tokens, self._mask, self._seen = tokens, mask, SEEN if attend else UNSEEN

    def encode(self, texts: Sequence[str]) -> Tokenised:
        ids, counts = self._tokens.encode(texts)
        room = self.limit or 0
        filled = [np.pad(one, (0, room - len(one)), constant_values=FILLED) for one in ids]
        return Tokenised(filled, counts)

    def padded(self, ids: Sequence[Ids], multiple: int = 1) -> tuple[Ids, Ids]:
        table, mask = self._tokens.padded(ids, multiple)
        filled = table == FILLED
        table[filled], mask[filled] = self._mask, self._seen
        return table, mask

    def ends(self, texts: Sequence[str]) -> list[Ids]:
        return self._tokens.ends(texts)


class LibraryTokens(Tokens):
    """A tokenizer that only transformers can run."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        pad: int,
        limit: int | None,
        side: Side = "right",
        embeddings: int | None = None,
    ) -> None:
        self.tokenizer, self.pad, self.limit, self._side = tokenizer, pad, limit, side
        self._embeddings = embeddings
        self.n_special = tokenizer.num_special_tokens_to_add()
        self._after = np.empty(0, np.int64)

    def encode(self, texts: Sequence[str]) -> Tokenised:
        shape = {} if self.limit is None else {"truncation": True, "max_length": self.limit}
        ids = [np.array(self.tokenizer(text, **shape)["input_ids"], np.int64) for text in texts]
        check_ids(ids, self._embeddings, self.tokenizer.convert_ids_to_tokens)
        counts = [len(self.tokenizer(text, verbose=False)["input_ids"]) for text in texts]
        return Tokenised(ids, np.array(counts, dtype=np.int64))

    def ends(self, texts: Sequence[str]) -> list[Ids]:
        raise ModelError("its tokenizer does not report where in a text its tokens end")


class PairTokens(Tokens):
    """Pairs of texts, joined into one sequence by the tokenizer.

    Ids are (length, 2): token id, and 0 or 1 for the first or second text. A pair that is too long
    loses tokens of its longer text first.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        pad: int,
        limit: int | None,
        truncation_side: Side = "right",
        embeddings: int | None = None,
    ) -> None:
        kind: Any = type(tokenizer)
        text = tokenizer.to_str()
        self.tokenizer, self._truncating = kind.from_str(text), kind.from_str(text)
        self.pad, self.limit, self._embeddings = pad, limit, embeddings
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._truncating.no_padding()
        self._truncating.no_truncation()
        if limit is not None:
            self._truncating.enable_truncation(limit, direction=truncation_side)

    def pairs(self, query: str, documents: Sequence[str]) -> Tokenised:
        """Return the ids of `query` with each of `documents`, truncated at the limit."""
        given = [(query, text) for text in documents]
        encoded = self._truncating.encode_batch_fast(given)
        ids = [np.array([one.ids, one.type_ids], dtype=np.int64).T for one in encoded]
        check_ids(ids, self._embeddings, self.tokenizer.id_to_token)
        counts = np.array([len(one) for one in ids], dtype=np.int64)
        full = np.flatnonzero(counts == self.limit)
        whole = self.tokenizer.encode_batch_fast([given[row] for row in full])
        counts[full] = [len(one.ids) for one in whole]
        return Tokenised(ids, counts)

    def encode(self, texts: Sequence[str]) -> Tokenised:
        """Return pairs of `PROBED_QUERY` and each text."""
        return self.pairs(PROBED_QUERY, texts)

    def padded(self, ids: Sequence[Ids], multiple: int = 1) -> tuple[Ids, Ids]:
        """Pad like single texts; the mask is `SECOND` for tokens of the second text."""
        shape = len(ids), max(map(len, ids))
        table, mask = np.full(shape, self.pad, np.int64), np.zeros(shape, np.int64)
        for row, one in enumerate(ids):
            table[row, : len(one)] = one[:, 0]
            mask[row, : len(one)] = SEEN + one[:, 1]
        return table, mask


class ChatPairs(Tokens):
    """Pairs joined into one text by sentence-transformers, with a chat template."""

    def __init__(self, module: Any, *, pad: int, limit: int, instruction: str | None) -> None:
        """
        Args:
            module: the library's transformer, whose limit this object sets.
            instruction: system message, if the template has one.
        """
        self.tokenizer, self.pad, self.limit = module, pad, limit
        self._side, self._instruction = module.tokenizer.padding_side, instruction

    def pairs(self, query: str, documents: Sequence[str]) -> Tokenised:
        """Return the ids of `query` with each of `documents`, truncated at the limit."""
        ids = self._ids(query, documents, self.limit)
        counts = np.array([len(one) for one in ids], dtype=np.int64)
        full = np.flatnonzero(counts == self.limit)
        whole = self._ids(query, [documents[int(row)] for row in full], None)
        counts[full] = [len(one) for one in whole]
        return Tokenised(ids, counts)

    def _ids(self, query: str, documents: Sequence[str], limit: int | None) -> list[Ids]:
        if not len(documents):
            return []
        self.tokenizer.tokenizer.model_max_length = limit or 10**9
        given = [(query, text) for text in documents]
        made = self.tokenizer.preprocess(given, prompt=self._instruction)
        rows = zip(made["input_ids"], made["attention_mask"], strict=True)
        return [ids[mask.bool()].numpy() for ids, mask in rows]


def check_ids(ids: Sequence[Ids], known: int | None, token: Callable[[int], str | None]) -> None:
    """Raise ModelError for an id not below `known`, the number of embeddings; None: no check.

    For such an id, OpenVINO reads out of bounds, and torch raises an obscure error.
    """
    most = np.inf if known is None else known
    beyond = next((int(top) for one in ids if one.size and (top := one.max()) >= most), None)
    if beyond is not None:
        raise ModelError(
            f"the token {token(beyond)!r} has the id {beyond}, but the model has embeddings for"
            f" {known} tokens. Its tokenizer is another model's, or its weights are: fetch both"
            " again."
        )


def library_ids(module: Any) -> Callable[[str], list[int]]:
    """Return a function to the ids of a text by the library's own preprocessing. Token types other
    than 0 are an error, because networks here get none."""

    def ids(text: str) -> list[int]:
        features = module.preprocess([text])
        types = features.get("token_type_ids")
        if types is not None and bool(types.any()):
            raise UnusableError(
                "its tokenizer marks single texts with token types, which is not supported."
                " Name another model"
            )
        return [int(one) for one in features["input_ids"][0]]

    return ids


def same_tokens(library: Callable[[str], list[int]], tokenizer: Any) -> bool:
    """Return True if our own tokens of the probes equal the library's."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    limit = tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None
    side = tokenizer.truncation_side
    own = Tokens(copied(backend), pad=0, limit=limit, truncation_side=side)
    probes = [*PROBES, beyond(limit or 64)]
    return all(own.encode([text]).ids[0].tolist() == library(text) for text in probes)


def copied(tokenizer: Any) -> Any:
    """Return a copy of the tokenizer, on which padding and truncation can be set."""
    return type(tokenizer).from_str(tokenizer.to_str())


def beyond(limit: int) -> str:
    """Return a text of more than `limit` tokens, in which adjacent tokens differ."""
    return " ".join(f"the fox {n} river" for n in range(min(limit, 512) // 3 + 8))


def without(mask: Ids, skipped: int) -> Ids:
    """Return `mask` without the first `skipped` tokens of each text."""
    counted = mask.copy()
    counted[:, :skipped] = 0
    return counted


def _around(tokenizer: Any) -> tuple[Ids, Ids]:
    """Return the special tokens that the tokenizer itself adds before and after a text."""
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


def token_ids(tokenizer: Any, words: Sequence[str], model: str, mend: str) -> list[int]:
    """Return the ids of tokens.

    Args:
        mend: End of the ModelError for a word that is not a token.
    """
    vocabulary = tokenizer.get_vocab()
    for word in words:
        if word not in vocabulary:
            raise ModelError(f"Model '{model}': no token '{word}' in its vocabulary{mend}")
    return [int(vocabulary[word]) for word in words]
