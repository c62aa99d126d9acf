"""Adapters that break their contract, for the tests of how cells end."""

import dataclasses
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rankstone.runners.meter import Work, report
from rankstone.runners.protocols import Hits


class Constant:
    """Scores every document of a query by its position; the well-behaved base of the others."""

    requires: ClassVar[dict[str, str]] = {}
    cacheable = False

    def describe(self) -> dict[str, Any]:
        return {}

    def encode(self, texts: Sequence[str], role: str) -> list[str]:
        return list(texts)

    def truncation(self, texts: Sequence[str], role: str) -> None:
        return None

    def index(self, documents: Any, context: Any) -> "ConstantIndex":
        return ConstantIndex(len(documents), self.damage)

    def damage(self, hits: Hits) -> Hits:
        return hits


@dataclasses.dataclass
class ConstantIndex:
    n: int
    damage: Any

    def search(self, queries: Sequence[str], k: int) -> Hits:
        k = min(k, self.n)
        docs = np.tile(np.arange(k, dtype=np.int64), (len(queries), 1))
        return self.damage(Hits(docs, -docs.astype(np.float32)))

    def save(self, folder: Path) -> None:
        (folder / "n").write_text(str(self.n))

    @classmethod
    def load(cls, folder: Path) -> "ConstantIndex":
        return cls(int((folder / "n").read_text()), lambda hits: hits)

    def nbytes(self) -> int:
        return 8


class Damages(Constant):
    """Changes the prepared corpus while it encodes it, as another process or a bad disk would."""

    cacheable = True

    def encode(self, texts: Sequence[str], role: str) -> Any:
        if role == "document" and texts:
            for path in Path(os.environ["RANKSTONE_CACHE"]).rglob("corpus.arrow"):
                with path.open("r+b") as file:
                    file.seek(path.read_bytes().index(b"letter a"))
                    file.write(b"letter z")
        return np.zeros((len(texts), 2), np.float32)

    def index(self, documents: Any, context: Any) -> ConstantIndex:
        return ConstantIndex(sum(map(len, documents)), self.damage)


class NaN(Constant):
    def damage(self, hits: Hits) -> Hits:
        return Hits(hits.docs, np.full_like(hits.scores, np.nan))


class OutOfRange(Constant):
    def damage(self, hits: Hits) -> Hits:
        return Hits(hits.docs + 1_000_000, hits.scores)


class Killed(Constant):
    def damage(self, hits: Hits) -> Hits:
        os.kill(os.getpid(), signal.SIGKILL)
        return hits


class Raises(Constant):
    def damage(self, hits: Hits) -> Hits:
        raise ValueError("the adapter's own words")


class Sleeps(Constant):
    def damage(self, hits: Hits) -> Hits:
        time.sleep(600)
        return hits


class Hungry(Constant):
    def damage(self, hits: Hits) -> Hits:
        hoard = []
        while True:
            hoard.append(np.ones(10_000_000))
            time.sleep(0.02)


class OutOfMemory(Constant):
    def damage(self, hits: Hits) -> Hits:
        raise MemoryError


class Chatty(Constant):
    """Prints to standard output, which carries the events: must do no harm."""

    def damage(self, hits: Hits) -> Hits:
        os.write(1, b"noise without a line end")
        return hits


class NeedsExtra(Constant):
    requires: ClassVar[dict[str, str]] = {"a_library_nobody_has": "lucene"}


class Twice(Constant):
    def damage(self, hits: Hits) -> Hits:
        return Hits(np.zeros_like(hits.docs), hits.scores)


class Telling(Constant):
    """Keeps its encodings, and tells of its work."""

    cacheable = True

    def describe(self) -> dict[str, Any]:
        return {"engine": "none", "precision": "fp32"}

    def encode(self, texts: Sequence[str], role: str) -> Any:
        report(Work(texts=len(texts), tokens=10 * len(texts), flops=1e6 * len(texts)))
        return np.zeros((len(texts), 2), dtype=np.float32)

    def index(self, documents: Any, context: Any) -> ConstantIndex:
        return ConstantIndex(sum(len(chunk) for chunk in documents), self.damage)


class BigSave(Constant):
    """Takes memory only while it saves its index, which is bookkeeping."""

    def index(self, documents: Any, context: Any) -> "BigSaveIndex":
        return BigSaveIndex(len(documents), self.damage)


class BigSaveIndex(ConstantIndex):
    def save(self, folder: Path) -> None:
        held = bytearray(b"x" * 2**29)
        time.sleep(0.7)
        (folder / "n").write_text(str(len(held)))


class BriefPeak(Constant):
    """Takes memory in a phase, for too short a time to be seen from outside."""

    def index(self, documents: Any, context: Any) -> ConstantIndex:
        held = bytearray(b"x" * 2**29)
        return ConstantIndex(len(documents) + 0 * len(held), self.damage)
