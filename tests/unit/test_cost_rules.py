"""Costs: one table for all readers of records, and one rule for comparability."""

from __future__ import annotations

import pytest

from rankstone.leaderboards.costs import (
    BY_COLUMN,
    BY_NAME,
    BY_PLACE,
    COMPARED,
    COSTS,
    figures,
    obstacle,
    pareto,
    pareto_optimal,
)
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.frame import FIGURE_COLUMNS, leaderboard
from rankstone.leaderboards.marks import letters, marked
from rankstone.leaderboards.pages.leaderboard import page
from rankstone.results.record import RunRecord
from rankstone.runners.objects.function import SearchFunction
from tests.records import METHODS, make_paid_record, make_record

CACHED = "hybrid/rrf-bm25-wordllama-minilm"
LATENCY, INDEX, RSS = (BY_NAME[name] for name in ("p95 latency", "index", "peak RSS"))


def with_threads(record: RunRecord, threads: int) -> RunRecord:
    environment = record.environment.model_copy(update={"threads": threads})
    return record.model_copy(update={"environment": environment})


def test_names_columns_and_record_paths_are_unique() -> None:
    assert len(BY_NAME) == len(COSTS)
    assert len(BY_COLUMN) == sum(bool(cost.column) for cost in COSTS)
    assert len(BY_PLACE) == sum(bool(cost.place) for cost in COSTS)
    assert set(BY_COLUMN) == set(FIGURE_COLUMNS)
    assert set(COMPARED) <= set(BY_NAME)


def test_the_frame_has_the_figures_of_the_record() -> None:
    record = make_paid_record()
    (row,) = leaderboard([record]).to_dict("records")
    for name, cost in BY_COLUMN.items():
        assert row[name] == cost.of(record), name
    assert LATENCY.of(record) == record.profile.latency.total.p95_ms
    assert INDEX.of(make_record(profile=None)) is None
    assert row["billed_tokens"] == 2_000_500
    assert row["price_usd"] == pytest.approx(0.04001)
    assert BY_COLUMN["price_usd"].of(make_record()) is None


def test_what_happens_inside_a_search_function_is_unknown() -> None:
    record = make_record()
    method = record.method.model_copy(update={"description": {"class": SearchFunction.__name__}})
    function = record.model_copy(update={"method": method})
    unknown = {name for name, cost in BY_NAME.items() if cost.of(function) != cost.of(record)}
    assert unknown == {"documents per second", "median encoding of a query"}
    assert all(BY_NAME[name].of(function) is None for name in unknown)
    assert all(BY_NAME[name].of(record) is not None for name in unknown)
    assert "independent latencies" not in render(page([record, function]), "markdown")


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (make_record(), set(COMPARED)),
        (make_record(machine="ffffffff"), {"index"}),
        (with_threads(make_record(), 1), {"index"}),
        (make_record(CACHED), set(COMPARED) - {"peak RSS"}),
        (make_record(profile=None), set()),
    ],
)
def test_costs_are_compared_on_one_machine_with_as_many_threads_and_own_encodings(
    other: RunRecord, names: set[str]
) -> None:
    mine = make_record()
    for pair in ((mine, other), (other, mine)):
        assert {figure.name.partition(",")[0] for figure in figures(*pair)} == names


def test_the_obstacle_is_named() -> None:
    mine = make_record()
    assert "threads" in obstacle(LATENCY, mine, with_threads(mine, 1))
    assert "cache" in obstacle(RSS, mine, make_record(CACHED))
    assert obstacle(RSS, mine, mine) == ""


def test_pareto_is_taken_among_what_may_be_compared() -> None:
    fast, good = make_record("lexical/bm25"), make_record("dense/all-minilm-l6-v2")
    assert pareto_optimal(LATENCY, [fast, good]) == [True, True]
    worse = make_record("lexical/bm25", scale=0.5)
    assert pareto_optimal(LATENCY, [fast, worse]) == [True, False]
    assert pareto_optimal(LATENCY, [fast, with_threads(worse, 1)]) == [True, True]
    assert pareto_optimal(INDEX, [fast, with_threads(worse, 1)]) == [True, False]


def test_a_reused_figure_is_never_pareto_optimal_and_beats_none() -> None:
    cached = make_record(CACHED, scale=2.0)
    assert pareto_optimal(RSS, [cached, make_record("dense/all-minilm-l6-v2")]) == [False, True]
    assert pareto_optimal(LATENCY, [cached]) == [True]


def test_more_is_better_where_the_cost_says_so() -> None:
    assert pareto([(1.0, 0.5), (2.0, 0.5)]) == [True, False]
    rate = BY_NAME["documents per second"]
    quick, slow = make_record("lexical/bm25"), make_record("dense/all-minilm-l6-v2", scale=0.1)
    assert rate.of(quick) > rate.of(slow)
    assert pareto_optimal(rate, [quick, slow]) == [True, False]


@pytest.mark.parametrize(
    ("values", "options", "marks"),
    [
        ((0.5, 0.4, 0.3), {}, ["best", "", ""]),
        ((0.5, 0.4, 0.3), {"second": True}, ["best", "second", ""]),
        ((0.5, 0.4), {"second": True}, ["best", ""]),
        ((0.50001, 0.5, 0.4), {}, ["best", "best", ""]),
        ((0.5, 0.4, 0.3), {"higher_is_better": False}, ["", "", "best"]),
        ((0.5, None), {}, ["", ""]),
        ((0.5, 0.5), {}, ["best", "best"]),
        ((), {}, []),
    ],
)
def test_the_best_and_the_second_are_marked(values: tuple, options: dict, marks: list) -> None:
    texts = ["-" if value is None else f"{value:.3f}" for value in values]
    assert marked(texts, values, **options) == marks


def test_what_does_not_compete_is_not_marked_though_it_reads_like_the_best() -> None:
    assert marked(["1†", "1", "2"], [None, 1.0, 2.0], higher_is_better=False) == ["", "best", ""]
    assert marked(["1", "1", "2"], [None, 1.0, 2.0], higher_is_better=False) == ["", "best", ""]


def test_letters_continue_after_z_and_never_repeat() -> None:
    found = letters(800)
    assert found[:3] == ["a", "b", "c"]
    assert found[25:29] == ["z", "aa", "ab", "ac"]
    assert found[701:703] == ["zz", "aaa"]
    assert len(set(found)) == 800


def test_the_records_have_a_reused_one() -> None:
    assert METHODS[CACHED]["from_cache"] == 1.0
