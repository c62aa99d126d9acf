"""Small Lucene indexes, written by Anserini's own indexer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankstone.runners.lucene.jvm import java


def write_index(
    folder: Path, documents: Mapping[str, Mapping[str, Any]], options: str = ""
) -> None:
    """Write documents (id -> fields, or a `vector` of term -> impact) as Anserini does."""
    folder.mkdir(parents=True)
    kind = java("io.anserini.index.SimpleIndexer")
    vectors = any("vector" in fields for fields in documents.values())
    collection = "JsonVectorCollection -impact -pretokenized" if vectors else "JsonCollection"
    line = f"-input {folder} -index {folder} -collection {collection} {options}"
    indexer = kind(kind.parseArgs(line.split()))
    for name, fields in documents.items():
        indexer.addRawDocument(json.dumps({"id": name, "contents": "", **fields}))
    indexer.close()
