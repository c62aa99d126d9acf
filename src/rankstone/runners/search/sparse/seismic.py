"""Approximate search over sparse vectors by Seismic (the package pyseismic-lsr)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TextIO

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import AdapterError
from rankstone.runners.protocols import STRICT, Chunks, Context, Hits
from rankstone.runners.representations.sparse_rows import SparseRows
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.inverted_index import check

FILE = "documents"
SMALL = 2**16
"""Largest vocabulary for Seismic's default index, with 16-bit terms."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Seismic(OverEncoder):
    """Inverted lists in blocks, each with a summary that determines if it is read.

    Bruch et al., Efficient Inverted Indexes for Approximate Retrieval over Learned Sparse
    Representations, SIGIR 2024, arXiv:2404.18812. Every list keeps its documents of largest weight
    (`n_postings` on average), clustered by their vectors into blocks (`centroid_fraction` of the
    list's length). A block's summary is the term-wise maximum of its documents' weights, pruned to
    `summary_energy` of its mass. A query reads the lists of its `query_cut` terms of largest
    weight, and in them the blocks whose summary scores above ``lowest score of the k best /
    heap_factor``; their documents are scored exactly, by their full vectors in half precision.

    Only documents with a score above zero are returned. Ties among the results go to the lower
    position; at rank k Seismic breaks them, deterministically. The index is built in memory, which
    must hold vectors, lists and summaries.
    """

    DESCRIPTION: ClassVar[str] = "Seismic: inverted lists in summarised blocks"
    requires: ClassVar[Mapping[str, str]] = {"seismic": "sparse"}

    n_postings: Annotated[int, Field(ge=1)] = 3500
    centroid_fraction: Annotated[float, Field(gt=0, le=1)] = 0.1
    summary_energy: Annotated[float, Field(gt=0, le=1)] = 0.4
    query_cut: Annotated[int, Field(ge=1)] = 10
    heap_factor: Annotated[float, Field(gt=0, le=1)] = 0.8

    def build(self, documents: Chunks[SparseRows], context: Context) -> SeismicIndex:
        rows, width, position = None, 0, 0
        for piece in documents:
            check(piece, position, width)
            if rows is None:
                width = piece.width
                rows = _kind("Dataset", width)(width)
            ids = [str(number) for number in range(position, position + len(piece))]
            rows.add_documents_by_id(
                ids, piece.terms.astype(np.int64), piece.weights, piece.offsets
            )
            position += len(piece)
        engine = None
        if rows is not None and rows.len:
            with _printing():
                engine = _kind("Index", width).build_from_dataset(
                    rows,
                    n_postings=self.n_postings,
                    centroid_fraction=self.centroid_fraction,
                    summary_energy=self.summary_energy,
                    num_threads=context.threads,
                )
        about = {
            "width": width, "query_cut": self.query_cut, "heap_factor": self.heap_factor,
            "threads": context.threads, "empty": engine is None,
        }  # fmt: skip
        return SeismicIndex(engine, about)


class SeismicIndex:
    """Seismic's index and its search settings."""

    def __init__(self, engine: Any, about: Mapping[str, Any]) -> None:
        """`engine`: None if no document has a term."""
        self._engine = engine
        self._about = dict(about)

    def search(self, queries: SparseRows, k: int) -> Hits:
        width = self._about["width"]
        if len(queries) and width and queries.width != width:
            raise AdapterError(
                f"expected query vectors over {width} entries, found {queries.width}."
                " The encoder must give queries and documents one vocabulary."
            )
        hits = Hits.empty(len(queries), k)
        asked = {str(row): own for row, own in enumerate(queries.rows()) if len(own[0])}
        if self._engine is None or not asked or not k:
            return hits
        for found in self._found(asked, k):
            row = int(found[0][0]) if found else 0
            places = np.array([int(doc) for _, score, doc in found if score > 0], dtype=np.int64)
            values = np.array([score for _, score, _ in found if score > 0], dtype=np.float32)
            order = np.lexsort((places, -values))
            hits.docs[row, : len(order)] = places[order]
            hits.scores[row, : len(order)] = values[order]
        return hits

    def _found(self, asked: Mapping[str, Any], k: int) -> list[list[tuple[str, float, str]]]:
        """Return the (row, score, document) results of each query, with queries in any order."""
        from seismic import get_seismic_string

        kind = get_seismic_string()
        found: list[list[tuple[str, float, str]]] = self._engine.batch_search(
            np.array(list(asked), dtype=kind),
            [terms.astype(kind) for terms, _ in asked.values()],
            [np.asarray(weights, dtype=np.float32) for _, weights in asked.values()],
            k=k,
            query_cut=self._about["query_cut"],
            heap_factor=self._about["heap_factor"],
            num_threads=self._about["threads"],
        )
        return found

    def save(self, folder: Path) -> None:
        (folder / "seismic.json").write_text(json.dumps(self._about))
        if self._engine is not None:
            with _printing():
                self._engine.save(str(folder / FILE))

    @classmethod
    def load(cls, folder: Path) -> SeismicIndex:
        about = json.loads((folder / "seismic.json").read_text())
        if about["empty"]:
            return cls(None, about)
        with _printing():
            engine = _kind("Index", about["width"]).load(str(folder / f"{FILE}.index.seismic"))
        return cls(engine, about)

    def nbytes(self) -> int:
        """Return the size reported by Seismic: vectors in half precision, lists and summaries."""
        if self._engine is None:
            return sys.getsizeof(self._about)
        with _printing() as printed:
            self._engine.print_space_usage_byte()
            printed.seek(0)
            total = re.search(r"Total: (\d+) Bytes", printed.read())
        if total is None:
            raise AdapterError("this version of pyseismic-lsr does not report its index's size.")
        return int(total[1])


def _kind(what: str, width: int) -> Any:
    """Return Seismic's class for vocabularies of that size."""
    import seismic

    return getattr(seismic, f"Seismic{what}" + ("" if width <= SMALL else "LV"))


@contextlib.contextmanager
def _printing() -> Iterator[TextIO]:
    """Redirect Seismic's output into a temporary file, which is yielded.

    It writes directly to the process's standard output, not through Python.
    """
    sys.stdout.flush()
    with tempfile.TemporaryFile("w+") as file:
        kept = os.dup(1)
        try:
            os.dup2(file.fileno(), 1)
            yield file
        finally:
            os.dup2(kept, 1)
            os.close(kept)
