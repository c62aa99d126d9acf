"""An encoder that costs nothing: vectors of hashed words. It can take time, memory, its worker."""

from __future__ import annotations

import os
import signal
import time
import zlib

import numpy as np

import rankstone
from rankstone.runners.search.exact.flat import ExactIndex

DIM = 16


def vector(text: str) -> np.ndarray:
    made = np.zeros(DIM, np.float32)
    for word in text.split():
        made[zlib.crc32(word.encode()) % DIM] += 1
    return made


class Hashing(rankstone.Runner):
    cacheable = True

    def __init__(
        self,
        name: str = "hashing",
        pause_s: float = 0.0,
        deadly: str = "",
        hungry: int = 0,
        index_s: float = 0.0,
    ) -> None:
        self.name, self.pause_s, self.deadly = name, pause_s, deadly
        self.hungry, self.index_s = hungry, index_s

    def describe(self):
        return {"name": self.name, "index": ExactIndex.DESCRIPTION}

    def encode(self, texts, role):
        if self.deadly and self.deadly in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deadly == "raise" and role == "document":
            raise ValueError("no vector for this")
        held = np.ones(self.hungry if len(texts) > 1 else 0, np.uint8)
        time.sleep(self.pause_s if len(texts) > 1 else 0)
        del held
        return np.array([vector(text) for text in texts], np.float32).reshape(-1, DIM)

    def index(self, documents, context):
        time.sleep(self.index_s)
        return ExactIndex.build(documents)
