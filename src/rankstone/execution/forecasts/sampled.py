"""Measurements of a sample of a cell, which its process returns for the forecast."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Size(_Part):
    """Costs for a number of documents, which are the sample or repetitions of it."""

    documents: int
    encode_s: float = 0.0
    """Seconds for the documents outside the phases of the index: encoding, storing, counting."""
    build_s: float
    search_s: float
    """Seconds per query in a batch, encoded and searched, without `rerank_s`."""
    rerank_s: float
    latency_s: float
    """Seconds per query that is asked alone, without `single_rerank_s`."""
    single_rerank_s: float
    save_s: float
    encode_peak_bytes: int = 0
    peak_bytes: int
    """Resident peak except that of encoding documents."""
    index_bytes: int | None
    disk_bytes: int | None


class Stored(_Part):
    """One set of encodings."""

    cached: float
    """Share of the corpus that is in the cache."""
    seconds: float
    """Cost of the documents of the sample; 0 if they are read from the cache."""
    bytes: int
    """Size in bytes for the whole corpus."""


class Sampled(_Part):
    """The sample of a cell."""

    documents: int
    """Size of the collection, like `queries`."""
    queries: int
    distinct: int
    """Number of documents of the sample that were encoded."""
    start_s: float = 0.0
    """Seconds outside the measurement: the start and the end of the process."""
    load_s: float
    load_peak_bytes: int
    evaluate_s: float
    """Seconds per query."""
    sizes: tuple[Size, ...]
    """Ascending; the last two are extrapolated."""
    stored: tuple[Stored, ...] = ()
    index_bytes: int | None = None
    """Bytes for the whole collection by the formula of the index; None if it has none."""
    most_bytes: int | None = None
    """Bytes above which the index is read from disk; None if it is always resident."""
    gpu: bool = False
