"""Beam search over a trie of docids, by exact log-probabilities."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.search.generative.trie import Trie

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Decoder(Protocol):
    """Log-probabilities of next tokens behind the hypotheses of a batch of queries."""

    def step(self, parents: Ints, tokens: Ints | None, rows: Ints, wanted: Ints) -> Floats:
        """Continue hypotheses, and return the log-probability of each of `wanted` behind one.

        Args:
            parents: the hypothesis of the step before that each continues; in the first step, the
                query.
            tokens: what each is continued by; None in the first step.
            rows: for each of `wanted`, the continued hypothesis.
        """
        ...


class Hypotheses(NamedTuple):
    """Beginnings of docids, and whole ones."""

    query: Ints
    node: Ints
    """The node of the trie to which the tokens so far lead."""
    score: Floats
    """The sum of their log-probabilities."""

    def take(self, rows: NDArray[np.int64 | np.bool_]) -> Hypotheses:
        return Hypotheses(self.query[rows], self.node[rows], self.score[rows])

    def plus(self, other: Hypotheses) -> Hypotheses:
        return Hypotheses(
            np.concatenate([self.query, other.query]),
            np.concatenate([self.node, other.node]),
            np.concatenate([self.score, other.score]),
        )

    def best(self, beam: int) -> Ints:
        """Rows of the `beam` best of each query, best first; ties by number of node."""
        order = np.lexsort((self.node, -self.score, self.query))
        queries = self.query[order]
        ranks = np.arange(len(order)) - np.searchsorted(queries, queries)
        best: Ints = order[ranks < beam]
        return best


def beam_search(decoder: Decoder, trie: Trie, n_queries: int, beam: int) -> Hypotheses:
    """Return the best docids of each query, best first, at most `beam` nodes of the trie.

    A step continues each of the `beam` best beginnings of a query by every token that the trie
    has there. Whole docids compete among themselves: a score only falls as a docid grows, so what
    cannot enter the `beam` best of the whole ones any more is given up. With as many beginnings as
    docids nothing else is, and the result is that of scoring every docid.
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
    """(n_queries,) the worst score of those that have `beam` whole docids; else -inf."""
    counts = np.bincount(whole.query, minlength=n_queries)
    least = np.full(n_queries, np.inf)
    np.minimum.at(least, whole.query, whole.score)
    return np.where(counts >= beam, least, -np.inf)
