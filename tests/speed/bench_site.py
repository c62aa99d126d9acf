"""Opening the site's first page and all results of 200 methods on 20 tasks, in a browser, from the
disk; the slower of the two.

From the start of the navigation until the second frame after the load event: tables and plots are
laid out and drawn. The goal is one second on an unloaded machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from rankstone.leaderboards.site.build import build
from rankstone.leaderboards.site.model import make_site
from tests.browser import BROWSER, MISSING, Browser
from tests.site_records import many_records

METHODS, TASKS = 200, 20
REPEATS = 5
DRAWN = (
    "new Promise(done => requestAnimationFrame(() => requestAnimationFrame("
    "() => done(performance.now()))))"
)


def opening_s(page: Path) -> float:
    """The shortest of some openings, each in a browser that has not seen the page.

    What else the machine does can only lengthen them.
    """
    found = []
    for _ in range(REPEATS):
        with Browser() as browser:
            browser.size(1280, 900)
            browser.open(page)
            found.append(browser.js(DRAWN) / 1000)
            assert browser.js("document.querySelectorAll('tbody tr').length") > METHODS // 2
    return min(found)


def lines() -> Iterator[str]:
    if BROWSER is None:
        raise RuntimeError(MISSING)
    records = many_records(METHODS, TASKS)
    with tempfile.TemporaryDirectory() as folder:
        site = make_site([(record, Path("record.json")) for record in records], {})
        built = build(site, Path(folder) / "site")
        seconds = max(opening_s(built.folder / name) for name in ("index.html", "matrix.html"))
    yield f"speed site_opens ratio={seconds:.2f} goal=<=1 peer=one second"
