"""Writing of the site's folder; the output is deterministic."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rankstone.errors import ResultsError
from rankstone.files import temporary_folder
from rankstone.leaderboards.site import queries, vega
from rankstone.leaderboards.site.board_page import (
    board_page,
    datasets_page,
    decision_page,
    defined_pages,
    index_page,
    matrix_page,
)
from rankstone.leaderboards.site.environment import asset
from rankstone.leaderboards.site.model import Site, Texts
from rankstone.leaderboards.site.pair_page import NO_TEXTS, pair_page, pairs_page
from rankstone.leaderboards.site.pairs import BEST, Pair, Rankings, made
from rankstone.leaderboards.site.queries import Queries
from rankstone.leaderboards.site.record_page import record_page
from rankstone.leaderboards.site.trends import Trend, trend_page, trends_of, trends_page
from rankstone.leaderboards.site.views import views_of
from rankstone.results.store import Stored
from rankstone.specs import SuiteSpec

MARK = "assets/rankstone-site.txt"
"""File that marks a folder that may be replaced."""
_MARK_TEXT = "Made by `rankstone site`, which replaces this folder as a whole.\n"


class Built(NamedTuple):
    """Folder of a site, and the numbers of its parts."""

    folder: Path
    methods: int
    tasks: int
    records: int
    pairs: int
    trends: int

    @property
    def start(self) -> Path:
        """Start page."""
        return self.folder / "index.html"


def build(
    site: Site,
    folder: Path,
    *,
    suites: Sequence[SuiteSpec] = (),
    best: int = BEST,
    history: Iterable[Stored] = (),
) -> Built:
    """Write the site to `folder`; an older site there is replaced.

    Args:
        suites: Suites whose means are shown for the methods that completed them.
        best: Number of best methods of a data set that are compared pairwise.
        history: Further records, for trends.

    Raises:
        ResultsError: `folder` is not a site, or cannot be written; it is left unchanged.
        MissingExtraError: the plotting libraries are not installed.
    """
    scripts = {"assets/plots.js": vega.specs(), "assets/vega.js": vega.vega()}
    trends = trends_of(site, history)
    with _replacing(folder) as fresh:
        pairs = 0
        for name, text in _files(site, suites, best, trends):
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            pairs += name.startswith("pairs/")
        for name, text in scripts.items():
            (fresh / name).write_text(text, encoding="utf-8", newline="\n")
    methods = len({method for method, _ in site.cells})
    return Built(folder, methods, len(site.boards), len(site.entries), pairs, len(trends))


def _files(
    site: Site, suites: Sequence[SuiteSpec], best: int, trends: Sequence[Trend]
) -> Iterator[tuple[str, str]]:
    """Yield names and texts of all files except the scripts of plots."""
    yield MARK, _MARK_TEXT
    for name in ("site.css", "site.js", "queries.js"):
        yield f"assets/{name}", asset(name)
    views = views_of(site, suites)
    pages = {trend.entry: trend.page for trend in trends}
    pairs: list[Pair] = []
    faults: list[str] = []
    for board in site.boards:
        here, failed = made(site, board, best)
        rankings, asked = Rankings(), queries.collected(board)
        texts = _texts(site, here, asked, rankings)
        if asked is not None:
            known = NO_TEXTS if isinstance(texts, str) else texts
            yield from queries.files(site, asked, rankings, known)
        for pair in here:
            yield pair.page, pair_page(site, pair, rankings, texts, asked)
        view = views.boards[board.name]
        yield board.page, board_page(site, board, view, here, asked.page if asked else "")
        for entry in (*board.entries, *board.stale):
            yield entry.page, record_page(site, entry, board.page, asked, pages.get(entry, ""))
        pairs += here
        faults += failed
    for trend in trends:
        yield trend.page, trend_page(site, trend)
    yield "trends.html", trends_page(site, trends)
    yield "pairs.html", pairs_page(site, pairs, faults, best)
    yield "datasets.html", datasets_page(site, views)
    yield "matrix.html", matrix_page(site, views)
    yield "index.html", index_page(site, views)
    yield from defined_pages(site)
    for view in views.means:
        yield view.page, decision_page(site, views, view, view.page)


def _texts(
    site: Site, pairs: Sequence[Pair], asked: Queries | None, rankings: Rankings
) -> Texts | str:
    """Return the texts shown on the pages of a board, or the reason why there are none."""
    if asked is None:
        return ""
    documents = rankings.documents(pairs) | queries.documents(asked, rankings)
    ids = {moved.query for pair in pairs for moved in pair.moved}.union(asked.ids)
    return site.look(next(iter(asked.values)).record, ids, documents)


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `folder` when the block succeeds."""
    _check(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder.parent, f".{folder.name}.{{}}.tmp") as fresh:
            yield fresh
            if folder.exists():
                shutil.rmtree(folder)
            fresh.rename(folder)
    except OSError as error:
        raise ResultsError(
            f"{folder}: cannot be written: {error.strerror or error}. Make room or make it"
            " writable, or name another folder: -o FOLDER"
        ) from error


def _check(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file()):
        raise ResultsError(
            f"{folder}: it holds something else than a site and is left unchanged. Name another"
            " folder: rankstone site -o FOLDER"
        )
