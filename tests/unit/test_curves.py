"""Grids of settings and records under load: labels, equal recall, and curves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rankstone.leaderboards.board_spec import TableSpec
from rankstone.leaderboards.boards import board
from rankstone.leaderboards.curves.curves import Curves, of_grids, of_load
from rankstone.leaderboards.curves.drawn import pictures
from rankstone.leaderboards.curves.equal_recall import at_equal_recall
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.frame import leaderboard
from rankstone.leaderboards.labels import plot_names, with_grids
from rankstone.leaderboards.loads.page import load_tables
from rankstone.leaderboards.pages.board import apart
from rankstone.leaderboards.site.board_page import defined_pages
from rankstone.leaderboards.site.model import make_site
from rankstone.leaderboards.site.record_page import record_page
from rankstone.leaderboards.site.vega import plotted
from rankstone.results.record import (
    ColdStart,
    Load,
    LoadPlan,
    LoadTrial,
    Percentiles,
    RunRecord,
)
from rankstone.workspace import Workspace
from tests.records import make_record

TASK = "beir/scifact"


def setting(engine: str, ef: int, recall: float, search_ms: float, **more: Any) -> RunRecord:
    """Return a record of a grid; the definition has ef = 64."""
    mark = "" if ef == 64 else f"+parameters-{ef:08x}"
    record = make_record(f"engines/{engine}{mark}", TASK)
    profile: Any = record.profile
    search = profile.latency.search.model_copy(update={"p50_ms": search_ms})
    latency = profile.latency.model_copy(update={"search": search})
    index = profile.index.model_copy(update={"recall_10": recall})
    profile = profile.model_copy(update={"latency": latency, "index": index, **more})
    parameters = {"m": 16, "ef_search": ef}
    method = record.method.model_copy(update={"parameters": parameters})
    return record.model_copy(update={"profile": profile, "method": method})


GRID = [
    setting("one", 16, 0.90, 0.1),
    setting("one", 32, 0.96, 0.3),
    setting("one", 64, 0.99, 0.2),
    setting("other", 16, 0.80, 0.1),
    setting("other", 32, 0.85, 0.15),
    make_record("dense/exact", TASK),
]


def test_settings_of_a_grid_are_labelled_by_what_varies() -> None:
    assert [record.label for record in with_grids(GRID)] == [
        "one ef_search=16", "one ef_search=32", "one ef_search=64",
        "other ef_search=16", "other ef_search=32", None,
    ]  # fmt: skip
    own = GRID[0].model_copy(update={"label": "Ours"})
    assert with_grids([own, *GRID[1:]])[0].label == "Ours"
    assert with_grids(GRID[:1])[0].label is None
    long = GRID[1].method.model_copy(update={"parameters": {"m": 16, "ef_search": "x" * 99}})
    two = with_grids([GRID[0], GRID[1].model_copy(update={"method": long})])
    assert [record.label for record in two] == ["one ef_search=16", None]
    frame = leaderboard(GRID)
    assert set(frame["label"].dropna()) == {r.label for r in with_grids(GRID)} - {None}
    site = make_site([(record, Path("r.json")) for record in GRID], {})
    assert {entry.name for entry in site.entries} >= {"one ef_search=16", "dense/exact"}


def test_labels_of_methods_with_one_last_part_differ_and_are_whole() -> None:
    records = [setting("one", 16, 0.9, 0.1), setting("one", 32, 0.9, 0.1)]
    records += map(of_another, records[:2])
    own, other = "engines/one ef_search", "mine/one ef_search"
    labels = [f"{own}=16", f"{own}=32", f"{other}=16", f"{other}=32"]
    assert plot_names(with_grids(records)) == labels


def of_another(record: RunRecord, **more: Any) -> RunRecord:
    """The record of a method of another folder with the same last part of its name."""
    name = record.method.name.replace("engines/", "mine/")
    method = record.method.model_copy(update={"name": name})
    return record.model_copy(update={"method": method, **more})


def test_names_in_plots_are_short_where_they_differ() -> None:
    one = make_record("engines/one", TASK)
    assert plot_names([one, make_record("mine/two", TASK), one]) == ["one", "two", "one"]
    assert plot_names([one, make_record("two", TASK)], whole=True) == ["engines/one", "two"]
    assert plot_names([one, of_another(one)]) == ["engines/one", "mine/one"]
    ours = one.model_copy(update={"label": "ours"})
    labelled = [ours, of_another(one, label="ours"), of_another(one, label="two")]
    assert plot_names(labelled) == ["ours (engines/one)", "ours (mine/one)", "two"]


def test_methods_with_one_last_part_share_no_curve_colour_or_name() -> None:
    pytest.importorskip("altair")
    grid = [*GRID, *map(of_another, GRID[:3])]
    load = [loaded("engines/one"), loaded("mine/one"), loaded("lexical/bm25")]
    for drawn, lines in ((of_grids(grid, {}), 3), (of_load(load), 3)):
        curves = list(drawn)
        for one in curves:
            assert {"engines/one", "mine/one"} < set(one.names)
            texts = [p.text for p in one.points if "one" in p.name]
            assert all(text.startswith(("engines/one", "mine/one")) for text in texts)
        shown = plotted(curves)
        assert len({colour for _, colour in shown.legend}) == len(shown.legend) == lines


def test_many_curves_differ_in_colour_or_shape() -> None:
    pytest.importorskip("altair")
    many = [loaded(f"engines/{letter}") for letter in "abcdefghijklmno"]
    (picture,) = pictures(of_load(many), "p", "c")
    marks = re.findall(r'role-legend-symbol".*?d="([^"]+)" fill="(#\w+)"', picture.svg)
    assert len(set(marks)) == len(marks) == 15


def test_a_method_alone_is_labelled_by_what_differs_from_its_definition() -> None:
    record = setting("minilm-usearch", 16, 0.9, 0.1)
    methods = Workspace.find().defined(["engines/minilm-usearch"])
    changed = record.method.parameters | {"ef_construction": 200}
    method = record.method.model_copy(update={"parameters": changed})
    (shown,) = with_grids([record.model_copy(update={"method": method})], methods)
    assert shown.label == "minilm-usearch m=16 ef_search=16"
    same = method.model_copy(update={"parameters": methods["engines/minilm-usearch"].parameters})
    (shown,) = with_grids([record.model_copy(update={"method": same})], methods)
    assert shown.label is None, "its digest is of a member or a scorer"


def test_curves_of_a_task_have_the_labels_of_the_whole_board() -> None:
    """Each task has a setting of its own, which a grid of only that task would not label."""
    pytest.importorskip("altair")
    other = loaded("engines/one+parameters-00000010")
    changed = other.method.model_copy(update={"parameters": {"m": 16, "ef_search": 16}})
    elsewhere = other.task.model_copy(update={"name": "classic/cranfield"})
    stored = [(r, Path("/nowhere/r.json")) for r in (
        GRID[2], other.model_copy(update={"method": changed, "task": elsewhere}),
    )]  # fmt: skip
    tasks = (TASK, "classic/cranfield")
    spec = TableSpec(name="b", title="B", tasks=tasks, apart=True)
    drawn = apart(spec, stored, tasks, {}).pictures["b-classic-cranfield-load.svg"]
    assert "one ef_search=16" in drawn
    assert "+parameters" not in drawn


def test_a_board_shows_each_engine_once_at_equal_recall() -> None:
    stored = [(record, Path("/nowhere/r.json")) for record in GRID]
    costs = ("recall of exact search", "median search of a query")
    spec = TableSpec(
        name="b", title="B", tasks=(TASK,), costs=costs, recall=0.95, apart=True, sort=costs[1]
    )
    page = apart(spec, stored, [TASK], {})
    assert [row["label"] for row in page.rows] == ["other ef_search=32", "one ef_search=64", None]
    assert {row["task"] for row in page.rows} == {TASK}
    site = make_site(stored, {}, defined={"b": page})
    ((path, drawn),) = defined_pages(site)
    assert path == "boards/b.html"
    assert f'href="../{site.boards[0].page}"' in drawn
    assert drawn.count("one ef_search=64") == 2  # its row, and the note that names it
    text = render(page, "markdown")
    assert drawn.count("<u>") == text.count("<ins>") > 0, "the second best, as its note states"
    assert "at least 95% of the 10 best of exact search" in text
    assert "engines/other: no setting reaches a recall of 0.95" in text
    assert list(page.pictures) == ["b-beir-scifact-recall.svg"]
    assert "other" in page.pictures["b-beir-scifact-recall.svg"]


def test_notes_name_methods_by_their_labels() -> None:
    def few(record: RunRecord) -> RunRecord:
        profile: Any = record.profile
        total = profile.latency.total.model_copy(update={"p99_ms": None})
        latency = profile.latency.model_copy(update={"total": total})
        return record.model_copy(
            update={"profile": profile.model_copy(update={"latency": latency})}
        )

    stored = [(few(GRID[0]), Path("a")), (GRID[1], Path("b"))]
    spec = TableSpec(name="b", title="B", tasks=(TASK,), costs=("p99 latency",))
    made = board(spec, stored, tasks=spec.tasks)
    assert any(note.startswith("no p99 latency of one ef_search=16:") for note in made.notes)


def test_a_setting_that_lacks_a_task_is_not_the_cheapest() -> None:
    cells = {(r.method.name, task): (r, Path()) for r in GRID[1:3] for task in ("a", "b")}
    quick = GRID[2].method.name
    assert {method for method, _ in at_equal_recall(cells, 0.95)[0]} == {quick}
    del cells[quick, "b"]
    assert at_equal_recall(cells, 0.95)[0].keys() == {(GRID[1].method.name, t) for t in "ab"}


def points(curves: Curves, name: str) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in curves.points if point.name == name]


def test_a_grid_is_one_curve_of_each_engine() -> None:
    drawn = list(of_grids(GRID, {}))
    by_title = {one.y.partition(",")[0]: one for one in drawn}
    assert {*by_title} == {"queries per second", "p99 latency", "index", "nDCG@10"}
    one = by_title["p99 latency"]
    assert [x for x, _ in points(one, "one")] == [0.90, 0.96, 0.99]
    assert len({point.curve for point in one.points}) == 2
    assert [point.step for point in one.points] == [16, 32, 64, 16, 32]


def percentiles(p50: float, p99: float | None) -> Percentiles:
    return Percentiles(p50_ms=p50, p99_ms=p99, max_ms=99, mean_ms=p50)


def loaded(method: str, least: float | None = 7, cold_p50: float | None = 8) -> RunRecord:
    plan = LoadPlan(rates=(10, 20), clients=(1, 2))
    common: dict[str, Any] = {"n": 500, "wall_s": 10, "same": 1.0, "overlap": 1.0}
    trials = [
        LoadTrial(rate=20, throughput=20, latency=percentiles(4, 9), **common),
        LoadTrial(rate=10, throughput=10, latency=percentiles(3, least), **common),
        LoadTrial(rate=20, throughput=20, latency=percentiles(6, 11), **common),
        LoadTrial(clients=1, throughput=100, latency=percentiles(1, 2), **common),
        LoadTrial(clients=2, throughput=150, latency=percentiles(1, 2), **common),
    ]
    cold = ColdStart(
        ready_s=1.5, first_answer_s=2.25, n=100, same=1.0,
        first=Percentiles(p50_ms=cold_p50, max_ms=99, mean_ms=9), steady=percentiles(4, None),
    )  # fmt: skip
    record = make_record(method, TASK)
    profile: Any = record.profile
    load = Load(plan=plan, queries=100, k=10, trials=trials, cold=cold)
    return record.model_copy(update={"profile": profile.model_copy(update={"load": load})})


def test_load_is_drawn_against_rates_and_clients() -> None:
    records = [loaded("engines/one"), loaded("lexical/bm25"), make_record("dense/exact", TASK)]
    rate, clients = of_load(records)
    of_one = [(p.x, p.y, p.curve, p.style) for p in rate.points if p.name == "one"]
    assert of_one == [
        (10, 7, "p99_ms", "solid"), (10, 3, "p50_ms", "dashed"),
        (20, 10, "p99_ms", "solid"), (20, 5, "p50_ms", "dashed"),
    ]  # fmt: skip
    short, _ = of_load([loaded("engines/one", least=None)])
    assert short.y == "latency, ms: p95, dashed p50"
    assert {point.curve for point in short.points} == {"p50_ms"}
    assert points(clients, "bm25") == [(1, 100), (2, 150)]
    assert list(of_load(records[2:])) == []


def test_the_site_shows_curves_and_trials_of_a_record() -> None:
    pytest.importorskip("altair")
    site = make_site([(loaded("engines/one"), Path("/nowhere/r.json"))], {})
    text = record_page(site, site.entries[0], "tasks/t.html", None, "")
    under = text[text.index("<h2>Under load</h2>") :]
    assert under.count("<svg") == 2
    assert "<td>20.0</td>" in under
    assert "first answer 2.25 s after the start" in under
    assert "first 100 queries is 8.00 ms (p50; maximum 99.0)" in under


def test_the_mean_of_a_cold_start_is_not_shown_as_its_median() -> None:
    """With fewer than six queries no median has a finite interval, and the record has none."""
    (table,) = load_tables(loaded("engines/one", cold_p50=None))
    assert "first 100 queries is 9.00 ms (mean; maximum 99.0), and 4.00 ms" in table.notes[-1]
