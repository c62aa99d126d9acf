"""A forecast from the measurements of a sample: lines through its two largest sizes."""

from __future__ import annotations

from collections.abc import Callable

from rankstone.encodings.cache import LAZY_SIZE
from rankstone.execution.forecasts.sampled import Sampled, Size
from rankstone.execution.timed_queries import BUDGET_S, FURTHER_S, QUERIES, WARMUP
from rankstone.results.record import LEAST, Forecast

GROWING = 1.4
"""Peak memory while an index is built, relative to the size of the finished index."""
RELIABLE = 4096
"""Number of documents from which the growth of the resident peak exceeds its noise."""
READ_BYTES_PER_S = 1e9
"""Rate at which stored encodings are read and verified."""
BLOCK_BYTES = 64 * 2**20
"""Resident share of an index that is read from disk, except flat indexes, which have a formula."""
PROPORTIONAL = 0.8
"""Growth of reranking, relative to that of the documents, above which its depth is not fixed."""


def extrapolated(found: Sampled, *, threads: int) -> Forecast:
    """Return the forecast of the cell of which `found` is a sample."""
    index = _index_bytes(found)
    return Forecast(
        seconds=sum(seconds(found).values()),
        phases=seconds(found),
        peak_rss_bytes=_peak(found, index),
        index_bytes=index,
        disk_bytes=_cache_bytes(found) + _results_bytes(found),
        cache_bytes=_cache_bytes(found),
        cached=cached(found),
        cores=threads,
        gpu=found.gpu,
        documents=found.documents,
        sampled=found.distinct,
    )


def seconds(found: Sampled) -> dict[str, float]:
    """Return the wall seconds of each part of the cell."""
    rerank = _reranking(found, lambda size: size.rerank_s)
    single = _at_end(found, lambda size: size.latency_s)
    single += _reranking(found, lambda size: size.single_rerank_s)
    stored = sum(part.bytes * part.cached for part in found.stored)
    once = _one_off(found, lambda size: size.encode_s) + _one_off(found, lambda size: size.build_s)
    return {
        "start": max(found.start_s, 0.0) + found.load_s + once,
        "encode_documents": _encode_s(found) + stored / READ_BYTES_PER_S,
        "index": _at_end(found, lambda size: size.build_s),
        "search": found.queries * _at_end(found, lambda size: size.search_s),
        "rerank": found.queries * rerank,
        "evaluate": found.queries * found.evaluate_s,
        "latency": latency_s(found.queries, single),
        "save": _at_end(found, lambda size: size.save_s),
    }


def latency_s(queries: int, single_s: float) -> float:
    """Return the time of `time_queries` if a query takes `single_s`."""
    warmup = min(min(WARMUP, (queries + 1) // 2) * single_s, BUDGET_S)
    timed = min(QUERIES, queries)
    missing = (max(LEAST.values()) - timed) * single_s
    further = missing if missing <= FURTHER_S else 0.0
    return warmup + max(min(timed * single_s, BUDGET_S), single_s) + further


def _one_off(found: Sampled, value: Callable[[Size], float]) -> float:
    """Return the extra time of the first size over the second: libraries and models were loaded."""
    first, second, *_ = (*found.sizes, found.sizes[-1])
    return max(value(first) - value(second), 0.0)


def line(found: Sampled, value: Callable[[Size], float], at: int) -> float:
    """Return `value` for `at` documents, on the line through the two largest sizes, which neither
    decreases nor grows faster than the number of documents."""
    last = found.sizes[-1]
    pace = min(max(slope(found, value), 0.0), value(last) / max(last.documents, 1))
    return value(last) + pace * (at - last.documents)


def slope(found: Sampled, value: Callable[[Size], float]) -> float:
    """Return the growth of `value` per document between the two largest sizes."""
    *_, before, last = (found.sizes[0], *found.sizes)
    grown = last.documents - before.documents
    return (value(last) - value(before)) / grown if grown else 0.0


def _at_end(found: Sampled, value: Callable[[Size], float]) -> float:
    return line(found, value, found.documents)


def _encode_s(found: Sampled) -> float:
    """Return the time for the documents that are not in the cache.

    The growth between the two largest samples counts, but at least half of the mean: one-off costs,
    such as a first batch, are incurred only once.
    """
    *_, before, last = (size for size in (found.sizes[0], *found.sizes)
                        if size.documents <= found.distinct)  # fmt: skip
    mean = last.encode_s / max(last.documents, 1)
    grown = last.documents - before.documents
    pace = (last.encode_s - before.encode_s) / grown if grown else mean
    pace = min(max(pace, mean / 2), mean)
    whole = last.encode_s + pace * (found.documents - last.documents)
    return whole * (1 - _saved_share(found, last.encode_s))


def _saved_share(found: Sampled, encode_s: float) -> float:
    """Return the share of the encoding time that the cache saves."""
    saved = sum(part.seconds * part.cached for part in found.stored)
    return min(saved / encode_s, 1.0) if encode_s else 0.0


def _reranking(found: Sampled, value: Callable[[Size], float]) -> float:
    """Return the time per query, which is constant if the number of candidates is fixed."""
    *_, before, last = (found.sizes[0], *found.sizes)
    expected = value(before) * last.documents / max(before.documents, 1)
    grows = before is not last and value(last) >= PROPORTIONAL * expected
    return _at_end(found, value) if grows else value(last)


def cached(found: Sampled) -> float | None:
    """Return the share of the encodings that are in the cache; None if none are stored."""
    sizes = [part.bytes for part in found.stored]
    if not sizes:
        return None
    return sum(part.bytes * part.cached for part in found.stored) / max(sum(sizes), 1)


def _index_bytes(found: Sampled) -> int | None:
    last = found.sizes[-1]
    if last.index_bytes is None:
        return None
    if found.index_bytes is not None and last.documents < found.documents:
        return found.index_bytes
    whole = int(_at_end(found, lambda size: float(size.index_bytes or 0)))
    return whole if found.most_bytes is None or whole <= found.most_bytes else BLOCK_BYTES


def _peak(found: Sampled, index: int | None) -> int:
    """Return the resident peak: of loading, of encoding unless all is cached, and of the rest."""
    last = found.sizes[-1]
    encoding = max(
        (size.encode_peak_bytes for size in found.sizes if size.documents <= found.distinct),
        default=0,
    )
    own = 0 if cached(found) == 1 else encoding
    rest = max(size.peak_bytes for size in found.sizes) + _growth(found, last, index)
    return int(max(found.load_peak_bytes, own, rest))


def _growth(found: Sampled, last: Size, index: int | None) -> float:
    """Return the addition to the peak by the documents that are not in the sample.

    Up to the number of documents that are encoded at once, everything measured grows; beyond it
    only the index grows.
    """
    measured = 0.0
    if last.documents >= RELIABLE:
        measured = max(slope(found, lambda size: float(size.peak_bytes)), 0.0)
    per_document = max(slope(found, lambda size: float(size.index_bytes or 0)), 0.0)
    piece = max(min(found.documents, LAZY_SIZE) - last.documents, 0)
    beyond = found.documents - last.documents - piece
    linear = max(measured, GROWING * per_document) * piece + GROWING * per_document * beyond
    if found.most_bytes is not None:  # some collect this much before they use the disk
        linear = min(linear, GROWING * found.most_bytes)
    if found.index_bytes is None or index is None:
        return linear
    return min(linear, GROWING * max(index - (last.index_bytes or 0), 0))


def _cache_bytes(found: Sampled) -> int:
    return int(sum(part.bytes * (1 - part.cached) for part in found.stored))


def _results_bytes(found: Sampled) -> int:
    return int(_at_end(found, lambda size: float(size.disk_bytes or 0)))
