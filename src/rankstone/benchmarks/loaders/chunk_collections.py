"""A collection split into pieces, each of which is a document: Retro's chunks, or sentences.

Borgeaud et al., Improving Language Models by Retrieving from Trillions of Tokens, 2022,
arXiv:2112.04426; Wang et al., InstructRetro, arXiv:2310.07713: documents are split into
consecutive, non-overlapping chunks of 64 tokens, which are embedded and searched. A retrieved
neighbour is a chunk with its continuation, 128 tokens.

The searched text is the field `title`, so that a task's template must be "{title}". The returned
and judged text is the field `text`: the chunk, or the chunk with its continuation. Thus any encoder
and any index retrieve chunks, and answers are matched in the text that a reader would get.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np

from rankstone.benchmarks.answers import MATCHER, match
from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.benchmarks.loaders.beir import mirrored
from rankstone.errors import DataError, DefinitionError
from rankstone.files import package_folder
from rankstone.specs import TaskSpec, canonical_digest
from rankstone.text_files import sentences

TEMPLATE = "{title}"
BLOCK = 256
"""Number of documents tokenised at once."""
TOKENIZER = "l2_supercat_tokenizer_config.json"
"""Llama 2's byte-pair encoding, which wordllama contains; Retro also uses byte-pair encoding."""


def load(
    task: TaskSpec, sources: Sources, *, of: str, tokens: int = 64, continuation: bool = False
) -> RawDataset:
    """Return the chunks of the collection `of` in the data folder, and its queries with answers.

    Args:
        tokens: length of a chunk; the last chunk of a document may be shorter.
        continuation: also return the next chunk of the same document with each chunk.

    Raises:
        DefinitionError: the task's template includes more than the chunk, or chunks are empty.
        DataError: the data folder has no such collection.
    """
    if task.text != TEMPLATE:
        raise DefinitionError(
            f"task '{task.name}': key 'text': {task.text!r}: methods would read the text that they"
            f" should find. Write {TEMPLATE!r}."
        )
    if tokens < 1:
        raise DefinitionError(f"task '{task.name}': key 'source.tokens': {tokens}. Raise it.")
    whole = _whole(task, sources, of)

    def documents() -> Iterator[Document]:
        return chunks(whole.documents(), tokens=tokens, continuation=continuation)

    def locate(what: str, index: int) -> str:
        if what != "documents":
            return whole.locate(what, index)
        return next(islice(documents(), index, None)).id

    how = [tokens, continuation, TOKENIZER, version("wordllama"), version("tokenizers")]
    what = "chunks and continuations" if continuation else "chunks"
    return RawDataset(
        documents=documents,
        queries=whole.queries,
        judgements=lambda split: (),
        splits=list,
        fingerprint=canonical_digest([whole.fingerprint, how]),
        source=f"{whole.source}, {what} of {tokens} tokens",
        locate=locate,
        warnings=whole.warnings,
    )


def load_sentences(task: TaskSpec, sources: Sources, *, of: str) -> RawDataset:
    """Return the sentences of each question's own document, of the collection `of`.

    The document `<question>#<number from 0>` is a sentence of the first document that is relevant
    to the question, with the column `question`, by which a task's filter restricts the search to
    the question's own. It is relevant if it contains an answer, by the rule of tasks that are
    judged by answers. Questions none of whose sentences, or all of them, contain an answer are left
    out.

    Raises:
        DataError: the data folder has no such collection.
    """
    whole = _whole(task, sources, of)

    @cache
    def found() -> list[Located]:
        return list(located(whole, task.split))

    return RawDataset(
        documents=lambda: (one.document(n) for one in found() for n in range(len(one.sentences))),
        metadata=lambda: ({"question": one.query.id} for one in found() for _ in one.sentences),
        queries=lambda: (one.query for one in found()),
        judgements=lambda split: (
            Judgement(one.query.id, one.id(n), 1) for one in found() for n in one.relevant
        ),
        splits=lambda: [task.split],
        fingerprint=canonical_digest([whole.fingerprint, MATCHER, "sentences 1"]),
        source=f"{whole.source}, sentences of each question's document",
        warnings=whole.warnings,
    )


class Located(NamedTuple):
    """A question, and the sentences of its document."""

    query: Query
    title: str
    sentences: list[str]
    relevant: list[int]

    def id(self, number: int) -> str:
        return f"{self.query.id}#{number}"

    def document(self, number: int) -> Document:
        return Document(self.id(number), self.title, self.sentences[number])


def located(whole: RawDataset, split: str) -> Iterator[Located]:
    """Yield the questions that some, but not all sentences of their document answer."""
    documents = {document.id: document for document in whole.documents()}
    own = dict[str, Document]()
    for judged in whole.judgements(split):
        if judged.label > 0 and judged.document in documents:
            own.setdefault(judged.query, documents[judged.document])
    for query in whole.queries():
        if query.answers and query.id in own:
            parts = sentences(own[query.id].text)
            right = _answering(query, parts)
            if 0 < len(right) < len(parts):
                yield Located(query, own[query.id].title, parts, right)


def _answering(query: Query, parts: list[str]) -> list[int]:
    numbers = np.arange(len(parts), dtype=np.int64)
    held = match([query.answers], 0 * numbers, numbers, lambda rows: [parts[row] for row in rows])
    return [int(number) for number in np.flatnonzero(held)]


def _whole(task: TaskSpec, sources: Sources, name: str) -> RawDataset:
    found = mirrored(name, sources)
    if found is None:
        raise DataError(
            f"{task.name}: no collection '{name}' in {sources.data or 'a data folder'}."
            " Name the folder that holds it with --data DIR or RANKSTONE_DATA."
        )
    return found


def chunks(documents: Iterable[Document], *, tokens: int, continuation: bool) -> Iterator[Document]:
    """Yield the chunks of each document in order: id `<id>#<number from 0>`, title and text as
    above.

    Every character of a text is in exactly one chunk. A document without tokens is one chunk.
    """
    waiting = iter(documents)
    while block := list(islice(waiting, BLOCK)):
        texts = [document.text for document in block]
        for document, pieces in zip(block, cut(texts, tokens), strict=True):
            for number, piece in enumerate(pieces):
                following = pieces[number + 1] if continuation and number + 1 < len(pieces) else ""
                yield Document(f"{document.id}#{number}", piece, piece + following)


def cut(texts: list[str], tokens: int) -> list[list[str]]:
    """Split each text into at least one piece of `tokens` tokens; the last may be shorter."""
    found = []
    encoded = _tokenizer().encode_batch(texts, add_special_tokens=False)
    for text, encoding in zip(texts, encoded, strict=True):
        starts = [start for start, _ in encoding.offsets[tokens::tokens]]
        # Tokens of the bytes of one character share an offset, so that no character is split.
        edges = [0, *dict.fromkeys(start for start in starts if start > 0), len(text)]
        found.append([text[a:b] for a, b in pairwise(edges)])
    return found


@cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    folder = package_folder("wordllama")
    path = folder / "tokenizers" / TOKENIZER if folder else None
    if path is None or not path.is_file():
        raise DataError("wordllama carries no tokenizer. Install: pip install 'wordllama>=0.3.8'")
    return Tokenizer.from_file(str(path))
