"""Graph network over syntax trees. Imports torch: import this inside functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from rankstone.runners.encoders.ast_graph.trees import known_kinds, trees_of

FILE = "graph.pt"
MOST_WORDS = 8
"""Tokens of a node's own words that are used."""


class Graph(NamedTuple):
    """The trees of a batch of texts."""

    kinds: Tensor
    """(nodes,) row of each node's class; 0 for a class that was not known in training."""
    parents: Tensor
    """(nodes,) position of the parent, -1 for a root."""
    owners: Tensor
    """(nodes,) position of the text; ascending."""
    tokens: Tensor
    """Tokens of all nodes' words."""
    offsets: Tensor
    """(nodes,) position of each node's first token."""


def child_counts(parents: Tensor) -> Tensor:
    """Return the number of children of each node."""
    inner = parents[parents >= 0]
    return torch.zeros_like(parents).index_add(0, inner, torch.ones_like(inner))


def kept(parents: Tensor, owners: Tensor, share: float) -> Tensor:
    """Return a mask of the ceil(share n) nodes of each tree of n that have the most children.

    Of nodes with equally many, the first are kept.
    """
    order = torch.argsort(child_counts(parents), descending=True, stable=True)
    order = order[torch.argsort(owners[order], stable=True)]
    sizes = torch.bincount(owners)
    ranks = torch.arange(len(owners), device=owners.device) - (sizes.cumsum(0) - sizes)[owners]
    mask = torch.empty_like(owners, dtype=torch.bool)
    mask[order] = ranks < torch.ceil(share * sizes.double() - 1e-9).long()[owners]
    return mask


def subgraph(mask: Tensor, parents: Tensor) -> Tensor:
    """Return the parents of the nodes in `mask`; a node whose parent is not among them is a
    root."""
    numbers = torch.where(mask, mask.cumsum(0) - 1, -1)
    found = parents[mask]
    return torch.where(found >= 0, numbers[found.clamp(min=0)], -1)


def spread(states: Tensor, parents: Tensor) -> Tensor:
    """Return D^-1/2 (A + I) D^-1/2 H: edges between children and parents, in both directions."""
    (child,) = torch.nonzero(parents >= 0, as_tuple=True)
    parent = parents[child]
    scale = (1 + child_counts(parents) + (parents >= 0)).to(states.dtype).rsqrt()[:, None]
    scaled = states * scale
    return scale * scaled.index_add(0, child, scaled[parent]).index_add(0, parent, scaled[child])


class GraphNetwork(nn.Module):
    """Graph convolutions with pooling by child counts, read out after each layer.

    H0 = the embedding of a node's class + a linear map of the mean embedding of its words;
    H' = relu(D^-1/2 (A + I) D^-1/2 H W + b); the maximum of H' over the nodes is read out; the
    `share` of the nodes with the most children go on to the next layer. The concatenated maxima are
    mapped to a text's vector by a matrix that begins with zeros. A text without a tree gets zeros.
    """

    def __init__(
        self, words: int, dim: int, *, layers: int, width: int, share: float,
        kinds: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.known, self.share = list(kinds) or known_kinds(), share
        self._rows = {kind: row for row, kind in enumerate(self.known, start=1)}
        self.kind = nn.Embedding(len(self.known) + 1, width)
        self.word = nn.Linear(words, width, bias=False)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.out = nn.Linear(layers * width, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def graph(self, texts: Sequence[str], tokenizer: Any) -> Graph:
        trees = trees_of(texts)
        limits = {"add_special_tokens": False, "truncation": True, "max_length": MOST_WORDS}
        ids = tokenizer(trees.words, **limits)["input_ids"] if trees.words else []
        sizes = torch.tensor([len(one) for one in ids], dtype=torch.long)
        return Graph(
            torch.tensor([self._rows.get(kind, 0) for kind in trees.kinds], dtype=torch.long),
            torch.from_numpy(trees.parents),
            torch.from_numpy(trees.owners),
            torch.tensor([token for one in ids for token in one], dtype=torch.long),
            sizes.cumsum(0) - sizes,
        )

    def forward(self, graph: Graph, embeddings: Tensor, texts: int) -> Tensor:
        """Return (texts, dim) vectors.

        Args:
            embeddings: (vocabulary, words) embeddings of tokens.
        """
        read = embeddings.new_zeros(texts, self.out.in_features)
        if len(graph.kinds):
            parts = self._readouts(graph, embeddings, texts)
            read = torch.cat(parts, dim=1)
        vectors: Tensor = self.out(read)
        return vectors

    def _readouts(self, graph: Graph, embeddings: Tensor, texts: int) -> list[Tensor]:
        words = embedding_bag(graph.tokens, embeddings, graph.offsets, mode="mean")
        states = self.kind(graph.kinds) + self.word(words)
        parents, owners, found = graph.parents, graph.owners, list[Tensor]()
        for layer in self.layers:
            states = torch.relu(layer(spread(states, parents)))
            most = states.new_zeros(texts, states.shape[1])  # relu: no state is below 0
            rows = owners[:, None].expand_as(states)
            found.append(most.scatter_reduce(0, rows, states, "amax"))
            mask = kept(parents, owners, self.share)
            states, parents, owners = states[mask], subgraph(mask, parents), owners[mask]
        return found

    def save(self, folder: Path) -> None:
        content = {"kinds": self.known, "share": self.share, "weights": self.state_dict()}
        torch.save(content, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> GraphNetwork:
        """Return the network of a folder's file."""
        saved = torch.load(folder / FILE, map_location="cpu", weights_only=True)
        weights = saved["weights"]
        width, words = weights["word.weight"].shape
        dim, read = weights["out.weight"].shape
        stated = {"share": saved["share"], "kinds": saved["kinds"]}
        made = cls(words, dim, layers=read // width, width=width, **stated)
        made.load_state_dict(weights)
        return made.eval()
