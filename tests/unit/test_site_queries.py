"""Pages of queries: their data against the files of the records, and the size budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankstone.errors import RankstoneWarning
from rankstone.leaderboards.site import queries as module
from rankstone.leaderboards.site.model import Entry, Site, Texts, make_site
from rankstone.leaderboards.site.pairs import Rankings
from rankstone.leaderboards.site.queries import Queries, collected, files
from rankstone.results.per_query import read_per_query
from rankstone.results.store import ResultStore
from rankstone.results.trec_run import read_run
from tests.records import make_record
from tests.site_records import store_with_runs

NO_TEXTS = Texts({}, {}, {})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder, scratch = (tmp_path_factory.mktemp(name) for name in ("results", "scratch"))
    given = [make_record(f"a/{name}", scale=scale) for name, scale in (("x", 1.0), ("y", 1.2))]
    store_with_runs(folder, [*given, make_record("a/z", scale=0.5)], scratch)
    return make_site(ResultStore(folder).stored(), {})


def script(text: str) -> Any:
    return json.loads(text.partition("=")[2].removesuffix(";\n"))


def written(site: Site, found: Queries, texts: Texts = NO_TEXTS) -> dict[str, str]:
    return {Path(name).name: text for name, text in files(site, found, Rankings(), texts)}


def test_values_and_ranks_are_those_of_the_files(site: Site) -> None:
    (board,) = site.boards
    found = collected(board)
    assert found is not None
    text = written(site, found)
    values, part = script(text["values.js"]), script(text["0.js"])
    assert [method["name"] for method in values["methods"]] == ["a/y", "a/x", "a/z"]
    for place, entry in enumerate(found.values):
        read = read_per_query(entry.file("per_query") or Path())
        assert read.query_ids == list(found.ids)
        assert values["values"][place] == pytest.approx(read.measures["nDCG@10"], abs=5e-4)
        run = read_run(entry.file("run") or Path())
        for row, query in enumerate(found.ids):
            lines = zip(run.query, run.document, run.score, strict=True)
            scored = [(s, run.document_ids[d]) for q, d, s in lines if run.query_ids[q] == query]
            shown = [part["docs"][doc][0] for doc in part["ranks"][row][place]]
            assert shown == [document for _, document in sorted(scored, reverse=True)[:10]]


def test_texts_and_labels_are_of_the_documents_shown(site: Site) -> None:
    found = collected(site.boards[0])
    assert found is not None
    texts = Texts(
        {"q0": "ü" * 400}, {"d1": "one  document"}, {"q0": {"d1": 2, "other": 1, "d2": 0}}
    )
    text = written(site, found, texts)
    part = script(text["0.js"])
    shown = dict(part["docs"])
    assert shown.pop("d1") == "one document"
    assert set(shown.values()) == {""}
    labelled = {part["docs"][int(doc)][0]: label for doc, label in part["labels"][0].items()}
    ranked = {id for entry in found.values for id in Rankings().of(entry, "q0") or ()}
    assert labelled == {id: label for id, label in (("d1", 2), ("d2", 0)) if id in ranked}
    assert part["relevant"] == [2, *[0] * 7]
    (page,) = (value for name, value in text.items() if name.endswith(".html"))
    assert f"{'ü' * 150}…" in page
    assert "limit of" not in page


def test_limits_of_the_page_are_stated(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LISTED": 4, "VALUES": 9, "RANKS": 41, "DOCUMENT_BYTES": 10}.items():
        monkeypatch.setattr(module, name, value)
    found = collected(site.boards[0])
    assert found is not None
    assert (len(found.ids), len(found.values), len(found.ranked)) == (4, 2, 1)
    text = written(site, found)
    (page,) = (value for name, value in text.items() if name.endswith(".html"))
    limits = (
        "first 4 of 8 queries",
        "values of the best 2 of 3 methods",
        "best 1 method",
        "without texts",
    )
    assert all(limit in page for limit in limits)
    assert all(len(ranks) == 1 for ranks in script(text["0.js"])["ranks"])


class Many(Rankings):
    """Rankings without equal documents: the largest that fit pages."""

    def of(self, entry: Entry, query: str) -> list[str]:
        return [f"{entry.method}-{query}-{rank:02d}".rjust(40, "d") for rank in range(10)]


LIMITS = ("BUDGET", "LISTED", "VALUES", "RANKS", "QUERY_BYTES", "DOCUMENT_BYTES")


@pytest.mark.parametrize(
    ("methods", "queries", "part"),
    [
        (2, 12_500, 50),
        (9, 60, 50),
        pytest.param(2, 12_500, 1, marks=pytest.mark.slow),
        pytest.param(90, 300, 1, marks=pytest.mark.slow),
    ],
)
def test_the_pages_of_a_data_set_keep_their_size(
    methods: int, queries: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LIMITS:
        monkeypatch.setattr(module, name, getattr(module, name) // part)
    records = [make_record(f"a/m{n}", scale=1 - n / 1000) for n in range(methods)]
    site = make_site([(record, Path("/nowhere")) for record in records], {})
    (board,) = site.boards
    ids = tuple(f"{n}".rjust(40, "q") for n in range(queries))[: module.LISTED]
    values = dict.fromkeys(ids, 0.123)
    kept = board.done[: module.VALUES // len(ids)]
    found = Queries(board=board, ids=ids, total=queries, values=dict.fromkeys(kept, values))
    text = "long text " * 60
    texts = Texts(dict.fromkeys(ids, text), _Everything(text), {})
    size = sum(len(value.encode()) for _, value in files(site, found, Many(), texts))
    assert module.BUDGET / 4 < size < module.BUDGET


class _Everything(dict[str, str]):
    """Mapping with the same text for every key."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get(self, key: str, default: Any = None) -> Any:
        return self.text


def test_records_without_values_have_no_page() -> None:
    site = make_site([(make_record(), Path("/nowhere"))], {})
    assert collected(site.boards[0]) is None


def test_a_record_that_cannot_be_shown_is_reported(site: Site) -> None:
    entry = site.boards[0].done[0]
    record = entry.record.model_copy(
        update={"task": entry.record.task.model_copy(update={"headline": "R@100"})}
    )
    (board,) = make_site([(record, entry.path)], {}).boards
    with pytest.warns(RankstoneWarning, match="not on the page of queries: .*R@100"):
        assert collected(board) is None
