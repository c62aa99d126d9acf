"""Simulated queries drawn from the words of documents, without a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"[^\W\d_]{2,}")


def simulated_queries(
    texts: Sequence[str], n: int, length: float, seed: int
) -> Iterator[list[str]]:
    """Yield `n` queries for each text; none for a text without words.

    Azzopardi, de Rijke, Balog: Building Simulated Queries for Known-Item Topics, SIGIR 2007, with
    term selection by popularity and discrimination: a query's length is Poisson-distributed and at
    least 1, and each word is t with probability proportional to n(t, d) log(N / df(t)).
    """
    counted = [Counter(words(text)) for text in texts]
    frequencies = Counter(word for found in counted for word in found)
    for row, found in enumerate(counted):
        rng = np.random.default_rng([seed, 3, row])
        known, shares = list(found), probabilities(found, frequencies, len(texts))
        lengths = np.maximum(rng.poisson(length, n), 1)
        yield [" ".join(rng.choice(known, size, p=shares)) for size in lengths if known]


def words(text: str) -> list[str]:
    """Return the lower-cased runs of letters, which also split identifiers."""
    return WORD.findall(text.lower())


def probabilities(
    found: Counter[str], frequencies: Counter[str], n_documents: int
) -> NDArray[np.float64]:
    """Return the probability of each word of a document; by counts alone if every word occurs in
    all documents."""
    counts = np.array(list(found.values()), dtype=np.float64)
    rarity = np.log(n_documents / np.array([frequencies[word] for word in found]))
    weights = counts * rarity if (rarity > 0).any() else counts
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares
