"""Boards as definitions, in `leaderboards/*.toml` or by a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from rankstone.errors import DefinitionError, MeasureError, did_you_mean
from rankstone.evaluation.measure_names import canonical
from rankstone.leaderboards.costs import BY_NAME, OTHERS
from rankstone.strict import Spec, build_spec


class TableSpec(Spec):
    """One board: the content of `leaderboards/<name>.toml`."""

    name: str
    title: str
    records: str = ""
    """Folder of the records, below the workspace; empty: those of the command."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """Tasks, or suites, which stand for their tasks."""
    methods: tuple[str, ...] = ()
    """Only these, in full; empty: all that have a record."""
    families: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    """Only methods whose weights have one of these licences."""
    zero_shot: bool = False
    """Leave out methods that learnt from the training split of a task."""
    machine: str | None = None
    measure: str | None = None
    """None: each task's headline."""
    measures: tuple[str, ...] = ()
    """Several measures of each task, instead of `measure`."""
    mean: bool = True
    """A column with the mean over the tasks; of one suite, as the suite itself averages."""
    costs: tuple[str, ...] = ()
    intervals: bool = False
    significance: bool = False
    """Letters of the methods that a value is significantly above of."""
    level: float = Field(default=0.05, gt=0, lt=1)
    sort: str = "mean"
    """`mean`, `method`, a task, a measure, or a cost."""
    top: int = Field(default=0, ge=0)
    """Only so many rows, the first of that order; 0: all."""
    recall: float | None = Field(default=None, gt=0, le=1)
    """Keep one method of each grid: that with the lowest median latency of search, among those that
    find this share of the first results of exact search on every task."""
    apart: bool = False
    """A table for each task, with curves of grids and of load below it."""

    @property
    def columns(self) -> tuple[str | None, ...]:
        """Measures of each task; None is its headline."""
        return self.measures or (self.measure,)

    @model_validator(mode="after")
    def _columns_are_known(self) -> TableSpec:
        for name in self.costs:
            if name not in BY_NAME:
                raise ValueError(f"no cost '{name}'.{did_you_mean(name, BY_NAME)}")
        if self.measure is not None and self.measures:
            raise ValueError("'measure' and 'measures' are both stated; keep one")
        known = {"mean", "method", *self.costs, *self.tasks, *self.measures}
        if self.sort not in known:
            raise ValueError(f"no column '{self.sort}' to sort by.{did_you_mean(self.sort, known)}")
        return self


def stated(
    tasks: Sequence[str], measures: Sequence[str], columns: Sequence[str], **options: Any
) -> TableSpec:
    """Return the board of a command, whose `columns` are costs, `mean`, and more measures.

    Raises: DefinitionError, where a column is none of these.
    """
    shown = measures_among([*measures, *columns])
    costs = [OTHERS[name].name for name in columns if name in OTHERS]
    values = {"name": "board", "tasks": tasks, "measures": shown, "costs": costs, **options}
    return build_spec(TableSpec, {"mean": "mean" in columns, **values}, Path("leaderboard"))


def restated(
    spec: TableSpec, measures: Sequence[str], columns: Sequence[str], **options: Any
) -> TableSpec:
    """Return a defined board with `options`, and with `columns` instead of its own.

    Raises: DefinitionError, as for `stated`.
    """
    if not (measures or columns):
        return build_spec(TableSpec, {**spec.model_dump(), **options}, Path("leaderboard"))
    own = [name for name in spec.columns if name]
    kept = {"records", "methods", "families", "licences", "zero_shot", "machine", "title",
            "intervals", "significance", "level", "top", "recall", "apart"}  # fmt: skip
    return stated(
        spec.tasks, measures or own, columns, **{**spec.model_dump(include=kept), **options}
    )


def measures_among(columns: Iterable[str]) -> list[str]:
    """Return the measures among columns, each once, as records name them."""
    given = (name for name in columns if name not in OTHERS and name != "mean")
    return list(dict.fromkeys(map(_measure, given)))


def _measure(name: str) -> str:
    try:
        return canonical(name)
    except MeasureError as error:
        costs = f"Columns of costs (--columns): mean, {', '.join(BY_NAME)}."
        raise DefinitionError(f"{error} {costs}{did_you_mean(name, BY_NAME)}") from None
