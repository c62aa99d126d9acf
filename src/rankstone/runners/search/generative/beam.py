"""Beam search constrained to a trie of docids, by exact log-probabilities."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.search.generative.trie import Trie

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Decoder(Protocol):
    """Log-probabilities of next tokens for the hypotheses of a batch of queries."""

    def step(self, parents: Ints, tokens: Ints | None, rows: Ints, wanted: Ints) -> Floats:
        """Extend hypotheses, and return the log-probability of each `wanted` next token.

        Args:
            parents: for each hypothesis, the one of the previous step that it extends; in the first
            step, its query.
            tokens: the token that extends each; None in the first step.
            rows: for each of `wanted`, its hypothesis.
        """
        ...


class Hypotheses(NamedTuple):
    """Partial and complete docids."""

    query: Ints
    node: Ints
    """Node of the trie reached by each hypothesis."""
    score: Floats
    """Sum of the tokens' log-probabilities."""

    def take(self, rows: NDArray[np.int64 | np.bool_]) -> Hypotheses:
        return Hypotheses(self.query[rows], self.node[rows], self.score[rows])

    def plus(self, other: Hypotheses) -> Hypotheses:
        return Hypotheses(
            np.concatenate([self.query, other.query]),
            np.concatenate([self.node, other.node]),
            np.concatenate([self.score, other.score]),
        )

    def best(self, beam: int) -> Ints:
        """Return the rows of the `beam` best of each query, best first; ties by node number."""
        order = np.lexsort((self.node, -self.score, self.query))
        queries = self.query[order]
        ranks = np.arange(len(order)) - np.searchsorted(queries, queries)
        best: Ints = order[ranks < beam]
        return best


def beam_search(decoder: Decoder, trie: Trie, n_queries: int, beam: int) -> Hypotheses:
    """Return the best docids of each query, best first, at most `beam` nodes of the trie.

    Each step extends the `beam` best partial docids of a query by every token that the trie allows.
    Complete docids are ranked separately: scores only decrease as a docid grows, so partial docids
    that cannot enter the `beam` best complete ones are pruned. With a beam as large as the number
    of docids there is no other pruning, and the result is that of scoring every docid.
    """
    n = np.arange(n_queries)
    live = Hypotheses(n, np.zeros_like(n), np.zeros(n_queries))
    whole = live.take(n[:0])
    parents, tokens = live.query, None
    while len(live.query):
        rows, nodes = trie.below(live.node)
        steps = decoder.step(parents, tokens, rows, trie.tokens[nodes].astype(np.int64))
        grown = Hypotheses(live.query[rows], nodes, live.score[rows] + steps)
        whole = whole.plus(grown.take(trie.ends[nodes + 1] > trie.ends[nodes]))
        whole = whole.take(whole.best(beam))
        open_ = np.flatnonzero(trie.children[nodes + 1] > trie.children[nodes])
        open_ = open_[grown.score[open_] > _least(whole, n_queries, beam)[grown.query[open_]]]
        kept = open_[grown.take(open_).best(beam)]
        live, parents = grown.take(kept), rows[kept]
        tokens = trie.tokens[live.node].astype(np.int64)
    return whole


def _least(whole: Hypotheses, n_queries: int, beam: int) -> Floats:
    """Return the (n_queries,) worst score among `beam` complete docids; -inf if there are fewer."""
    counts = np.bincount(whole.query, minlength=n_queries)
    least = np.full(n_queries, np.inf)
    np.minimum.at(least, whole.query, whole.score)
    return np.where(counts >= beam, least, -np.inf)
