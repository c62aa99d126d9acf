"""Documents split into chunks within a method's limit, each encoded by that method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError
from rankstone.runners.document_length import Ruler, ruler
from rankstone.runners.meter import Work, changing
from rankstone.runners.protocols import AnyIndex, AnyRunner, Chunks, Context, Json, Role, Truncation
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.transformer.batching import windows

SPLITTING = "as many units as fit, up to white space if there is some in the second half"

Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Passages:
    """Encoding of documents as chunks, each encoded by the member; this is stored in shards."""

    members: tuple[AnyRunner]
    limit: int
    overlap: int
    first: bool
    """True: keep only the first chunk of each document."""
    requires: ClassVar[Mapping[str, str]] = {}

    @property
    def cacheable(self) -> bool:
        return self.members[0].cacheable

    def describe(self) -> dict[str, Json]:
        return {
            **self.members[0].describe(),
            "chunks": {
                "limit": self.limit,
                "unit": self._ruler.unit,
                "overlap": self.overlap,
                "only": "first" if self.first else None,
                "cut": SPLITTING,
            },
        }

    def encode(self, texts: Sequence[str], role: Role) -> Ragged:
        chunks = self._split(texts)
        lengths = [len(own) for own in chunks]
        flat = [chunk for own in chunks for chunk in own]
        with changing(_Share(len(texts), len(flat))):
            rep = self.members[0].encode(flat, "document")
        return Ragged(rep, np.cumsum([0, *lengths], dtype=np.int64))

    def index(self, documents: Chunks[Ragged], context: Context) -> AnyIndex:
        raise NotImplementedError("an encoding of chunks is indexed by a ChunkedEncoder")

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Count per document: the text after its first chunk, or what the member truncates."""
        if self.first:
            return self._behind_first(texts)
        chunks = self._split(texts)
        cut = self.members[0].truncation([chunk for own in chunks for chunk in own], "document")
        if cut is None:
            return None
        documents = 0
        if cut.texts_cut:  # the tokens of a single character exceed the limit
            counts = (self.members[0].truncation(own, "document") for own in chunks)
            documents = sum(1 for count in counts if count is not None and count.texts_cut)
        return cut._replace(texts=len(texts), texts_cut=documents)

    def _behind_first(self, texts: Sequence[str]) -> Truncation:
        total = Truncation()
        for window in windows(texts):
            counts = self._ruler.counts(texts[window])
            firsts = self._ruler.counts([own[0] for own in self._split(texts[window])])
            total = total.plus(Truncation.of(counts, np.minimum(firsts, self.limit)))
        return total

    def _split(self, texts: Sequence[str]) -> list[list[str]]:
        return [
            chunks
            for window in windows(texts)
            for chunks in split(
                texts[window],
                self._ruler,
                limit=self.limit,
                overlap=self.overlap,
                first=self.first,
            )
        ]

    @property
    def _ruler(self) -> Ruler:
        return ruler(self.members[0])


def split(
    texts: Sequence[str], measure: Ruler, *, limit: int, overlap: int = 0, first: bool = False
) -> list[list[str]]:
    """Return the chunks of each text, at least one: consecutive substrings that cover it.

    A substring may be tokenised differently than within its text, so every chunk is measured, and
    shortened until it has at most `limit` units, or is a single character.

    Args:
        overlap: units that a chunk shares with the next, if they fit.
        first: return only the first chunk of each text.
    """
    room = limit - int(measure.counts([""])[0])
    if room < 1:
        raise DefinitionError(
            f"key 'parameters.chunk_tokens': {limit} {measure.unit} are no more than what the"
            " member itself adds to a text. Raise it."
        )
    ends = measure.ends(texts)
    cuts = [_Cut.of(text, own, room) for text, own in zip(texts, ends, strict=True)]
    waiting = cuts
    while waiting:
        excess = measure.counts([cut.chunk for cut in waiting]) - limit
        for cut, over in zip(waiting, excess, strict=True):
            if over <= 0 or not cut.shorten(int(over)):
                cut.accept(overlap)
        waiting = [cut for cut in waiting if not (cut.done or (first and cut.chunks))]
    return [cut.chunks for cut in cuts]


@dataclass
class _Cut:
    """State of one text in `split`."""

    text: str
    splits: Ids
    """Character offsets at which it may be split, start and end included, ascending."""
    room: int
    """Most units of a chunk."""
    start: int = 0
    """The current chunk lies between the splits `start` and `stop`."""
    stop: int = 0
    covered: int = 0
    """Index of the split up to which chunks have been accepted."""
    done: bool = False
    chunks: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, text: str, ends: Ids, room: int) -> _Cut:
        inside = ends[ends < ends.max(initial=0)]  # text after the last unit belongs to it
        splits = np.unique(np.concatenate([[0], inside, [len(text)]]))
        cut = cls(text=text, splits=splits, room=room)
        cut._extend(room)
        return cut

    @property
    def chunk(self) -> str:
        return self.text[self.splits[self.start] : self.splits[self.stop]]

    def shorten(self, over: int) -> bool:
        """Drop `over` units, or the overlap, or half a unit; return False at a single character."""
        least = self.covered + 1
        if self.stop > least:
            self._extend(max(self.stop - over, least) - self.start)
        elif self.start < self.covered:
            self.start = self.covered
            self._extend(self.room)
        elif len(self.chunk) > 1:
            middle = (self.splits[self.start] + self.splits[self.stop]) // 2
            self.splits = np.insert(self.splits, self.stop, middle)
        else:
            return False
        return True

    def accept(self, overlap: int) -> None:
        """Accept the current chunk, and go on to the next."""
        self.chunks.append(self.chunk)
        self.covered, last = self.stop, len(self.splits) - 1
        self.done = self.stop >= last
        if not self.done:
            shared = range(max(self.stop - overlap, self.start + 1), self.stop)
            self.start = next(filter(self._is_space, shared), shared.start)
            self._extend(self.room)

    def _extend(self, units: int) -> None:
        """Set the chunk to `units`, or to fewer if it then ends before white space."""
        furthest = max(self.start + units, self.covered + 1)
        if furthest >= len(self.splits) - 1:
            self.stop = len(self.splits) - 1
            return
        least = max(self.covered, self.start + units // 2)
        self.stop = next(filter(self._is_space, range(furthest, least, -1)), furthest)

    def _is_space(self, number: int) -> bool:
        return self.text[self.splits[number]].isspace()


class _Share:
    """Converts a member's progress in chunks to progress in documents."""

    def __init__(self, documents: int, chunks: int) -> None:
        self._documents, self._chunks = documents, max(chunks, 1)
        self._done = 0

    def __call__(self, work: Work) -> Work:
        before = self._done * self._documents // self._chunks
        self._done += work.texts
        return work._replace(texts=self._done * self._documents // self._chunks - before)
