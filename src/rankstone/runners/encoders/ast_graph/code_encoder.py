"""A transformer's vector of code plus that of a graph network over its syntax tree."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from rankstone.errors import ModelError, RankstoneWarning
from rankstone.runners.protocols import STRICT, Chunks, Context, Json, Role
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exact.gpu import GpuIndex, exact
from rankstone.runners.transformer.encoder import Length, Share, TransformerSettings
from rankstone.runners.transformer.network import Head, Loaded, Network

Vectors = NDArray[np.float32]
BLOCK = 64
"""Texts whose trees are in memory at once."""


@plain_dataclass(frozen=True, kw_only=True)
class Pooled(Head):
    """Network with one vector per text."""

    pooling: str | None
    normalize: bool

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.vectors import Changes, load

        changes = Changes(
            pooling=self.pooling, projection=(), layer_norm=False, dimensions=None,
            normalize=self.normalize or None, prompt_pooled=None,
        )  # fmt: skip
        return load(network, changes)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AstGraphEncoder(TransformerSettings):
    """v(document) = t + W g: the transformer's vector t, and the readout g of a graph network over
    the tree of Python's `ast` of the whole text: without the prompt, and not truncated.

    After Ye et al., GNN-Coder, 2025, arXiv:2502.15202. Queries, and documents that are not Python,
    are t alone; documents that are not are counted in a warning. Weights of the graph network
    are in `graph.pt`, which training writes. For cosine, t and the sum are scaled to unit length.
    """

    pooling: Literal["cls", "mean", "last", "max"] | None = None
    """Pooling of t; None: as in the model's configuration."""
    similarity: Literal["cosine", "dot"] = "cosine"
    graph_layers: Length = 2
    graph_width: Length = 128
    """Dimensions of a node's state."""
    kept: Share = 0.5
    """Share of a tree's nodes that each layer passes to the next: those with the most children."""

    def describe(self) -> Mapping[str, Json]:
        graph = {"layers": self.graph_layers, "width": self.graph_width, "kept": self.kept}
        return {
            **self._describe(),
            "pooling": self.pooling,
            "graph": graph,
            "similarity": self.similarity,
            "index": ExactIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Vectors:
        """(len(texts), dim) vectors, C-contiguous."""
        vectors = self._text_vectors(texts, role)
        if role == "query":
            return vectors
        unparsed = 0
        for start in range(0, len(texts), BLOCK):
            part = texts[start : start + BLOCK]
            found, parsed = self._graph_vectors(part)
            vectors[start : start + BLOCK] += found
            unparsed += sum(bool(text.strip()) for n, text in enumerate(part) if n not in parsed)
        if unparsed:
            _warn_unparsed(unparsed, len(texts))
        if self.similarity == "cosine":
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def index(self, documents: Chunks[Vectors], context: Context) -> ExactIndex | GpuIndex:
        return exact(documents, context.device)

    def _head(self, role: Role) -> Pooled:
        return Pooled(pooling=self.pooling, normalize=self.similarity == "cosine")

    def _text_vectors(self, texts: Sequence[str], role: Role) -> Vectors:
        asked = texts if len(texts) else [""]  # for the number of dimensions
        parts = list(self._encode(asked, role, lambda output, ids, mask: output))
        vectors = np.empty((len(asked), parts[0][1].shape[1]), dtype=np.float32)
        for rows, batch in parts:
            vectors[rows] = batch
        return vectors[: len(texts)]

    def new_network(self, model: Any, dim: int) -> Any:
        """Return an untrained graph network for the token embeddings of `model`."""
        from rankstone.runners.encoders.ast_graph.graph_network import GraphNetwork

        words = model.get_input_embeddings().weight.shape[1]
        return GraphNetwork(
            words, dim, layers=self.graph_layers, width=self.graph_width, share=self.kept
        )

    def _graph_vectors(self, texts: Sequence[str]) -> tuple[Vectors, set[int]]:
        """Return the vectors W g of the texts, and the positions of those that have a tree."""
        import torch

        network, embeddings, tokenizer = self._graph
        trees = network.graph(texts, tokenizer)
        with torch.inference_mode():
            found: Vectors = network(trees, embeddings, len(texts)).numpy()
        return found, set(trees.owners.tolist())

    @cached_property
    def _graph(self) -> tuple[Any, Any, Any]:
        """The graph network, the transformer's token embeddings and its tokenizer."""
        from rankstone.runners.encoders.ast_graph.graph_network import FILE, GraphNetwork
        from rankstone.runners.transformer.loading import first

        if not (self.model.folder / FILE).is_file():
            raise ModelError(
                f"Model '{self.model.id}': no {FILE} in {self.model.folder}, which holds the graph"
                " network. Train the method: add the table [training]."
            )
        module = first(self._network("document", self.model).load().model)
        embeddings = module.auto_model.get_input_embeddings().weight.detach()
        graph = GraphNetwork.load(self.model.folder)
        return graph, embeddings, module.tokenizer


def _warn_unparsed(number: int, total: int) -> None:
    warnings.warn(
        f"{number} of {total} documents are not Python: their vectors are the transformer's alone.",
        RankstoneWarning,
        stacklevel=3,
    )
