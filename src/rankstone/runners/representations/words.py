"""Words of texts as ids in a vocabulary: the representation of BM25."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.representations.base import join, take
from rankstone.runners.representations.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Words:
    """Words of some texts, as ids in a vocabulary of their own.

    Attributes:
        rows: int32 word ids of each text, in order, repeats included.
        vocabulary: words by id; some may occur in no text.
    """

    rows: Ragged
    vocabulary: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Words:
        return Words(self.rows[part], self.vocabulary)

    def lists(self) -> list[list[str]]:
        """Return the words of each text as strings."""
        return [[self.vocabulary[i] for i in row] for row in self._split(self.rows.tokens)]

    def known_in(self, terms: Mapping[str, int]) -> list[NDArray[np.int32]]:
        """Return the words of each text as ids in `terms`, without unknown words."""
        numbers = np.array([terms.get(word, -1) for word in self.vocabulary], dtype=np.int32)
        return [row[row >= 0] for row in self._split(numbers[self.rows.tokens])]

    def _split(self, values: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        return np.split(values, self.rows.offsets[1:-1]) if len(self) else []


@take.register
def _(rep: Words, positions: NDArray[np.int64]) -> Words:
    return Words(take(rep.rows, positions), rep.vocabulary)


@join.register
def _(first: Words, reps: Sequence[Words]) -> Words:
    terms: dict[str, int] = {}
    rows = [Ragged(numbered(rep.vocabulary, terms)[rep.rows.tokens], rep.rows.offsets)
            for rep in reps]  # fmt: skip
    return Words(join(rows[0], rows), list(terms))


def numbered(words: Iterable[str], terms: dict[str, int]) -> NDArray[np.int32]:
    """Return the ids of `words` in `terms`, to which new words are added."""
    return np.array([terms.setdefault(word, len(terms)) for word in words], dtype=np.int32)
