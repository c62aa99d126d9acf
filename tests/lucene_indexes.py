"""Small Lucene indexes, written by Anserini's own indexer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rankstone.runners.lucene.jvm import java


def write_words(folder: Path, documents: Mapping[str, str], options: str = "") -> None:
    """Write documents (id -> text) as Anserini does."""
    folder.mkdir(parents=True)
    kind = java("io.anserini.index.SimpleIndexer")
    line = f"-input {folder} -index {folder} -collection JsonCollection {options}"
    indexer = kind(kind.parseArgs(line.split()))
    for name, text in documents.items():
        indexer.addRawDocument(json.dumps({"id": name, "contents": text}))
    indexer.close()


def write_impacts(folder: Path, documents: Mapping[str, Mapping[str, int]]) -> None:
    """Write documents (id -> impact of each term) as Anserini does: each term so many times."""
    texts = {
        name: " ".join(term for term, impact in impacts.items() for _ in range(impact))
        for name, impacts in documents.items()
    }
    write_words(folder, texts, "-impact -pretokenized")
