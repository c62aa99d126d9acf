"""VDR and SVDR: disentangled vectors over the vocabulary, and bags of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import ModelError
from rankstone.runners.encoders.bag_of_tokens import VocabularyEncoder
from rankstone.runners.protocols import STRICT, Json, Role
from rankstone.runners.representations.sparse_rows import Row
from rankstone.runners.search.exact.inverted_index import InvertedIndex
from rankstone.runners.top_k import largest
from rankstone.runners.transformer.checkpoint_files import read_json
from rankstone.runners.transformer.encoder import Length
from rankstone.runners.transformer.network import Array, Head, Loaded, Network
from rankstone.runners.transformer.tokens import Ids

PARTS: dict[Role, str] = {"query": "encoder_q", "document": "encoder_p"}
"""Names of the towers in the weights and in `config.json`."""
BAGS: dict[str, tuple[Role, ...]] = {"parametric": (), "alpha": ("query",), "beta": ("document",)}
"""Search mode -> the roles whose texts are bags of tokens."""


@plain_dataclass(frozen=True, kw_only=True)
class Disentangled(Head):
    """Network whose states are layer-normed and compared with its word embeddings."""

    skip: int
    """Number of leading vocabulary entries to leave out."""
    norm: str
    """Name of the layer norm's weights."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.vocabulary import load_tied

        return load_tied(network, self.skip, self.norm)


def _lengths() -> Length | dict[Role, Length] | None:
    return {"query": 128, "document": 256}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VDR(VocabularyEncoder):
    """Two BERTs whose states, after another layer norm, are compared with their word embeddings.

    v_j = max_t elu1p(<LN(h_t), e_j>), elu1p(x) = x + 1 above zero and exp(x) below (Zhou et al.,
    ICLR 2024, Retrieval-based Disentangled Representation Learning with Natural Language
    Supervision). The first `shift` entries of the vocabulary are left out. All values are above
    zero; the `top_k` largest are kept and, with `own_tokens`, those of the text's own tokens.

    The authors' code includes padding in the maximum, so that a text's vector depends on its batch.
    Here padding is excluded: vectors are those of the authors' code for a text encoded alone.

    In the semi-parametric modes (SVDR) one side is the binary bag of a text's tokens: queries in
    `alpha`, documents in `beta`. The index of `beta` therefore needs no network, and its best hits
    are meant to be re-scored by the parametric vectors.
    """

    max_length: Length | dict[Role, Length] | None = Field(default_factory=_lengths)
    search: Literal["parametric", "alpha", "beta"] = "parametric"
    shift: Annotated[int, Field(ge=0)] | None = None
    """Entries left out: 999 (BERT's unused and special tokens), or 1000 in older checkpoints. None:
    as in the checkpoint's configuration (`shift_vocab_num`)."""
    top_k: Length = 768
    own_tokens: bool = True
    """Keep the entries of the text's own tokens in addition to the largest."""

    def describe(self) -> Mapping[str, Json]:
        return {
            **self._describe(),
            "search": self.search,
            "activation": "elu1p",
            "shift": self._shift,
            "top_k": self.top_k,
            "own_tokens": self.own_tokens,
            "index": InvertedIndex.DESCRIPTION,
        }

    def _row(self, role: Role) -> Callable[[Array, Ids], Row]:
        def row(logits: Array, ids: Ids) -> Row:
            own = self._entries(ids) if self.own_tokens else ids[:0]
            terms = np.union1d(largest(logits, self.top_k), own)
            kept = logits[terms]
            return terms, np.where(kept > 0, kept + 1, np.exp(np.minimum(kept, 0)))

        return row

    def _bag(self, ids: Ids) -> Row:
        terms = self._entries(ids)
        return terms, np.ones(len(terms), dtype=np.float32)

    def _entries(self, ids: Ids) -> Ids:
        """Return the positions of the tokens in the shortened vocabulary, without those left
        out."""
        return np.unique(ids[ids >= self._shift]) - self._shift

    def _width(self, role: Role) -> int:
        settings = self._tower("document").network.settings
        return int(settings.get("vocab_size", 30522)) - self._shift

    @cached_property
    def _shift(self) -> int:
        if self.shift is not None:
            return self.shift
        settings = read_json(self.model.folder / "config.json").get(PARTS["document"], {})
        if "shift_vocab_num" not in settings:
            raise ModelError(
                f"Model '{self.model.id}' does not say how many entries of the vocabulary are left"
                " out. State it: parameters.shift."
            )
        return int(settings["shift_vocab_num"])

    def _head(self, role: Role) -> Disentangled:
        return Disentangled(skip=self._shift, norm=f"{PARTS[role]}.ln")

    def _more(self, role: Role) -> dict[str, Any]:
        part = PARTS[role]
        prefix = f"{part}.bert_model."
        return {"prefix": prefix, "part": part}

    @property
    def _tokens_alone(self) -> tuple[Role, ...]:
        return BAGS[self.search]
