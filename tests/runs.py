"""Runs as dictionaries, the form that most tools take, made into the lines of a run file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rankstone.results.trec_run import Run


def lines_of(run: Mapping[str, Mapping[str, float]], dtype: str = "float64") -> Run:
    """The lines in the order of the dictionaries."""
    documents = list(dict.fromkeys(d for results in run.values() for d in results))
    rows = [(q, documents.index(d), s) for q, r in enumerate(run.values()) for d, s in r.items()]
    query, document, score = zip(*rows, strict=True) if rows else ((), (), ())
    return Run(
        list(run),
        documents,
        np.array(query, dtype=np.int64),
        np.array(document, dtype=np.int64),
        np.array(score, dtype=dtype),
    )
