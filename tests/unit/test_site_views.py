"""Views of the site: means over tasks, their tests, and sweeps of one parameter."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankstone.leaderboards.costs import BY_NAME
from rankstone.leaderboards.curves.sweeps import sweeps
from rankstone.leaderboards.marks import not_below
from rankstone.leaderboards.site.model import Site, make_site
from rankstone.leaderboards.site.tables import Row, decision_table, method_notes
from rankstone.leaderboards.site.views import groups, views_of
from rankstone.leaderboards.suites import interval_of_mean
from rankstone.leaderboards.trained import TAGS
from rankstone.results.record import TRAINING, Measure, RunRecord, TruncationInfo
from rankstone.results.store import ResultStore
from rankstone.specs import SuiteSpec
from rankstone.workspace import Workspace
from tests.records import make_record
from tests.stored_values import store_values

TASKS = ("a/one", "a/two", "b/three")


def site_of(records: list[RunRecord], methods: Any = None) -> Site:
    return make_site([(record, Path("/nowhere/r.json")) for record in records], methods or {})


def suite(*members: str | SuiteSpec, name: str = "s") -> SuiteSpec:
    return SuiteSpec(name=name, description="", members=members, measures=("nDCG@10",))


def test_a_suite_averages_as_it_states_and_leaves_out_what_is_incomplete() -> None:
    scales = {"x/a": (1.0, 0.5, 0.8), "x/b": (0.9, 0.9, 0.9), "x/c": (0.2, 0.3)}
    records = [
        make_record(method, task, scale=scale)
        for method, values in scales.items()
        for task, scale in zip(TASKS, values, strict=False)
    ]
    inner = suite("a/one", "a/two", name="inner")
    views = views_of(site_of(records), [suite(inner, "b/three")])
    assert views.first is not None
    assert [view.name for view in views.means] == ["s", "mean of 2 tasks"]
    assert views.first is views.means[0]
    base = {r.method.name: r for r in records if r.task.name == "a/one"}
    one = base["x/a"].measures["nDCG@10"].mean
    expected = {"x/a": one * (0.25 * 1.0 + 0.25 * 0.5 + 0.5 * 0.8), "x/b": one * 0.9}
    assert {row.entry.method: row.mean for row in views.first.rows} == pytest.approx(expected)
    assert [row.entry.method for row in views.means[1].rows] == ["x/b", "x/a", "x/c"]
    assert {name: len(view.rows) for name, view in views.boards.items()} == {
        "a/one": 3, "a/two": 3, "b/three": 2,
    }  # fmt: skip


def test_a_suite_with_a_task_that_nothing_ran_on_is_not_shown() -> None:
    views = views_of(site_of([make_record("x/a", "a/one")]), [suite("a/one", "a/missing")])
    assert views.means == []
    assert views.first is not None
    assert views.first.name == "a/one"
    assert views_of(site_of([]), []) == (None, (), {})


def test_the_interval_of_a_mean_adds_variances() -> None:
    same = Measure(mean=0.5, low=0.4, high=0.6, n=10)
    assert interval_of_mean([same], [1.0]) == pytest.approx((0.4, 0.6))
    low, high = interval_of_mean([same] * 4, [0.25] * 4)
    assert (low, high) == pytest.approx((0.45, 0.55))
    assert math.isnan(interval_of_mean([same, Measure(mean=0.5, n=10)], [0.5, 0.5])[0])
    # Of normal means the ends are those of the normal mean of both.
    ends = [
        Measure(mean=m, low=m - 1.96 * s, high=m + 1.96 * s, n=9)
        for m, s in ((0.3, 0.03), (0.6, 0.04))
    ]
    draws = np.random.default_rng(0).normal([0.3, 0.6], [0.03, 0.04], (200_000, 2)) @ [0.5, 0.5]
    assert interval_of_mean(ends, [0.5, 0.5]) == pytest.approx(
        tuple(np.quantile(draws, [0.025, 0.975])), abs=1e-3
    )


def stored(folder: Path, values: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Store records with per-query values of each method, by task."""
    store = ResultStore(folder)
    found = []
    for method, tasks in values.items():
        cells = {}
        for task, given in tasks.items():
            record = store_values(folder, make_record(method, task), given)
            cells[task] = (record, store.path(record))
        found.append(cells)
    return found


def test_what_is_not_significantly_below_is_found_over_all_tasks_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sizes = {"a/one": 5, "b/three": 6}
    best = {task: rng.random(n).round(2).tolist() for task, n in sizes.items()}
    lower = {
        task: (np.array(v) - rng.random(len(v)).round(2) / 4).tolist() for task, v in best.items()
    }
    near = {
        task: (np.array(v) + rng.normal(0, 0.2, len(v)).round(2)).tolist()
        for task, v in best.items()
    }
    first, *others = stored(tmp_path / "r", {"m/best": best, "m/lower": lower, "m/near": near})
    shares = {"a/one": 0.3, "b/three": 0.7}

    def p(other: dict[str, list[float]]) -> float:
        """Return p by all signs of all queries."""
        parts = [shares[t] / sizes[t] * (np.array(best[t]) - other[t]) for t in sizes]
        d = np.concatenate(parts)
        sums = np.array(list(itertools.product((1, -1), repeat=len(d)))) @ np.abs(d)
        tails = [(sums >= sign * d.sum() - 1e-12).mean() for sign in (1, -1)]
        return float(min(1.0, 2 * min(tails)))

    low, high = sorted((p(lower), p(near)))
    assert p(lower) == low < 0.01 < high
    for level, expected in ((2 * low * 0.99, [True, True]), (2 * low * 1.01, [False, True]),
                            (high * 1.01, [False, False])):  # fmt: skip
        assert not_below(first, others, shares, level=level) == expected


def test_nothing_is_tested_without_values_per_query(tmp_path: Path) -> None:
    record = make_record("m/a", "a/one")
    bare = {"a/one": (record, tmp_path / "r.json")}
    assert not_below(bare, [bare], {"a/one": 1.0}) is None
    [kept] = stored(tmp_path / "r", {"m/b": {"a/one": [0.1, 0.2]}})
    assert not_below(kept, [bare], {"a/one": 1.0}) == [False]


def with_parameters(method: str, **parameters: Any) -> RunRecord:
    record = make_record(method)
    info = record.method.model_copy(update={"parameters": parameters})
    return record.model_copy(update={"method": info})


def test_methods_that_differ_in_one_number_are_a_sweep() -> None:
    records = [
        with_parameters("ann/i", probes=16, lists="auto"),
        with_parameters("ann/i+probes=4", probes=4, lists="auto"),
        with_parameters("ann/i+probes=1", probes=1, lists="auto"),
        with_parameters("ann/i+probes=4+lists=9", probes=4, lists=9),
        with_parameters("ann/other", probes=2, lists="auto"),
        with_parameters("ann/i+flag", probes=16, lists="auto", flag=True),
    ]
    found = sweeps(records, {})
    assert {name: (step.parameter, step.value) for name, step in found.items()} == {
        "ann/i": ("probes", 16), "ann/i+probes=4": ("probes", 4), "ann/i+probes=1": ("probes", 1),
    }  # fmt: skip
    assert len({step.curve for step in found.values()}) == 1


def test_definitions_of_one_model_are_a_sweep() -> None:
    names = [
        "ann/minilm-ivf", "ann/minilm-ivf-1-probe", "ann/minilm-ivf-4-probes", "ann/minilm-hnsw",
        "compressed/minilm-opq24", "compressed/minilm-opq96", "compressed/minilm-pq24",
    ]  # fmt: skip
    methods = {name: Workspace.find().method(name) for name in names}
    records = [
        make_record(name).model_copy(update={"method": make_record(name).method.of(methods[name])})
        for name in names
    ]
    found = sweeps(records, methods)
    curves: dict[str, dict[str, float]] = {}
    for name, step in found.items():
        curves.setdefault(step.curve, {})[name.rpartition("/")[2]] = step.value
    assert sorted(curves.values(), key=len) == [
        {"minilm-opq24": 24, "minilm-opq96": 96},
        {"minilm-ivf": 16, "minilm-ivf-1-probe": 1, "minilm-ivf-4-probes": 4},
    ]


def test_costs_of_a_mean_are_of_one_machine_and_of_all_tasks() -> None:
    records = [make_record(method, task) for method in ("x/a", "x/b") for task in TASKS[:2]]
    other = records[-1].environment.model_copy(update={"threads": 7})
    records[-1] = records[-1].model_copy(update={"environment": other})
    view = views_of(site_of(records), []).means[0]
    latency, index = BY_NAME["p95 latency"], BY_NAME["index"]
    assert [row.entry.method for row in groups(view, latency)[0]] == ["x/a"]
    assert len(groups(view, latency)) == 1  # the other has two numbers of threads
    one = index.of(records[0])
    assert one is not None
    assert [row.cost(index) for row in view.rows] == [2 * one, 2 * one]


def test_one_note_stands_for_all_methods_that_it_holds_for() -> None:
    cut = TruncationInfo(texts=10, texts_cut=5, tokens=100, tokens_cut=20)
    less = cut.model_copy(update={"texts_cut": 1})
    trained = make_record("x/d", scale=0.5)
    info = trained.method.model_copy(update={"trained_on": [TRAINING]})
    site = site_of(
        [
            *(make_record(name, truncation={"document": cut}) for name in ("x/a", "x/b")),
            make_record("x/c", truncation={"document": less}),
            trained.model_copy(update={"method": info}),
        ]
    )
    [board] = site.boards
    found = method_notes(board)
    assert sorted([entry.method for entry in entries] for _, entries in found) == [
        ["x/a", "x/b"], ["x/c"], ["x/d"],
    ]  # fmt: skip
    assert "50.0% of documents" in next(text for text, entries in found if len(entries) == 2)
    tags = {row.name: row.keys["data-training"] for row in board_rows(site)}
    assert tags == {"x/a": "not known", "x/b": "not known", "x/c": "not known", "x/d": TAGS[0]}


def board_rows(site: Site) -> list[Row]:
    first = views_of(site, []).first
    assert first is not None
    return decision_table(site, first).rows
