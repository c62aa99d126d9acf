"""Texts as the tokens they hold, and the choice of entries of a vocabulary."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.transformer.flops import Costs
from rankstone.runners.transformer.network import Facts, read_json
from rankstone.runners.transformer.tokens import Ids
from rankstone.runners.transformer.tower import Tower

Values = NDArray[np.float32]


class TokenTower(Tower):
    """A tower of which only the tokenizer is used: no network is ever loaded."""

    has_network: ClassVar[bool] = False

    @cached_property
    def tokenizer(self) -> Any:
        """From `tokenizer.json` where the model has one, which imports neither torch nor
        transformers; else by transformers."""
        path = self.network.model.folder / "tokenizer.json"
        if self.network.tokenizer_of or not path.is_file():
            from rankstone.runners.transformer.loading import tokenizer

            return tokenizer(self.network).backend_tokenizer
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(path))

    @cached_property
    def facts(self) -> Facts:
        """Facts that the files tell without a network."""
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


def special_ids(tower: Tower) -> Ids:
    """Ids of the tokenizer's special tokens, ascending."""
    added = tower.tokens.tokenizer.get_added_tokens_decoder()
    return np.array(sorted(i for i, token in added.items() if token.special), dtype=np.int64)


def unpadded(batch: NDArray[Any], mask: Ids) -> list[NDArray[Any]]:
    """The rows of each text in a batch, without those of its padding."""
    return [one[:length] for one, length in zip(batch, mask.sum(axis=1), strict=True)]


def activated(logits: Values, activation: str) -> Values:
    """`activation` of logits above zero."""
    values = np.log1p(logits)
    return np.log1p(values) if activation == "log1p2" else values


def largest(values: Values, k: int | None) -> Ids:
    """Places of the `k` largest `values`, ascending; ties go to the lower place."""
    if k is None or k >= len(values):
        return np.arange(len(values))
    cut = np.partition(values, len(values) - k)[len(values) - k]
    above = np.flatnonzero(values > cut)
    equal = np.flatnonzero(values == cut)[: k - len(above)]
    return np.sort(np.concatenate([above, equal]))
