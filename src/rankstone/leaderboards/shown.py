"""Display of results in notebooks: a short `repr`, HTML, and a frame of figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import pandas as pd

from rankstone.evaluation.explanation import Explanation
from rankstone.leaderboards.document import Page
from rankstone.leaderboards.formats.html import fragment
from rankstone.leaderboards.formats.json import values
from rankstone.leaderboards.formats.terminal import draw
from rankstone.leaderboards.pages import explain, leaderboard
from rankstone.leaderboards.records import page as record_page
from rankstone.results.record import RunRecord

T = TypeVar("T")


def frame_of(page: Page) -> pd.DataFrame:
    """Return the figures of a page at full precision."""
    fields, rows = values(page)
    return pd.DataFrame([[row.get(field) for field in fields] for row in rows], columns=[*fields])


class ShownList(list[T]):
    """List of results with the page that displays them."""

    def __init__(self, items: Iterable[T], page: Callable[[Sequence[T]], Page], noun: str) -> None:
        super().__init__(items)
        self._page, self._noun = page, noun

    def to_frame(self) -> pd.DataFrame:
        """Return the figures, one row per result."""
        return frame_of(self._page(self))

    def __repr__(self) -> str:
        return f"<{len(self)} {self._noun}{'' if len(self) == 1 else 's'}>"

    def __str__(self) -> str:
        return draw(self._page(self), width=120)

    def _repr_html_(self) -> str:
        return fragment(self._page(self))


class ShownPage(Page):
    """Page with notebook display."""

    def to_frame(self) -> pd.DataFrame:
        """Return the figures of all tables, one per row."""
        return frame_of(self)

    def __repr__(self) -> str:
        titles = (self.title, *(table.title for table in self.tables), "page")
        parts = (f"{len(self.tables)} tables", f"{len(self.pictures)} plots")
        return f"<{next(filter(None, titles))}: {', '.join(parts)}>"

    def __str__(self) -> str:
        return draw(self, width=120)

    def _repr_html_(self) -> str:
        return fragment(self)


class ShownExplanation(Explanation):
    """Explanation with notebook display."""

    def to_frame(self) -> pd.DataFrame:
        """Return the causes that change the number, one per row."""
        return frame_of(explain.page(self))

    def __repr__(self) -> str:
        return f"<{self.measure} of {self.method} on {self.task}: {self.verdict}>"

    def __str__(self) -> str:
        return draw(explain.page(self), width=120)

    def _repr_html_(self) -> str:
        return fragment(explain.page(self))


class Leaderboard(pd.DataFrame):
    """Frame of `leaderboards.frame.leaderboard`; selections from it are plain frames."""

    def to_frame(self) -> pd.DataFrame:
        """Return the same as a plain frame."""
        return pd.DataFrame(self)

    def __repr__(self) -> str:
        tasks, methods = self["task"].nunique(), self["method"].nunique()
        return f"<leaderboard: {len(self)} records, {methods} methods, {tasks} tasks>"

    def __str__(self) -> str:
        return draw(leaderboard.page(self.to_frame()), width=120)

    def _repr_html_(self) -> str:
        return fragment(leaderboard.page(self.to_frame()))


def shown_page(page: Page) -> ShownPage:
    """Return `page` with notebook display."""
    return ShownPage(**vars(page))


def record_html(record: RunRecord) -> str:
    """Return the page of a record as an HTML fragment."""
    return fragment(record_page.page(record))
