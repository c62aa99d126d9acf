"""Measures outside the core, computed by ir_measures.

Its providers break ties in different ways. Therefore they get scores that strictly decrease in
Rankstone's order, so that all measures of a record are computed from the same ranking.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankstone.benchmarks.dataset import Judgements
from rankstone.errors import MeasureError, did_you_mean
from rankstone.evaluation.measures import Values
from rankstone.evaluation.ranking import Ranking


@dataclass(frozen=True, kw_only=True)
class LongTail:
    """An ir_measures measure outside the core."""

    kind: str
    """Name in the registry of ir_measures."""
    cutoff: int | None
    parameters: tuple[tuple[str, str], ...] = ()
    """Names and values as Python literals, sorted, including the cutoff if there is one."""

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.kind}({inside})" if inside else self.kind


def build(
    name: str, kind: str, parameters: Mapping[str, Any], at: Any, core: Iterable[str]
) -> LongTail:
    """Return the measure `kind` with `parameters` and cutoff `at`, validated by ir_measures.

    Raises a MeasureError if it is unknown, a parameter is wrong, or no provider is installed.
    """
    import ir_measures

    registry: dict[str, Any] = ir_measures.measures.registry
    if kind not in registry:
        hint = did_you_mean(kind, [*registry, *core])
        raise MeasureError(f"Measure '{name}' is not known.{hint} Names are those of ir_measures.")
    values = dict(parameters)
    if at is not None:
        values[registry[kind].AT_PARAM] = at
    literals = tuple(sorted((key, repr(value)) for key, value in values.items()))
    measure = LongTail(kind=kind, cutoff=values.get("cutoff"), parameters=literals)
    _check_supported(name, _oracle(measure, relevance=1))
    return measure


def _check_supported(name: str, oracle: Any) -> None:
    import ir_measures

    try:
        oracle.validate_params()
    except (AssertionError, TypeError) as error:
        raise MeasureError(f"Measure '{name}': {error}. Correct the parameters.") from error
    able = [p for p in ir_measures.DefaultPipeline.providers if p.supports(oracle)]
    if any(provider.is_available() for provider in able):
        return
    mends = [mend for p in able if (mend := p.install_instructions())]
    hint = f" To install one: {' or '.join(mends)}" if mends else ""
    raise MeasureError(f"Measure '{name}': no provider of it is installed.{hint}")


def _oracle(measure: LongTail, relevance: int) -> Any:
    """Return ir_measures' measure, with the task's `relevance` as threshold if it sets none."""
    import ir_measures

    kind = ir_measures.measures.registry[measure.kind]
    values = {name: ast.literal_eval(text) for name, text in measure.parameters}
    threshold = kind.SUPPORTED_PARAMS.get("rel")
    if threshold is not None and isinstance(threshold.default, int):
        values.setdefault("rel", relevance)
    return kind(**values)


def per_query(
    measures: Collection[LongTail],
    ranking: Ranking,
    judgements: Judgements,
    relevance: int,
) -> dict[LongTail, Values]:
    """Return (n_queries,) values of each measure; ir_measures' default without results."""
    import ir_measures

    oracles = {measure: _oracle(measure, relevance) for measure in measures}
    results: dict[Any, Values] = {o: np.zeros(ranking.n_queries) for o in oracles.values()}
    try:
        for metric in ir_measures.iter_calc(list(results), _qrels(judgements), _run(ranking)):
            results[metric.measure][int(metric.query_id)] = metric.value
    except (RuntimeError, ValueError, OSError, subprocess.SubprocessError) as error:
        names = ", ".join(str(measure) for measure in measures)
        raise MeasureError(f"ir_measures could not compute {names}: {error}") from error
    return {measure: results[oracle] for measure, oracle in oracles.items()}


def _qrels(judgements: Judgements) -> dict[str, dict[str, int]]:
    """Return qrels with rows and positions as ids, and one id per document outside the corpus."""
    qrels: dict[str, dict[str, int]] = {}
    columns = (judgements.query.tolist(), judgements.document.tolist(), judgements.label.tolist())
    for entry, (query, document, label) in enumerate(zip(*columns, strict=True)):
        name = str(document) if document >= 0 else f"outside-{entry}"
        qrels.setdefault(str(query), {})[name] = label
    # pytrec_eval 0.5.11 crashes the process for a query with only negative labels.
    for labels in qrels.values():
        if max(labels.values()) < 0:
            labels.update(dict.fromkeys(labels, 0))
    return qrels


def _run(ranking: Ranking) -> dict[str, dict[str, float]]:
    run: dict[str, dict[str, float]] = {}
    width = ranking.docs.shape[1]
    for query, (docs, n) in enumerate(zip(ranking.docs, ranking.n_results().tolist(), strict=True)):
        if n:
            names = map(str, docs[:n].tolist())
            run[str(query)] = dict(zip(names, map(float, range(width, width - n, -1)), strict=True))
    return run
