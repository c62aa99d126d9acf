"""Base of encoders over a vocabulary, which may represent a text as a bag of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context, Role
from rankstone.runners.representations.sparse_rows import Row, SparseRows, sparse_rows
from rankstone.runners.search.exact.inverted_index import InvertedIndex
from rankstone.runners.transformer.checkpoint_files import check_files, read_json
from rankstone.runners.transformer.encoder import TransformerSettings
from rankstone.runners.transformer.flops import Costs
from rankstone.runners.transformer.network import Facts
from rankstone.runners.transformer.tokens import Ids
from rankstone.runners.transformer.tower import Finish, Tower

Values = NDArray[np.float32]
IDF = "idf.json"
"""File of token weights: token -> weight."""


class TokenTower(Tower):
    """A tower that uses only its tokenizer: no network is loaded."""

    has_network: ClassVar[bool] = False

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer from `tokenizer.json` if the model has one, without importing torch or
        transformers; else loaded by transformers."""
        path = self.network.model.folder / "tokenizer.json"
        if self.network.tokenizer_of or not path.is_file():
            from rankstone.runners.transformer.loading import tokenizer

            return tokenizer(self.network).backend_tokenizer
        from tokenizers import Tokenizer

        check_files(self.network.model.only(path.name))
        return Tokenizer.from_file(str(path))

    @cached_property
    def facts(self) -> Facts:
        """Return the facts stated in the model's files, without loading a network."""
        check_files(self.network.model)
        folder, special = self.network.model.folder, dict[str, str]()
        settings = read_json(folder / "tokenizer_config.json")
        for part, token in {**read_json(folder / "special_tokens_map.json"), **settings}.items():
            text = token.get("content") if isinstance(token, dict) else token
            if part.endswith("_token") and isinstance(text, str):
                special[part] = text
        stated = settings.get("model_max_length")
        documented = read_json(folder / "config_sentence_transformers.json").get("prompts", {})
        return Facts(
            limit=int(stated) if stated and stated < 10**9 else None,
            limits={},
            positions=None,
            embeddings=self.network.settings.get("vocab_size"),
            pad=0,  # nothing is padded
            truncation_side=settings.get("truncation_side", "right"),
            library_tokens=False,
            special_tokens=special,
            prompts={name: words for name, words in documented.items() if words},
            modules=[],
            vocabulary=int(self.network.settings.get("vocab_size", 0)),
            query_route=[],
            include_prompt=True,
            costs=Costs(0, 0, 0),
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VocabularyEncoder(TransformerSettings):
    """Base of encoders with one weight per vocabulary entry, with exact search.

    Texts are encoded by the network, except for the roles in `_tokens_alone`: their texts are bags
    of tokens, and no network is loaded for them.
    """

    def encode(self, texts: Sequence[str], role: Role) -> SparseRows:
        if role in self._tokens_alone:
            parts = self._tokenised(texts, role)
            bags = [self._bag(ids) for part in parts for ids in part.ids]
            return sparse_rows(bags, self._width(role))
        rows: dict[int, Row] = {}
        for numbers, batch in self._encode(texts, role, self._finisher(role)):
            rows.update(zip(numbers.tolist(), batch, strict=True))
        return sparse_rows([rows[number] for number in range(len(texts))], self._width(role))

    def index(self, documents: Chunks[SparseRows], context: Context) -> InvertedIndex:
        return InvertedIndex.build(documents)

    def vocabulary(self, role: Role) -> list[str]:
        """Return the tokens of the vocabulary by id; empty for entries without a token."""
        tokenizer = self._tower(role).tokens.tokenizer
        return [tokenizer.id_to_token(number) or "" for number in range(self._width(role))]

    def _finisher(self, role: Role) -> Finish:
        engine, row = self._tower(role).engine, self._row(role)

        def finish(hidden: Values, ids: Ids, mask: Ids) -> list[Row]:
            vectors = engine.decoded(unpadded(hidden, mask))
            return [row(*pair) for pair in zip(vectors, unpadded(ids, mask), strict=True)]

        return finish

    def _row(self, role: Role) -> Callable[[Values, Ids], Row]:
        """Return the function from a text's output of the network, and its ids, to its row."""
        raise NotImplementedError

    def _bag(self, ids: Ids) -> Row:
        """Return the row of a text represented as a bag of tokens."""
        raise NotImplementedError

    def _width(self, role: Role) -> int:
        """Return the size of the vocabulary."""
        raise NotImplementedError

    @property
    def _tokens_alone(self) -> Sequence[Role]:
        raise NotImplementedError

    def _tower(self, role: Role) -> Tower:
        return self._token_towers[role] if role in self._tokens_alone else super()._tower(role)

    @cached_property
    def _token_towers(self) -> dict[Role, Tower]:
        return {
            role: self._tower_of(role, tower.network, tower.engines, TokenTower)
            for role, tower in self._towers.items()
        }


def special_ids(tower: Tower) -> Ids:
    """Ids of the tokenizer's special tokens, ascending."""
    added = tower.tokens.tokenizer.get_added_tokens_decoder()
    return np.array(sorted(i for i, token in added.items() if token.special), dtype=np.int64)


def unpadded(batch: NDArray[Any], mask: Ids) -> list[NDArray[Any]]:
    """Return the rows of each text in a batch, without padding."""
    return [one[:length] for one, length in zip(batch, mask.sum(axis=1), strict=True)]


def activated(logits: Values, activation: str) -> Values:
    """Return `activation` of non-negative logits."""
    values = np.log1p(logits)
    return np.log1p(values) if activation == "log1p2" else values
