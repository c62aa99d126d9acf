"""A collection split into Retro's chunks, each of which is a document.

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
from typing import Any

from rankstone.benchmarks.dataset import Document, RawDataset, Sources
from rankstone.benchmarks.loaders.beir import mirrored
from rankstone.errors import DataError, DefinitionError
from rankstone.files import package_folder
from rankstone.specs import TaskSpec, canonical_digest

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
    whole = mirrored(of, sources)
    if whole is None:
        raise DataError(
            f"{task.name}: no collection '{of}' in {sources.data or 'a data folder'}."
            " Name the folder that holds it with --data DIR or RANKSTONE_DATA."
        )

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
