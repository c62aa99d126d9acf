"""The site as text: contents of pages, escaping, links."""

from __future__ import annotations

import json
import random
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

import rankstone
from rankstone.errors import MissingExtraError, ResultsError
from rankstone.leaderboards.costs import BY_NAME, pareto
from rankstone.leaderboards.site import build as built
from rankstone.leaderboards.site import vega as plots
from rankstone.leaderboards.site.citations import linked
from rankstone.leaderboards.site.environment import environment
from rankstone.leaderboards.site.fronts import front_rows
from rankstone.leaderboards.site.model import Site, Texts, make_site
from rankstone.leaderboards.site.pairs import Rankings, made
from rankstone.leaderboards.site.record_page import ORDER, _percentages
from rankstone.leaderboards.site.tables import board_table
from rankstone.leaderboards.site.views import groups, of_board
from rankstone.results.per_query import read_per_query
from rankstone.results.record import ErrorInfo, RunRecord
from rankstone.results.side_files import side_file
from rankstone.results.store import ResultStore, Staged
from rankstone.workspace import Workspace
from tests.conftest import ROOT
from tests.records import demo_records, make_record
from tests.site_records import many_records, store_with_runs

HOSTILE = "dense/<script>alert(1)</script>&\"'"


class Parsed(HTMLParser):
    """A page, parsed by the standard library."""

    VOID = ("meta", "link", "input", "path", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["script"]:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip bundling the plot library, which takes seconds; one test and the browser's bundle it."""
    monkeypatch.setattr(plots, "vega", lambda: "// the library\n")


def site_of(records: list[RunRecord], folder: Path = Path("/nowhere"), **more: Any) -> Site:
    store = ResultStore(folder)
    return make_site([(record, store.path(record)) for record in records], {}, **more)


def pages(folder: Path) -> dict[str, Parsed]:
    return {
        path.relative_to(folder).as_posix(): Parsed(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
    }


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[RunRecord], Path]:
    folder = tmp_path_factory.mktemp("results")
    scratch = tmp_path_factory.mktemp("scratch")
    return store_with_runs(folder, [*demo_records(), make_record(HOSTILE)], scratch), folder


def test_every_link_leads_to_a_page_and_nothing_is_loaded_from_elsewhere(
    stored: tuple[list[RunRecord], Path], tmp_path: Path
) -> None:
    built.build(site_of(*stored), tmp_path / "site")
    found = pages(tmp_path / "site")
    assert len(found) == 5 + 1 + 2 + 2 + 7 + 10
    for name, page in found.items():
        for tag, attrs in page.tags:
            for key in ("href", "src", "xlink:href"):
                target = attrs.get(key)
                if target is None or target == "data:," or target == "#main":
                    continue
                assert ":" not in target, (name, tag, target)
                path, _, anchor = target.partition("#")
                file = ((tmp_path / "site" / name).parent / path).resolve()
                assert file.is_file(), target
                at_row = anchor and path.endswith("matrix.html")
                assert not at_row or f'id="{anchor}"' in file.read_text(), target


def test_all_text_is_escaped(stored: tuple[list[RunRecord], Path], tmp_path: Path) -> None:
    def look(record: RunRecord, queries: Any, documents: Any) -> Texts:
        bad = "<img src=x onerror=alert(1)> </script><script>alert(2)</script>"
        return Texts(dict.fromkeys(queries, bad), dict.fromkeys(documents, bad), {})

    records, folder = stored
    error = ErrorInfo(kind="<b>", message="<i>no</i>", traceback="<u>")
    failed = make_record(HOSTILE, "a/<task>", status="failed", error=error)
    built.build(site_of([*records, failed], folder, look=look), tmp_path / "site")
    for name, page in pages(tmp_path / "site").items():
        assert not {"img", "i", "u", "task"} & {tag for tag, _ in page.tags}, name
        assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")], name
        kinds = [attrs.get("type") for attrs in page.of("script") if "src" not in attrs]
        assert set(kinds) <= {None, "application/json"}
        assert kinds.count(None) == 1  # the one that reads the chosen colours
    pair = next((tmp_path / "site" / "pairs").glob("*script*")).read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in pair
    assert "<img" not in pair


def test_data_inside_a_page_cannot_end_its_script() -> None:
    value = {"name": "</script><!-- & ' \u2028", "n": 0.25}
    drawn = environment().from_string("{{ value|tojson }}")
    inner = drawn.render(value=value)
    assert not set("<>&'\u2028") & set(inner)
    assert json.loads(inner) == value
    with pytest.raises(ValueError):
        drawn.render(value=float("nan"))


def test_no_template_switches_escaping_off() -> None:
    loader = environment().loader
    assert loader is not None
    for name in loader.list_templates():
        text, _, _ = loader.get_source(environment(), name)
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", text), name


def test_a_name_that_no_page_gives_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="speling"):
        environment().from_string("{{ speling }}").render()


def test_the_same_records_in_any_order_give_the_same_bytes(
    stored: tuple[list[RunRecord], Path], tmp_path: Path
) -> None:
    records, folder = stored
    shuffled = random.Random(1).sample(records, len(records))
    for name, order in (("a", records), ("b", shuffled)):
        built.build(site_of(order, folder), tmp_path / name)
    one, other = (
        {p.relative_to(tmp_path / name): p.read_bytes()
         for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("a", "b")
    )  # fmt: skip
    assert one == other


def test_the_leaderboard_shows_missing_and_failed_cells(tmp_path: Path) -> None:
    built.build(site_of(demo_records()), tmp_path / "site")
    index, matrix = (
        (tmp_path / "site" / name).read_text() for name in ("index.html", "matrix.html")
    )
    assert matrix.count("<td>–</td>") == 2 + 3  # of cells, and of the mean over both
    assert ">oom</a></td>" in matrix
    assert "stopped at 4.0 GiB, the limit of --memory-limit" in index
    for page in (index, matrix):
        heads = [attrs for tag, attrs in Parsed(page).tags if tag == "th"]
        assert {attrs["scope"] for attrs in heads} == {"col", "row"}
        assert all(attrs.get("aria-sort") for attrs in heads if attrs["scope"] == "col")


def test_two_sets_of_data_are_two_columns() -> None:
    site = site_of([make_record(), make_record("a/b", corpus="another")])
    assert [board.task for board in site.boards] == ["stdlib/functions"] * 2
    assert len({board.name for board in site.boards}) == 2
    early = make_record(status="failed")
    early = early.model_copy(update={"task": early.task.model_copy(update={"sha256": {}})})
    (board,) = site_of([make_record(), early]).boards
    assert [len(board.entries), len(board.stale)] == [1, 1]


def test_pareto_optimal_is_what_nothing_dominates() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [(float(x), float(y)) for x, y in rng.integers(0, 6, (12, 2))]
        expected = [
            not any(
                a <= x and b >= y and (a, b) != (x, y) for a, b in points
            )
            for x, y in points
        ]  # fmt: skip
        assert pareto(points) == expected


def test_pareto_optimal_points_are_named_the_best_first() -> None:
    site = site_of(many_records(200, 1))
    view = of_board(site, site.boards[0])
    rows, _ = front_rows(site, view, view.rows, BY_NAME["p95 latency"])
    front = [row for row in rows if row["front"]]
    named = [row for row in front if row["short"]]
    assert 1 <= len(named) <= len(front)
    assert max(front, key=lambda row: row["y"]) in named
    assert not [row for row in rows if row["short"] and not row["front"]]


def test_points_of_methods_with_one_last_part_have_full_names() -> None:
    site = site_of([make_record(name) for name in ("a/same", "b/same", "b/other")])
    view = of_board(site, site.boards[0])
    rows, _ = front_rows(site, view, view.rows, BY_NAME["p95 latency"])
    assert {row["name"] for row in rows} == {"a/same", "b/same", "other"}


def test_costs_of_two_machines_are_never_in_one_plot(tmp_path: Path) -> None:
    other = make_record("dense/wordllama-256", machine="0a0b0c0d")
    built.build(site_of([make_record(), other]), tmp_path / "site")
    (page,) = (tmp_path / "site" / "tasks").glob("*.html")
    figures = Parsed(page.read_text()).of("figure")
    assert [json.loads(f["data-words"] or "")["x"] for f in figures] == [
        "p95 latency, ms", "p95 latency, ms", "peak memory, MiB", "peak memory, MiB",
        "index in memory, MiB",
    ]  # fmt: skip


def with_phases(record: RunRecord, *, from_cache: float, rss: int, threads: int = 2) -> RunRecord:
    profile = record.profile
    assert profile is not None
    phases = {
        name: phase.model_copy(update={"from_cache": from_cache if "encode" in name else 0.0})
        for name, phase in profile.phases.items()
    }
    profile = profile.model_copy(update={"phases": phases, "peak_rss_bytes": rss})
    environment = record.environment.model_copy(update={"threads": threads})
    return record.model_copy(update={"profile": profile, "environment": environment})


def test_reused_costs_and_other_numbers_of_threads_do_not_compete(tmp_path: Path) -> None:
    sizes = {"a/reused": (1.0, 1, 2), "a/small": (0.0, 2, 2), "a/large": (0.0, 3, 2),
             "a/other": (0.0, 1, 4)}  # fmt: skip
    records = [
        with_phases(make_record(name), from_cache=cached, rss=gib << 30, threads=threads)
        for name, (cached, gib, threads) in sizes.items()
    ]
    site = site_of(records)
    (board,) = site.boards
    view = of_board(site, board)
    table = board_table(site, board, view)
    at = [head.name for head in table.heads].index("peak RSS") - 1
    cells = {row.name: row.cells[at] for row in table.rows}
    assert cells["a/reused"].text == "1,020†"
    assert [name for name, cell in cells.items() if cell.style == "best"] == ["a/small"]
    found = groups(view, BY_NAME["peak RSS"])
    assert [len(rows) for rows in found] == [3, 1]
    rows, unit = front_rows(site, view, found[0], BY_NAME["peak RSS"])
    assert unit == "GiB"
    assert {row["name"]: row["front"] for row in rows} == {
        "reused": False, "small": True, "large": False,
    }  # fmt: skip
    assert [row["name"] for row in rows if "†" in row["text"]] == ["reused"]


def test_pairs_are_bounded_and_the_members_of_a_method_have_theirs(
    stored: tuple[list[RunRecord], Path],
) -> None:
    records, folder = stored
    site = site_of(records, folder)
    board = site.boards[0]
    assert [len(made(site, board, best)[0]) for best in (0, 2, 3, 5)] == [0, 1, 3, 10]
    definitions = {
        "hybrid/rrf-bm25-wordllama-minilm": Workspace.find().method("rrf-bm25-wordllama-minilm")
    }
    site = make_site([(r, ResultStore(folder).path(r)) for r in records], definitions)
    pairs, faults = made(site, site.boards[0], 0)
    assert faults == []
    assert {frozenset({pair.of.method, pair.than.method}) for pair in pairs} == {
        frozenset({"hybrid/rrf-bm25-wordllama-minilm", member})
        for member in ("lexical/bm25", "dense/wordllama-256", "dense/all-minilm-l6-v2")
    }


def test_a_pair_counts_what_its_files_hold(stored: tuple[list[RunRecord], Path]) -> None:
    records, folder = stored
    site = site_of(records, folder)
    for pair in made(site, site.boards[0], 5)[0]:
        values = [
            dict(zip(read.query_ids, read.measures["nDCG@10"].tolist(), strict=True))
            for read in (
                read_per_query(e.file("per_query") or Path()) for e in (pair.of, pair.than)
            )
        ]
        gains = {query: values[0][query] - values[1][query] for query in values[0]}
        counted = [sum(g > 0 for g in gains.values()), sum(g == 0 for g in gains.values())]
        assert [pair.paired.wins, pair.paired.ties] == counted
        assert sum(len(dot.queries) for dot in pair.dots) == len(gains)
        largest = max(gains, key=lambda query: gains[query])
        assert gains[largest] <= 0 or pair.moved[0].of - pair.moved[0].than == gains[largest]


def test_rankings_are_in_the_order_of_the_protocol(tmp_path: Path) -> None:
    import zstandard

    folder = tmp_path / "results"
    (record, other) = store_with_runs(folder, [make_record(), make_record("a/b")], tmp_path)
    run = tmp_path / "other.zst"
    lines = "".join(f"q{n} Q0 {d} 1 {s} t\n" for n in range(8)
                    for d, s in (("a", 1), ("c", 2), ("é", 2), ("b", 2), ("d", 3)))  # fmt: skip
    run.write_bytes(zstandard.compress(lines.encode()))
    values = side_file(record, ResultStore(folder).path(record), "per_query")
    record = ResultStore(folder).write(record, Staged(run=run, per_query=values))
    site = site_of([record, other], folder)
    pairs, _ = made(site, site.boards[0], 2)
    entry = next(e for e in site.entries if e.method == record.method.name)
    query = pairs[0].moved[0].query
    assert Rankings().of(entry, query) == ["d", "é", "c", "b", "a"]


def test_a_page_without_texts_gives_the_reason(
    stored: tuple[list[RunRecord], Path], tmp_path: Path
) -> None:
    built.build(site_of(*stored), tmp_path / "site")
    page = next((tmp_path / "site" / "pairs").glob("*.html")).read_text()
    assert "Ids only: the data set is not available" in page


def test_records_without_files_have_no_pairs_and_no_histogram(tmp_path: Path) -> None:
    built.build(site_of(demo_records()), tmp_path / "site")
    assert not (tmp_path / "site" / "pairs").exists()
    assert "No two records have values per query" in (tmp_path / "site" / "pairs.html").read_text()
    page = next((tmp_path / "site" / "records").glob("stdlib-functions-lexical*")).read_text()
    assert "the raw latencies are not stored beside the record" in page
    assert "rankstone run lexical/bm25 --on stdlib/functions --seed 0 --force" in page


def test_only_a_site_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    built.build(site_of(demo_records()), folder)
    (folder / "old.html").write_text("old")
    built.build(site_of([]), folder)
    assert not (folder / "old.html").exists()
    assert "No records yet" in (folder / "index.html").read_text()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    with pytest.raises(ResultsError, match=r"holds something else.*rankstone site -o FOLDER"):
        built.build(site_of([]), other)
    assert [path.name for path in tmp_path.rglob("*.txt")].count("chapter.txt") == 1
    assert not list(tmp_path.glob(".*"))


def test_a_missing_extra_names_its_install_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plots._compiled.cache_clear()
    for name in ("altair", "vl_convert"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rankstone\[site\]'"):
        built.build(site_of([]), tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_slugs_are_safe_and_never_the_same() -> None:
    methods = ["a/B", "a/b", "a/b.", "../../etc", "a/" + "x" * 300, "a/ü", HOSTILE]
    site = site_of([make_record(method) for method in methods[:3] + methods[4:]])
    found = [entry.page for entry in site.entries]
    assert len(set(found)) == len(found)
    assert all(set(page) <= set("abcdefghijklmnopqrstuvwxyz0123456789-/.") for page in found)
    assert all(len(Path(page).name) < 130 for page in found)


def test_the_api_finds_definitions_and_reports_unavailable_data(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    methods = ("lexical/bm25", "dense/all-minilm-l6-v2", "dense/wordllama-256")
    store_with_runs(folder, [make_record(method, "no/such") for method in methods], tmp_path)
    found = rankstone.site(tmp_path / "site", results=folder, pairs=2, cache=tmp_path / "cache")
    assert found[1:] == (3, 1, 3, 1, 0)
    assert 'data-licence="Apache-2.0"' in (found.folder / "matrix.html").read_text()
    (pair,) = (found.folder / "pairs").iterdir()
    assert "no/such" in re.findall(r"not available.*?</p>", pair.read_text(), re.DOTALL)[0]
    with pytest.raises(ResultsError, match="--results"):
        rankstone.site(tmp_path / "other", results=tmp_path / "nothing")


BUDGET_KB = {
    "index.html": 190, "means/*": 190, "matrix.html": 36, "datasets.html": 110, "tasks/*": 180,
    "records/*": 12, "assets/*": 70,
}  # fmt: skip
"""Largest page of each kind, and the sum of the assets beside the library of plots."""


def test_many_records_have_each_a_page_within_the_budget(tmp_path: Path) -> None:
    folder = built.build(site_of(many_records(30, 4)), tmp_path / "site").folder
    sizes = {kind: [p.stat().st_size / 1000 for p in folder.glob(kind)] for kind in BUDGET_KB}
    assert [len(sizes[kind]) for kind in ("records/*", "tasks/*", "means/*")] == [120, 4, 2]
    sizes["assets/*"] = [sum(sizes["assets/*"])]
    assert {kind: max(size) for kind, size in sizes.items() if max(size) > BUDGET_KB[kind]} == {}


def record_text(record: RunRecord, folder: Path, definitions: Any = {}) -> str:  # noqa: B006
    site = make_site([(record, Path("/nowhere"))], definitions)
    built.build(site, folder / "site")
    (page,) = (folder / "site" / "records").iterdir()
    return page.read_text()


def test_sums_of_this_run_and_of_reused_phases_agree_with_the_rows(tmp_path: Path) -> None:
    page = record_text(with_phases(make_record(), from_cache=1.0, rss=1 << 30), tmp_path)
    table = page.partition("Time and memory of each phase")[2].partition("</table>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    *phases, sums = [[float(cell.strip("%") or 0) for cell in row[:3]] for row in rows]
    assert all((row[0] == 0) != (row[2] == 0) for row in phases)
    totals = [sum(column) for column in zip(*phases, strict=True)]
    assert totals == pytest.approx(sums, abs=1e-9)
    order = [n for n in ORDER if n.replace("_", " ") in table]
    at = [table.index(f"</span>{name.replace('_', ' ')}</th>") for name in order]
    assert at == sorted(at)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=8))
def test_percentages_add_up(values: list[float]) -> None:
    shares = _percentages(values)
    whole = sum(values)
    assert sum(round(10 * share) for share in shares) == (1000 if whole else 0)
    for share, value in zip(shares, values, strict=True):
        assert not whole or abs(share - 100 * value / whole) <= 0.1 + 1e-9


def test_a_record_of_uncommitted_code_is_not_checked_out(tmp_path: Path) -> None:
    for dirty in (False, True):
        record = make_record()
        here = record.environment.model_copy(update={"git_commit": "c0ffee", "git_dirty": dirty})
        record = record.model_copy(update={"environment": here, "label": "our BM25"})
        method = Workspace.find().method("bm25")
        method = method.model_copy(update={"citation": "Doe, arXiv:2407.03618, 2024"})
        page = record_text(record, tmp_path, {"lexical/bm25": method})
        assert ("git checkout c0ffee" in page) is not dirty
        assert ("uncommitted changes on commit c0ffee: no commit" in page) is dirty
    assert "our BM25 <span" in page
    assert "our BM25, shown instead of lexical/bm25 in tables" in page
    assert (
        '<a href="https://arxiv.org/abs/2407.03618" rel="noreferrer">arXiv:2407.03618</a>' in page
    )
    folded = page.partition("<details")[2]
    assert "rankstone run lexical/bm25" in folded
    assert ">k1<" in folded


def test_citations_of_all_definitions_keep_their_words() -> None:
    definitions = "".join(path.read_text() for path in (ROOT / "runners").rglob("*.toml"))
    texts = re.findall(r'^citation = "(.*)"$', definitions, re.MULTILINE)
    assert len(texts) > 100
    for text in texts:
        pieces = linked(text)
        assert "".join(piece.text for piece in pieces) == text
        assert all(piece.url.startswith("https://") for piece in pieces if piece.url)
        assert ("arXiv:" in text) <= any("arxiv.org/abs/" in piece.url for piece in pieces)
    assert linked("A, CVPR 2011, 10.1109/CVPR.2011.5995432")[1].url == (
        "https://doi.org/10.1109/CVPR.2011.5995432"
    )
    assert linked("openreview.net/forum?id=Zl")[0].url == "https://openreview.net/forum?id=Zl"
