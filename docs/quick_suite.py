"""Writes quick-suite.md beside this file, from the published tables: python docs/quick_suite.py"""

from __future__ import annotations

from pathlib import Path

from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages.quick_suites import page
from rankstone.leaderboards.papers.tables import PaperSpec
from rankstone.workspace import Workspace

TARGET = Path(__file__).with_name("quick-suite.md")


def text() -> str:
    """Return the page of the tables of this checkout."""
    place = Workspace.find(TARGET.parents[1])
    return render(page(place.load(PaperSpec, "leaderboards/papers"), place.suites), "markdown")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
