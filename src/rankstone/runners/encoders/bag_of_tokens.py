"""What sparse encoders share: texts as the tokens they hold, and the choice of entries."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.transformer.backbone import Activation
from rankstone.runners.transformer.encoder import Tower
from rankstone.runners.transformer.tokens import Ids

Values = NDArray[np.float32]


class TokenTower(Tower):
    """A tower of which only the tokenizer is used: no network is ever loaded."""

    has_network: ClassVar[bool] = False

    @cached_property
    def tokenizer(self) -> tuple[Any, int]:
        """From `tokenizer.json` where the model has one, which imports neither torch nor
        transformers; else by transformers."""
        path = self.backbone.model.folder / "tokenizer.json"
        if self.backbone.tokenizer_of or not path.is_file():
            return self.backbone.tokenizer()
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(path)), 0  # nothing is padded


def special_ids(tower: Tower) -> Ids:
    """Ids of the tokenizer's special tokens, ascending."""
    added = tower.tokens.tokenizer.get_added_tokens_decoder()
    return np.array(sorted(i for i, token in added.items() if token.special), dtype=np.int64)


def unpadded(batch: NDArray[Any], mask: Ids) -> list[NDArray[Any]]:
    """What a batch holds of each text, without what stands for its padding."""
    return [one[:length] for one, length in zip(batch, mask.sum(axis=1), strict=True)]


def activated(logits: Values, activation: Activation) -> Values:
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
