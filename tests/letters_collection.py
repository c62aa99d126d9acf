"""A folder in BEIR layout with three documents, each relevant to the query of its letter."""

from __future__ import annotations

from pathlib import Path

from tests.beir_layout import write_beir


def write_collection(folder: Path) -> Path:
    documents, queries = ({f"{kind}{c}": f"letter {c}" for c in "xyz"} for kind in "dq")
    return write_beir(folder, documents, queries, test=zip(queries, documents, strict=True))
