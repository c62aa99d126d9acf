"""Trie of docids: the tokens that may extend a partial docid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.representations.base import rows_of_runs
from rankstone.runners.saved import SavedIndex

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trie(SavedIndex):
    """Token sequences, one per document; node 0 is the root.

    Nodes are numbered level by level, so that the children of a node are consecutive, in the order
    of their tokens.
    """

    tokens: NDArray[np.int32]
    """(n_nodes,) token that leads to each node; -1 for the root."""
    children: Ints
    """(n_nodes + 1,) node i has the children children[i] ... children[i + 1] - 1."""
    ends: Ints
    """(n_nodes + 1,) the documents docs[ends[i]:ends[i + 1]] end at node i."""
    docs: Ints
    """Positions in the corpus, ascending for the same sequence."""

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]]) -> Trie:
        """Return the trie of the documents' token sequences, by position."""
        table = _table(sequences)
        order = np.lexsort(table.T[::-1]) if table.shape[1] else np.arange(len(table))
        tokens, parents = [np.array([-1])], [np.empty(0, np.int64)]
        node, size = np.zeros(len(table), np.int64), 1
        for column in table[order].T:
            rows = np.flatnonzero(column >= 0)
            steps = np.stack([node[rows], column[rows]])
            new = np.ones(len(rows), dtype=bool)
            new[1:] = (steps[:, 1:] != steps[:, :-1]).any(axis=0)
            parents.append(steps[0, new])
            tokens.append(steps[1, new])
            node[rows] = size - 1 + np.cumsum(new)
            size += int(new.sum())
        by_node = np.argsort(node, kind="stable")
        return cls(
            tokens=np.concatenate(tokens).astype(np.int32),
            children=1 + np.searchsorted(np.concatenate(parents), np.arange(size + 1)),
            ends=np.searchsorted(node[by_node], np.arange(size + 1)),
            docs=order[by_node],
        )

    def below(self, nodes: Ints) -> tuple[Ints, Ints]:
        """Return all children of `nodes`: the row of each one's parent, and the child."""
        counts = self.children[nodes + 1] - self.children[nodes]
        rows = np.repeat(np.arange(len(nodes)), counts)
        return rows, rows_of_runs(self.children[nodes], counts)

    def documents(self, nodes: Ints) -> tuple[Ints, Ints]:
        """Return all documents that end at `nodes`: the row of each one's node, and the
        document."""
        counts = self.ends[nodes + 1] - self.ends[nodes]
        return np.repeat(np.arange(len(nodes)), counts), self.docs[
            rows_of_runs(self.ends[nodes], counts)
        ]


def _table(sequences: Sequence[Sequence[int]]) -> Ints:
    """Return an (n, longest) array of tokens, padded by -1."""
    lengths = np.array([len(one) for one in sequences], dtype=np.int64)
    table = np.full((len(lengths), lengths.max(initial=0)), -1, np.int64)
    filled = np.arange(table.shape[1]) < lengths[:, None]
    table[filled] = [token for one in sequences for token in one]
    return table
