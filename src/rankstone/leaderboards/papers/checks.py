"""Quantities that checks of claims measure, from stored records, runs and values per query.

Every kind is a function from the check and its cells (`of`, `than`, `truth`) to a value with its
95% interval: of means and shares the rules of `rankstone.evaluation`, of other statistics the
percentile bootstrap over queries, paired, of 1,000 resamples and seed 0 (Efron and Tibshirani 1993,
chapter 13).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rankstone.arrays import Floats, Ints
from rankstone.errors import ResultsError
from rankstone.evaluation import sign_flips
from rankstone.evaluation.growth import exponent
from rankstone.evaluation.hubness import k_occurrence, skewness
from rankstone.evaluation.intervals import LEVEL, RESAMPLES, SEED, of_means, of_ratio
from rankstone.leaderboards.costs import BY_PLACE, CACHED, Cost, conditions, obstacle
from rankstone.leaderboards.papers.stored_cells import Cell

COUNTED = ".flops"
"""End of figures that are counts, the same on every machine."""


class Value(NamedTuple):
    """A number and the ends of its interval: None where it is not known, equal where it is exact,
    such as a count of bytes, or a mean over the very queries that the paper has."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    """Queries, or sizes, that it was taken over."""
    parts: tuple[float, ...] = ()
    """Terms that it was computed from: the values of `of` and `than`."""


class Check(NamedTuple):
    """One kind of check."""

    function: Callable[[Any, Mapping[str, Cell]], Value]
    needs: tuple[str, ...]
    """Keys that such a check must state."""
    reads: str
    """Description of the value, with the check's own keys in braces."""


def _paired(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[Floats, Floats]:
    """The values of the same queries; ResultsError if they are not the same."""
    if one.keys() != other.keys():
        raise ResultsError("the two runs are not of the same queries. Run both again.")
    return np.array(list(one.values())), np.array([other[query] for query in one])


def _measured(check: Any, cells: Mapping[str, Cell]) -> tuple[Floats, Floats]:
    """The values of `of` and `than`, of the queries that training did not see if asked for."""
    of = cells["of"].measure(check.measure)
    than = cells["than"].measure(check.than_measure or check.measure)
    if not check.unseen:
        return _paired(of, than)
    known = [queries for cell in cells.values() if (queries := cell.unseen) is not None]
    if not known:
        raise ResultsError(
            "neither record states which queries are unseen in training. Run both again"
        )
    apart = set.intersection(*known)
    if not apart:
        raise ResultsError("training saw relevant documents of all queries. Name another task.")
    return _paired(*({q: v for q, v in one.items() if q in apart} for one in (of, than)))


def _mean(values: Floats, *parts: float) -> Value:
    low, high = of_means(values[:, None])
    return _within(float(values.mean()), float(low[0]), float(high[0]), len(values), parts)


def _within(found: float, low: float, high: float, n: int, parts: tuple[float, ...]) -> Value:
    """A value with its interval, where so many queries have one."""
    if not np.isfinite([low, high]).all():
        return Value(found, n=n, parts=parts)
    return Value(found, low, high, n, parts)


def _mean_difference(of: Floats, than: Floats) -> Value:
    low, high = sign_flips.bounds(of - than, (1 - LEVEL) / 2)
    means = float(of.mean()), float(than.mean())
    return _within(means[0] - means[1], low, high, len(of), means)


def difference(check: Any, cells: Mapping[str, Cell]) -> Value:
    """The mean over queries of the measure of `of` less that of `than`."""
    return _mean_difference(*_measured(check, cells))


def share(check: Any, cells: Mapping[str, Cell]) -> Value:
    """The mean of the measure of `of` as a share of that of `than`."""
    of, than = _measured(check, cells)
    means = float(of.mean()), float(than.mean())
    if means[1] == 0:
        raise ResultsError(
            f"{cells['than'].name}: its {check.measure} is 0, so a share of it is undefined."
        )
    low, high = of_ratio(of, than)
    return _within(means[0] / means[1], low, high, len(of), means)


def widening(check: Any, cells: Mapping[str, Cell]) -> Value:
    """The mean of `than` less that of `of`, less the same on `than_on`, of the same queries."""
    gaps = []
    for roles in (("of", "than"), ("of_before", "than_before")):
        of, than = _paired(*(cells[role].measure(check.measure) for role in roles))
        gaps.append(dict(zip(cells[roles[0]].measure(check.measure), than - of, strict=True)))
    return _mean_difference(*_paired(*gaps))


def value(check: Any, cells: Mapping[str, Cell]) -> Value:
    """The mean of the measure of `of`, exact: the paper's is of the same queries."""
    return _exact(float(np.mean(list(cells["of"].measure(check.measure).values()))))


def _exact(number: float, *parts: float) -> Value:
    return Value(number, number, number, parts=parts)


def ratio(check: Any, cells: Mapping[str, Cell]) -> Value:
    """A figure of `of` over that of `than`, where the two may be compared.

    Bytes and operations are exact. A percentile of latencies has the interval of resampled queries,
    where the raw latencies are stored beside both records.
    """
    of, than = (cells[role] for role in ("of", "than"))
    cost = BY_PLACE.get(check.figure)
    reason = obstacle(cost, of.record, than.record) if cost is not None else ""
    reason = reason or _unsteady(cost, of, than)
    if reason:
        raise ResultsError(f"their {check.figure} is not compared: {reason}.")
    parts = of.figure(check.figure), than.figure(check.figure)
    if parts[1] == 0:
        raise ResultsError(f"{than.name}: its {check.figure} is 0, so a ratio to it is undefined.")
    counted = check.figure.endswith(COUNTED)
    if not counted and (cost is None or cost.of_machine):
        return _percentiles(check.figure, of, than, parts)
    return _exact(parts[0] / parts[1], *parts)


def _unsteady(cost: Cost | None, *cells: Cell) -> str:
    """The reason why a latency of these records proves nothing; empty where there is none."""
    flags = [flag for cell in cells if cost and (flag := cost.flag(cell.record))]
    return next((flag.note for flag in flags if flag is not CACHED), "")


def _percentiles(figure: str, of: Cell, than: Cell, parts: tuple[float, float]) -> Value:
    """The ratio of two percentiles of latency, `profile.latency.<part>.p<rank>_ms`."""
    ratio = Value(parts[0] / parts[1], parts=parts)
    found = re.fullmatch(r"profile\.latency\.(\w+)\.p(\d+)_ms", figure)
    stored = [cell.latencies(found[1]) for cell in (of, than)] if found else []
    raw = [ms for ms in stored if ms is not None]
    if found is None or len(raw) < 2:
        return ratio
    rank, rng = float(found[2]), np.random.default_rng(SEED)
    drawn = [np.percentile(rng.choice(ms, (RESAMPLES, len(ms))), rank, axis=1) for ms in raw]
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn[0] / drawn[1], [tail, 100 - tail])
    return ratio._replace(low=float(low), high=float(high), n=len(raw[0]))


def overlap(check: Any, cells: Mapping[str, Cell]) -> Value:
    """Share of the k best of `truth` among the `at` best of `of`, less that of `than`."""
    truth = cells["truth"].rankings
    found = [
        _overlaps(truth, cells[role].rankings, check.k, check.at or check.k)
        for role in ("of", "than")
        if role in cells
    ]
    if len(found) == 1:
        return _mean(found[0])
    return _mean_difference(found[0], found[1])


def _overlaps(
    truth: Mapping[str, list[str]], found: Mapping[str, list[str]], k: int, at: int
) -> Floats:
    """For each query, the share of the k best of `truth` among the `at` best of `found`."""
    return np.array(
        [
            len(set(best[:k]) & set(found.get(query, [])[:at])) / len(best[:k])
            for query, best in truth.items()
        ]
    )


def candidates(check: Any, cells: Mapping[str, Cell]) -> Value:
    """Candidates of `of` over those of `than` by which `level` of the k best of `truth` are found.

    The number is the smallest depth at which that share of the (query, document) pairs, over all
    queries, is among the candidates. What a run does not hold counts as deeper than all. Where
    `truth` is `judgements`, the pairs are all that are judged relevant.
    """
    truth = cells["truth"].rankings if "truth" in cells else cells["of"].relevant
    k = check.k or max(map(len, truth.values()))
    of, than = (_ranks(truth, cells[role].rankings, k) for role in ("of", "than"))

    def counted(rows: Ints) -> float:
        return _depth(of[rows], check.level) / _depth(than[rows], check.level)

    parts = _depth(of, check.level), _depth(than, check.level)
    if not np.isfinite(parts[1]):
        raise ResultsError(f"{cells['than'].name}: its run never reaches {check.level:.0%}.")
    return _resampled(counted, len(of), parts)


def _ranks(truth: Mapping[str, list[str]], found: Mapping[str, list[str]], k: int) -> Floats:
    """(n_queries, k) the rank in `found` of each of the k best of `truth`; inf where it is not,
    NaN where `truth` has fewer."""
    ranks = np.full((len(truth), k), np.nan)
    for row, (query, best) in enumerate(truth.items()):
        places = {doc: rank for rank, doc in enumerate(found.get(query, []), start=1)}
        ranks[row, : len(best[:k])] = [places.get(doc, np.inf) for doc in best[:k]]
    return ranks


def _depth(ranks: Floats, level: float) -> float:
    known = np.sort(ranks[~np.isnan(ranks)])
    return float(known[int(np.ceil(level * len(known))) - 1])


def hubness(check: Any, cells: Mapping[str, Cell]) -> Value:
    """The skewness of the k-occurrence of `of` less that of `than`.

    N_k(d) is in how many queries' k best d is; its skewness over all documents measures hubness
    (Radovanovic, Nanopoulos, Ivanovic, JMLR 11, 2010).
    """
    size = cells["of"].record.task.n_documents
    if size is None:
        raise ResultsError(f"{cells['of'].name}: the record does not say how many documents.")
    queries = list(cells["of"].rankings)
    of, than = (_best(cells[role].rankings, queries, check.k) for role in ("of", "than"))

    def measured(best: Ints) -> float:
        return skewness(k_occurrence(best, size, check.k))

    for role, best in (("of", of), ("than", than)):
        if np.isnan(measured(best)):
            raise ResultsError(
                f"{cells[role].name}: every document is found equally often, so that the skewness"
                " is undefined."
            )

    def counted(rows: Ints) -> float:
        return measured(of[rows]) - measured(than[rows])

    return _resampled(counted, len(of), (measured(of), measured(than)))


def _best(rankings: Mapping[str, list[str]], queries: list[str], k: int) -> Ints:
    """(n_queries, k) numbers that stand for the documents; -1 pads."""
    numbers: dict[str, int] = {}
    best = np.full((len(queries), k), -1, dtype=np.int64)
    for row, query in enumerate(queries):
        own = [numbers.setdefault(doc, len(numbers)) for doc in rankings.get(query, [])[:k]]
        best[row, : len(own)] = own
    return best


def _resampled(function: Callable[[Ints], float], n: int, parts: tuple[float, float]) -> Value:
    """`function` of all `n` rows, with its interval over resamples of them."""
    rng = np.random.default_rng(SEED)
    drawn = np.array([function(rng.integers(n, size=n)) for _ in range(RESAMPLES)])
    tail = (1 - LEVEL) / 2
    found = function(np.arange(n))
    if np.isnan(drawn).any():
        return Value(found, n=n, parts=parts)
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return Value(found, float(low), float(high), n, parts)


def growth(check: Any, cells: Mapping[str, Cell]) -> Value:
    """The exponent of a figure per text over the tokens of a text, less that of `than`.

    The figure is one of a phase, measured on the check's task and those `along`, on one machine.
    """
    records = [one.record for cell in cells.values() for one in cell.cells]
    if len(set(map(conditions, records))) > 1:
        raise ResultsError(f"their {check.figure} is not compared: the machines or threads differ.")
    found = [cells[role].cells for role in ("of", "than") if role in cells]
    points = [[cell.point(check.figure) for cell in own] for own in found]
    if any([tokens for tokens, _ in own] != [tokens for tokens, _ in points[0]] for own in points):
        raise ResultsError("the two methods read other numbers of tokens of the same texts.")
    sizes, values = np.array(points).transpose(2, 0, 1)
    if not (sizes > 0).all() or not (values > 0).all():
        raise ResultsError(f"{check.figure} or the tokens are 0, so their growth is undefined.")
    parts = tuple(exponent(sizes[0], own).value for own in values)
    if len(parts) == 1:
        return Value(*exponent(sizes[0], values[0]), n=len(points[0]))
    return Value(*exponent(sizes[0], values[0] / values[1]), n=len(points[0]), parts=parts)


def multiply_adds(check: Any, cells: Mapping[str, Cell]) -> Value:
    """Multiply-adds of a query of `of`, as a share of comparing it with all whole vectors."""
    record = cells["of"].record
    work = record.method.description.get("multiply_adds")
    dims = record.method.parameters.get("dims")
    if not isinstance(work, dict) or not dims or record.task.n_documents is None:
        raise ResultsError(f"{cells['of'].name}: the record does not say its multiply-adds.")
    n = record.task.n_documents
    parts = float(n * work["per_document"] + work["per_query"]), float(n * dims[-1])
    return _exact(parts[0] / parts[1], *parts)


CHECKS: dict[str, Check] = {
    "difference": Check(difference, ("than", "measure"), "{measure} of {of} − of {than}"),
    "share": Check(share, ("than", "measure"), "{measure} of {of} ÷ of {than}"),
    "widening": Check(
        widening,
        ("than", "measure", "than_on"),
        "{measure} of {than} − of {of}, less that on {than_on}",
    ),
    "value": Check(value, ("measure",), "{measure} of {of}"),
    "ratio": Check(ratio, ("than", "figure"), "{figure} of {of} ÷ of {than}"),
    "overlap": Check(overlap, ("truth", "k"), "share of the {k} best of {truth} in {of}"),
    "candidates": Check(
        candidates,
        ("than", "truth", "level"),
        "candidates for {level} of {pairs}: {of} ÷ {than}",
    ),
    "growth": Check(growth, ("figure", "along"), "exponent of {figure} by tokens of a text: {of}"),
    "multiply-adds": Check(multiply_adds, (), "multiply-adds of {of} ÷ of comparing whole vectors"),
    "hubness": Check(hubness, ("than", "k"), "skewness of N_{k}: {of} − {than}"),
}
