"""Sections of a record about costs: time, memory, index, tokens; and their forecast."""

from __future__ import annotations

from typing import Literal

from rankstone.results.sections.fields import Amount, Count, Name, Section
from rankstone.results.sections.latency import Latency
from rankstone.results.sections.load import Load


class Phase(Section):
    """Self time of a phase, exclusive of phases nested in it."""

    wall_s: Amount
    cpu_s: Amount | None = None
    items: Count = 0
    peak_rss_bytes: Count | None = None
    peak_gpu_bytes: Count | None = None
    """Peak of torch's tensors over all GPUs; null without a CUDA device."""
    gpu_utilisation: Amount | None = None
    """Mean share of time in which the GPU ran kernels, sampled; null if unknown."""
    tokens: Count | None = None
    """Tokens read by models, with special tokens, without padding; null if not counted."""
    flops: Amount | None = None
    """Nominal floating-point operations on these tokens; a multiply-add counts as two."""
    billed_tokens: Count | None = None
    """Input tokens counted by the server of an API; null if there is none."""
    usd: Amount | None = None
    """Price of these tokens in US dollars; null if the price is unknown."""
    from_cache: Amount = 0.0
    """Share of items read from a cache; their cost is that of the run that filled the cache."""


class IndexSize(Section):
    memory_bytes: Count | None = None
    """Memory that search keeps resident."""
    disk_bytes: Count | None = None
    bytes_per_document: Amount | None = None
    recall_10: Amount | None = None
    """Mean share of the 10 best documents of exact search over the same vectors that are among the
    first 10 results, over the first 1,024 queries; with a filter, only passing documents count.
    Null for indexes that do not approximate a search over vectors."""


class Filter(Section):
    """Search under the filters of a task's queries."""

    how: Literal["native", "before", "after"]
    """By the engine, by selecting the passing documents and comparing them all, or by retrieving
    more results and dropping those that do not pass."""
    predicate: Name | None = None
    """Null if each query has its own filter."""
    selectivity: Amount
    """Share of the documents that pass, as a mean over the queries."""
    least: Amount
    most: Amount
    """The smallest and the largest share."""
    not_asked: Count
    """Number of queries left out because none of their judged documents passes."""
    without_relevant: Count
    """Number of queries with passing judged documents of which none is relevant; they score 0."""


class Profile(Section):
    phases: dict[Name, Phase] = {}
    wall_s: Amount | None = None
    """Wall seconds of the cell's process, from its start to its end, trials under load included."""
    latency: Latency | None = None
    load: Load | None = None
    """Null if no load was measured."""
    index: IndexSize | None = None
    filter: Filter | None = None
    """Null if the task has no filter."""
    peak_rss_bytes: Count | None = None
    """Largest resident size of the process and its children during the phases and the measurement
    of latency; before schema 5, also while the results were written."""
    peak_flops_per_s: Amount | None = None
    """Peak rate of large matrix products at the encoder's precision, threads and device, measured
    during encoding; null if not counted, or if encodings came from another machine."""
    flop_utilisation: Amount | None = None
    """Model FLOP utilisation of encoding the documents: flops / seconds / peak."""

    @property
    def own_seconds(self) -> float:
        """Wall seconds of the phases of this run, without those read from a cache."""
        return sum(phase.wall_s for phase in self.phases.values() if not phase.from_cache)


class Forecast(Section):
    """Expected costs of a cell, computed before it ran (`rankstone plan`)."""

    seconds: Amount | None = None
    """Wall seconds of the cell's process; null if no sample was measured."""
    phases: dict[Name, Amount] = {}
    """The parts of these seconds."""
    peak_rss_bytes: Count | None = None
    index_bytes: Count | None = None
    """Memory that search keeps resident."""
    disk_bytes: Count | None = None
    """Bytes written: encodings in the cache, and temporarily an index beside the results."""
    cache_bytes: Count | None = None
    """Bytes of encodings, included in the bytes written."""
    cached: Amount | None = None
    """Share of the encodings that were in the cache; null if the method stores no encodings."""
    billed_tokens: Count | None = None
    """Input tokens of requests to an API."""
    usd: Amount | None = None
    cores: Count | None = None
    gpu: bool = False
    documents: Count | None = None
    sampled: Count | None = None
    """Number of sampled documents; null without a sample."""
    notes: list[str] = []
    """Figures that are missing, and why."""


class Planned(Section):
    """A cell of a plan."""

    method: Name
    task: Name
    state: Literal["runs", "stored", "does not fit", "fails"]
    """stored: its results are there and are reused."""
    forecast: Forecast = Forecast()
    faults: list[str] = []
    """Reasons why the cell would not run, or would fail."""
