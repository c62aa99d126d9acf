"""Rank agreement of a few collections with a whole suite, over published values of methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.leaderboards.papers.rank_agreement import Agreement, agreement, signs, tau_b
from rankstone.leaderboards.papers.tables import PaperSpec, RowSpec

CLOSE = 0.02
"""Methods whose means differ by less count as close."""
EXTERNAL = ", external"
"""Suffix of rows whose values MTEB took from the model's authors."""


class Systems(NamedTuple):
    """Published methods with a value on every task of a suite."""

    names: tuple[str, ...]
    """`<table>: <row>`."""
    tasks: tuple[str, ...]
    values: Floats
    """(n_systems, n_tasks)"""

    def mean(self, tasks: Iterable[str]) -> Floats:
        """Return the (n_systems,) means over some of the tasks."""
        return np.asarray(self.values[:, [self.tasks.index(task) for task in tasks]].mean(axis=1))


class Quick(NamedTuple):
    """Comparison of a quick suite with the full one."""

    tasks: tuple[str, ...]
    full: Agreement
    """Agreement with the mean of all tasks, the quick ones included."""
    rest: Agreement
    """Agreement with the mean of the other tasks."""
    better: float
    """Fraction of choices of the same number of tasks with a higher tau-b with their rest."""
    in_order: float
    """Fraction of pairs of methods that the quick suite orders as the full mean does."""
    close_in_order: float
    """The same for pairs closer than `CLOSE`."""


def systems(papers: Mapping[str, PaperSpec], tasks: Sequence[str]) -> Systems:
    """Return the distinct systems of `papers` that have an nDCG@10 on each of `tasks`.

    Rows of one table with the same method and name are one system. Only the first system of each
    method defined here counts, and only the first with equal values, which are quotations.
    """
    found: dict[object, tuple[str, tuple[float, ...]]] = {}
    for name, values, method in _complete(papers, tasks):
        if values not in (known for _, known in found.values()):
            found.setdefault(method or name, (name, values))
    names, rows = zip(*found.values(), strict=True)
    return Systems(names, tuple(tasks), np.array(rows))


def _complete(
    papers: Mapping[str, PaperSpec], tasks: Sequence[str]
) -> Iterator[tuple[str, tuple[float, ...], str | None]]:
    for table, paper in sorted(papers.items()):
        merged: dict[tuple[str, str | None], dict[str, float]] = {}
        for row in paper.rows:
            if row.measure == "nDCG@10":
                merged.setdefault((_plain(row), row.method), {}).update(row.expected)
        for (name, method), values in merged.items():
            if values.keys() >= set(tasks):
                yield f"{table}: {name}", tuple(values[task] for task in tasks), method


def _plain(row: RowSpec) -> str:
    return row.row.removesuffix(EXTERNAL)


def quick(found: Systems, tasks: Sequence[str], choices: Floats) -> Quick:
    """Compare the ranking of the systems by the mean of some tasks with that by all tasks.

    Args:
        choices: tau-b of all choices of the same number of tasks, from `of_choices`.
    """
    fast, full = found.mean(tasks), found.mean(found.tasks)
    rest = agreement(fast, found.mean(_others(found, tasks)))
    same = signs(fast) * signs(full) > 0
    pairs = np.triu(np.ones_like(same), 1)
    close = pairs & (np.abs(full[:, None] - full[None, :]) < CLOSE)
    return Quick(
        tuple(tasks),
        agreement(fast, full),
        rest,
        float((choices > rest.tau.value).mean()),
        float(same[pairs].mean()),
        float(same[close].mean()),
    )


def of_choices(found: Systems, size: int) -> Floats:
    """Return tau-b of every choice of `size` tasks with the mean of the others."""
    once = np.ones((1, len(found.names)))
    chosen = combinations(found.tasks, size)
    means = ((found.mean(tasks), found.mean(_others(found, tasks))) for tasks in chosen)
    return np.array([tau_b(one, other, once)[0] for one, other in means])


def _others(found: Systems, tasks: Sequence[str]) -> list[str]:
    return [task for task in found.tasks if task not in tasks]


def sampled(papers: Mapping[str, PaperSpec]) -> int:
    """Return the number of published values on samples of BEIR (NanoBEIR)."""
    rows = [row for paper in papers.values() for row in paper.rows]
    names = [name for row in rows for name in (*row.expected, *row.elsewhere)]
    return sum("nano" in name.lower() for name in names)
