"""Generative retrieval: a sequence-to-sequence model generates document identifiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.members import Members
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import (
    STRICT,
    Chunks,
    Context,
    Defaults,
    Hits,
    Json,
    Role,
    Truncation,
)
from rankstone.runners.representations.base import take
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.generative.beam import beam_search
from rankstone.runners.search.generative.docids import Kind, semantic, sequences, stated
from rankstone.runners.search.generative.seq2seq import EncoderDecoder, Precision, Seq2Seq
from rankstone.runners.search.generative.training_pairs import InputSettings, Pair, training_pairs
from rankstone.runners.search.generative.trie import Trie
from rankstone.runners.transformer.network import Network

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenerativeRetriever(Defaults):
    """Differentiable search index (DSI): a model that generates the docids of relevant documents.

    Tay et al., Transformer Memory as a Differentiable Search Index, NeurIPS 2022, arXiv:2202.06991;
    Pradeep et al., How Does Generative Retrieval Scale to Millions of Passages?, EMNLP 2023,
    arXiv:2305.11841. The score of a document is log P(docid | query), the sum over the docid's
    tokens of the model's log-probabilities over its whole vocabulary, without length normalisation.
    Beam search is constrained to the trie of all docids, so that every hypothesis is a document's.

    A docid is one token of the vocabulary ("atomic"; its one step is the score), the document's id
    as the tokenizer splits it ("naive"), or a path through clusters of the member's vectors
    ("semantic"). Naive and semantic docids include the labels' special tokens. If `docids.json`
    lies beside the weights, its docids replace the ids or clusters.

    At most `beam` docids are found. Documents that share a docid are found together, in corpus
    order; ties of docids go to the smaller token ids. Search keeps the model and the trie in
    memory.
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}

    model: LocatedModel
    """Any model for transformers' AutoModelForSeq2SeqLM, trained on the collection."""
    members: Annotated[Members, Field(max_length=1)] = ()
    """Encoder whose vectors are clustered, for semantic docids."""
    docids: Kind
    token: str = "<doc_{position}>"
    """Template of a document's token, for atomic docids, with {position} in the corpus or {id}."""
    branching: Annotated[int, Field(ge=2)] = 10
    """Clusters into which a cluster is divided, for semantic docids."""
    leaf: Count = 100
    """Most documents of a cluster that is not divided further."""
    beam: Count = 40
    """Hypotheses per query."""
    query_length: Annotated[int, Field(ge=2)] = 64
    """Most tokens of a query, special tokens included."""
    prompt: str = ""
    """Text before a query."""
    batch_size: Count = 8
    """Queries encoded and searched per batch."""
    precision: Precision = "fp32"
    device: str | None = None
    """A torch device; None: the best there is."""

    def __post_init__(self) -> None:
        if (self.docids == "semantic") != bool(self.members):
            raise DefinitionError(
                "key 'members': semantic docids, and they alone, are made of the vectors of a"
                " member. Name a dense method, or another kind of docids."
            )

    def describe(self) -> Mapping[str, Json]:
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        left_out = ("model", "members", "batch_size", "device")
        return {
            **self.model.describe(),
            **{name: value for name, value in own.items() if name not in left_out},
            "clustered": [member.describe() for member in self.members],
            "engine": f"torch {version('torch')}, transformers {version('transformers')}",
            "index": "trie of docids, beam search by log-probability",
        }

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        """Return the encoder's states of queries; documents are stored in the model's weights."""
        if role == "document":
            return list(texts)
        asked = [self.prompt + text for text in texts]
        return self.network.states(asked, self.query_length, self.batch_size)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Count truncation of queries; documents are not encoded."""
        if role == "document":
            return None
        return self.network.truncation([self.prompt + text for text in texts], self.query_length)

    def index(self, documents: Chunks[Any], context: Context) -> GenerativeIndex:
        """Build the trie from ids or the member's vectors; `documents` is never read."""
        return GenerativeIndex(self, Trie.build(self.sequences(self.names(context))))

    def names(self, context: Context) -> list[str]:
        """Return the docids of all documents as texts, the training targets of the model."""
        ids = context.ids
        if (known := stated(self.model, list(ids))) is not None:
            return known
        if self.docids == "atomic":
            return [self.token.format(position=n, id=id) for n, id in enumerate(ids)]
        if self.docids == "naive":
            return list(ids)
        pieces = list(context.encoded(self.members[0]))
        with context.phase("train"):
            vectors = np.concatenate(pieces) if pieces else np.empty((0, 1), np.float32)
            return semantic(vectors, self.branching, self.leaf, context.seed)

    def sequences(self, names: Sequence[str]) -> list[list[int]]:
        """Return the token ids of docids."""
        return sequences(self.network.tokenizer, self.docids, names, self.model.id)

    def training_pairs(self, context: Context, settings: InputSettings) -> Iterator[Pair]:
        """Yield the pairs that this method's model is trained on (`export` writes them)."""

        tokenizer = self.network.tokenizer
        return training_pairs(self.names(context), context, settings, tokenizer)

    @cached_property
    def network(self) -> Seq2Seq:
        """The model, loaded on first use."""
        network = Network(model=self.model, head=EncoderDecoder())
        return Seq2Seq(network=network, precision=self.precision, device=self.device)


@dataclasses.dataclass(frozen=True, eq=False)
class GenerativeIndex(SavedIndex):
    """A model and the docids that it may generate."""

    retriever: GenerativeRetriever
    trie: Trie

    def search(self, queries: Ragged, k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        asked = np.flatnonzero(queries.lengths)
        size = self.retriever.batch_size
        for start in range(0, len(asked), size):
            rows = asked[start : start + size]
            decoder = self.retriever.network.decoder(take(queries, rows))
            found = beam_search(decoder, self.trie, len(rows), self.retriever.beam)
            at, docs = self.trie.documents(found.node)
            owners, scores = found.query[at], found.score[at]
            ranks = np.arange(len(at)) - np.searchsorted(owners, owners)
            kept = ranks < k
            where = rows[owners[kept]], ranks[kept]
            hits.docs[where], hits.scores[where] = docs[kept], scores[kept]
        return hits

    def nbytes(self) -> int:
        """Bytes of the trie and of the model's weights, which store the documents."""
        return super().nbytes() + self.retriever.network.nbytes()
