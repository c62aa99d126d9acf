"""Retrieval by the letters that a query and a document share."""

from dataclasses import dataclass

import numpy as np

import rankstone


@dataclass(frozen=True)
class Letters(rankstone.Runner):
    alphabet: str = "abcdefghijklmnopqrstuvwxyz"

    def encode(self, texts, role):
        return np.array([[c in text for c in self.alphabet] for text in texts], np.float32)

    def index(self, documents, context):
        return LettersIndex(np.concatenate(list(documents)))


@dataclass(frozen=True)
class LettersIndex:
    vectors: np.ndarray

    def search(self, queries, k):
        scores = queries @ self.vectors.T
        docs = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return rankstone.Hits(docs, np.take_along_axis(scores, docs, axis=1))
