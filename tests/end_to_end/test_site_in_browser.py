"""The site in a real browser: sorting, filters, plots, colours, keyboard, phone; from the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rankstone.leaderboards.site.build import build
from rankstone.leaderboards.site.model import Texts, make_site
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore
from tests.browser import BROWSER, MISSING, Browser
from tests.records import make_record
from tests.site_records import many_records, store_with_runs

HOSTILE = "dense/<img src=x onerror=window.hurt=1>"
PAGES = (
    "index.html", "matrix.html", "datasets.html", "pairs.html", "tasks/*", "records/*", "pairs/*",
    "queries/*.html", "trends.html", "trends/*",
)  # fmt: skip
pytestmark = pytest.mark.skipif(BROWSER is None, reason=MISSING)
pytest.importorskip("altair", reason="plots need the extra 'site': pip install 'rankstone[site]'")


def look(record: RunRecord, queries: Any, documents: Any) -> Texts:
    """Return texts that would be harmful if interpreted as HTML."""
    bad = "</script><img src=x onerror=window.hurt=1> text"
    return Texts(dict.fromkeys(queries, bad), dict.fromkeys(documents, bad), {})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results, scratch, out = (tmp_path_factory.mktemp(name) for name in ("r", "s", "o"))
    given = [*many_records(21, 5), make_record(HOSTILE, "family-0/task-00", scale=1.05)]
    records = store_with_runs(results, given, scratch)
    store = ResultStore(results)
    made = make_site([(record, store.path(record)) for record in records], {}, look)
    old = records[0].provenance.model_copy(update={"finished": "2025-01-01T00:00:00Z"})
    earlier = records[0].model_copy(update={"provenance": old})
    history = [(earlier, store.path(earlier))]
    return build(made, out / "site", best=3, history=history).folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Browser]:
    """The browser at desktop size; afterwards, no page has logged errors or used the network."""
    browser.size(1280, 900)
    browser.faults.clear()
    browser.asked.clear()
    yield browser
    assert browser.faults == []
    assert [url for url in browser.asked if not url.startswith(("file:", "data:"))] == []


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def drawn(page: Browser) -> None:
    """Draw all plots, also those outside the viewport."""
    page.js("Promise.all(figures.map(draw)).then(() => 1)")


def seen(page: Browser) -> None:
    """Wait until the page knows which plots are in view: observers are told in their order."""
    page.js(
        "new Promise(done => new IntersectionObserver(() => done(1))"
        ".observe(document.querySelector('figure')))"
    )


COLUMN = (
    "[...document.querySelector('table.board').tBodies[0].rows].map(r => r.cells[%d].dataset.v)"
)


def column(page: Browser, place: int) -> list[float | None]:
    values = page.js(COLUMN % place)
    return [None if value is None else float(value) for value in values]


def test_a_press_sorts_and_the_next_turns_round(page: Browser, site: Path) -> None:
    page.open(site / "matrix.html")
    before = column(page, 3)
    known = sorted(value for value in before if value is not None)
    missing = [None] * (len(before) - len(known))
    assert missing
    state = "document.querySelectorAll('table.board thead th')[3].getAttribute('aria-sort')"
    for expected, order in ((known[::-1], "descending"), (known, "ascending")):
        page.js(
            "document.querySelectorAll('table.board thead th')[3].querySelector('button').click()"
        )
        assert column(page, 3) == [*expected, *missing]
        assert page.js(state) == order
    assert page.js("document.querySelectorAll('th[aria-sort=none]').length") == 6


def test_the_keyboard_reaches_the_table(page: Browser, site: Path) -> None:
    page.open(site / "matrix.html")
    page.press("Tab", 9)
    assert page.js("document.activeElement.textContent") == "Skip to the content"
    assert page.js("document.activeElement.getBoundingClientRect().left") >= 0
    page.press("Enter", 13, "\r")
    page.wait("document.activeElement.id === 'main'")
    for _ in range(12):
        page.press("Tab", 9)
        if page.js("document.activeElement.className") == "sort":
            break
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter", 13, "\r")
    names = page.js(
        "[...document.querySelectorAll('table.board tbody th')].map(h => h.textContent.trim())"
    )
    assert names == sorted(names)
    assert names[0].startswith("compressed/")


def test_filters_narrow_the_table_and_the_plots(page: Browser, site: Path) -> None:
    page.open(first(site, "tasks/family-0-task-00-*.html"))
    drawn(page)
    points = "document.querySelectorAll('figure[data-plot=front] .mark-symbol path').length"
    lines = "[...document.querySelectorAll('table.board tbody tr')].filter(r => !r.hidden).length"
    whole = page.js(lines)
    assert page.js(points) == 3 * whole
    page.js(
        "(() => { const s = document.querySelector('select[data-key=family]'); s.value = 'sparse';"
        " s.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )
    assert page.js(lines) == 3
    assert page.js("document.querySelector('output').textContent") == f"3 of {whole} records"
    page.wait(f"{points} === 9")
    page.js(
        "(() => { const s = document.querySelector('input[type=search]'); s.value = 'method-002';"
        " s.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )
    assert page.js(lines) == 1
    page.js("document.querySelector('button[type=reset]').click()")
    page.wait(f"{lines} === {whole} && {points} === {3 * whole}")


def test_a_point_leads_to_its_record(page: Browser, site: Path) -> None:
    page.open(first(site, "tasks/family-1-task-01-*.html"))
    drawn(page)
    place = page.js(
        "(() => { const r = document.querySelector('.mark-symbol a path').getBoundingClientRect();"
        " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left",
                  clickCount=1)  # fmt: skip
    page.wait("location.pathname.includes('/records/') && document.readyState === 'complete'")
    assert "on family-1/task-01" in page.js("document.querySelector('h1').textContent")


def test_hostile_names_and_texts_are_only_text(page: Browser, site: Path) -> None:
    patterns = ("index.html", "matrix.html", "tasks/family-0-task-00-*", "records/*img-src*",
                "pairs/*", "queries/family-0-task-00-*.html")  # fmt: skip
    for pattern in patterns:
        page.open(first(site, pattern))
        drawn(page)
        page.js("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert page.js("window.hurt === undefined && !document.querySelector('img')")
    page.open(site / "matrix.html")
    assert HOSTILE in page.js("document.querySelector('table.board').textContent")


RATIO = """
(() => {
  const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const back = node => { for (; node; node = node.parentElement) {
    const found = getComputedStyle(node).backgroundColor;
    if (found !== 'rgba(0, 0, 0, 0)' && !found.match(/, 0\\.\\d+\\)/)) return found; }
    return 'rgb(255, 255, 255)'; };
  const bad = [];
  const texts = 'a, p, td, th, dt, dd, small, h1, h2, h3, code, span, li, button, label, output';
  for (const node of document.querySelectorAll(texts)) {
    if (!node.innerText || !node.innerText.trim() || node.className === 'skip') continue;
    const [a, b] = [light(getComputedStyle(node).color), light(back(node))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const what = `${node.tagName}.${node.className} ${node.innerText.slice(0, 20)}`;
    if (ratio < 4.5) bad.push(`${what} ${ratio}`);
  }
  return bad;
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_is_legible(page: Browser, site: Path, dark: bool) -> None:
    page.size(1280, 900, dark=dark)
    for pattern in PAGES:
        page.open(first(site, pattern))
        assert page.js(RATIO) == [], pattern
    assert page.js("getComputedStyle(document.body).backgroundColor") == (
        "rgb(16, 19, 24)" if dark else "rgb(255, 255, 255)"
    )


def test_the_choice_of_colours_is_kept_and_plots_follow(page: Browser, site: Path) -> None:
    task = first(site, "tasks/*")
    page.open(task)
    drawn(page)
    ink = "getComputedStyle(document.querySelector('.role-mark.mark-text text')).fill"
    assert page.js(ink) == "rgb(22, 25, 31)"
    page.js("document.getElementById('theme').click()")
    page.wait(f"{ink} === 'rgb(232, 235, 240)'")
    page.open(site / "pairs.html")
    assert page.js("document.documentElement.dataset.theme") == "dark"
    assert page.js("document.getElementById('theme').textContent") == "light"
    page.js("localStorage.clear()")


def test_nothing_is_wider_than_a_phone(page: Browser, site: Path) -> None:
    page.size(360, 740, phone=True)
    for pattern in PAGES:
        page.open(first(site, pattern))
        drawn(page)
        assert page.js("document.documentElement.scrollWidth") == 360, pattern
        assert page.js(
            "[...document.querySelectorAll('svg.marks')].every(s => s.clientWidth < 360)"
        )


def test_plots_come_when_they_are_in_view_and_the_leaderboard_needs_no_library(
    page: Browser, site: Path
) -> None:
    for name in ("index.html", "datasets.html"):
        page.open(site / name)
        seen(page)
        assert not [url for url in page.asked if url.endswith("vega.js")], name
    assert page.js("document.querySelectorAll('.panel svg').length") == 5
    page.open(first(site, "records/*method-001*"))
    page.js("document.querySelector('figure').scrollIntoView()")
    page.wait("document.querySelectorAll('.mark-rect path').length > 10")


def test_any_query_of_any_two_methods_can_be_read(page: Browser, site: Path) -> None:
    page.open(first(site, "records/family-0-task-00-*method-020*"))
    page.js("document.querySelector('a[href*=queries]').click()")
    page.wait("document.querySelector('.choose')?.hidden === false")
    assert page.js("document.querySelector('select[name=a]').selectedOptions[0].text").endswith(
        "020"
    )
    shown = "[...document.querySelectorAll('.query')].filter(q => !q.hidden)"
    assert page.js(f"{shown}.length") == 8
    for name, value in (("s", "low"), ("t", "Q3")):
        page.js(
            f"(() => {{ const f = document.querySelector('[name={name}]'); f.value = '{value}';"
            " f.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )
        if name == "s":
            values = page.js(f"{shown}.map(q => parseFloat(q.querySelector('.delta').textContent))")
            assert values == sorted(values)
    assert page.js(f"{shown}.map(q => q.dataset.id)") == ["q3"]
    page.js(f"{shown}[0].querySelector('summary').click()")
    page.wait("document.querySelectorAll('.query[open] ol').length === 1")
    page.wait("location.hash.includes('q=q3') && location.hash.includes('s=low')")
    page.js(
        "(() => { const b = document.querySelector('[name=b]'); b.selectedIndex = 1;"
        " b.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )
    page.wait("document.querySelectorAll('.query[open] ol').length === 2")
    assert page.js("document.querySelectorAll('.query[open] .values span').length") == 22


def choose(page: Browser, selector: str, value: str, event: str = "input") -> None:
    page.js(
        f"(() => {{ const s = document.querySelector({selector!r}); s.value = {value!r};"
        f" s.dispatchEvent(new Event({event!r}, {{ bubbles: true }})); }})()"
    )


SEEN = """
(() => ({
  search: document.querySelector('input[type=search]').value,
  family: document.querySelector('select[data-key=family]').value,
  cost: document.getElementById('cost').value,
  plots: all('figure[data-cost]').filter(f => !f.hidden).map(f => f.dataset.cost),
  sorted: all('[aria-sort$=ending]').map(h => `${h.dataset.name} ${h.getAttribute('aria-sort')}`),
  rows: all('table.board tbody tr').filter(r => !r.hidden).map(r => r.cells[0].textContent),
  hidden: all('th[data-name]').filter(h => !h.offsetWidth).map(h => h.dataset.name),
}))()
"""


def test_the_address_keeps_what_was_chosen(page: Browser, site: Path) -> None:
    page.open(site / "index.html")
    assert page.js(SEEN)["plots"] == ["p95 latency"]
    page.js("document.querySelector('th[data-name=\"peak RSS\"] .sort').click()")
    choose(page, "input[type=search]", "method")
    choose(page, "select[data-key=family]", "dense")
    choose(page, "#cost", "index", "change")
    page.js("document.querySelector('.columns-of input[value=licence]').click()")
    before = page.js(SEEN)
    assert before["sorted"] == ["peak RSS ascending"]
    assert before["plots"] == ["index"]
    assert before["hidden"] == ["licence"]
    assert len(before["rows"]) == 3
    address = page.js("location.href")
    page.open(site / "datasets.html")
    page.call("Page.navigate", url=address)
    page.wait("document.readyState === 'complete' && location.search && all('figure[data-drawn]')")
    assert page.js(SEEN) == before
    page.js("document.querySelector('button[type=reset]').click()")
    page.wait("document.querySelectorAll('table.board tbody tr[hidden]').length === 0")
    assert page.js("location.search") == "?sort=peak+RSS%3Aascending&cost=index"


def test_filters_give_plots_their_own_scale_and_front(page: Browser, site: Path) -> None:
    page.open(site / "index.html")
    figure = "document.querySelector('figure[data-cost=\"p95 latency\"]')"
    rows = page.js(f"JSON.parse({figure}.querySelector('script').textContent)")
    page.js("load().then(() => 1)")
    again = page.js(f"(() => {{ const r = {json.dumps(rows)}; optimal(r); return r; }})()")
    assert [row["front"] for row in again] == [row["front"] for row in rows]  # the rule of costs
    texts = f"[...{figure}.querySelectorAll('%s text')].map(t => t.textContent).filter(Boolean)"
    names, axis = texts % ".mark-text.role-mark", f"{texts % '.role-axis-label'}.join()"
    before = page.js(axis)
    worst = min((row for row in rows if row["able"]), key=lambda row: row["y"])
    assert not worst["front"]
    choose(page, "input[type=search]", worst["name"])
    page.wait(f"{names}.join() === {worst['name']!r}")  # alone it is optimal
    assert page.js(axis) != before
    caption = f"{figure}.querySelector('figcaption').textContent.trim()"
    assert page.js(caption) == f"Pareto-optimal: {worst['name']}."
    choose(page, "input[type=search]", "no such method")
    page.wait(f"{figure}.textContent.includes('No method with this cost matches the filters')")
    assert page.js("document.querySelector('.none').offsetHeight > 0")
    page.js("document.querySelector('.none button').click()")
    page.wait(f"{names}.length >= 2")


OVERLAPS = """
(() => {
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
    && a.top < b.bottom - 3 && b.top < a.bottom - 3;
  return all('figure:not([hidden])').flatMap(figure => {
    const texts = all('.role-mark.mark-text text', figure).filter(t => t.textContent);
    const found = texts.map(t => t.getBoundingClientRect());
    return found.flatMap((a, i) => found.slice(i + 1).filter(b => meet(a, b)));
  }).length;
})()
"""


def test_names_in_plots_do_not_cover_each_other(page: Browser, site: Path) -> None:
    for width, phone in ((1400, False), (390, True)):
        page.size(width, 900, phone=phone)
        for pattern in ("index.html", "tasks/*"):
            page.open(first(site, pattern))
            if phone:
                drawn(page)
            assert page.js("all('.role-mark.mark-text text').length") > 0
            assert page.js(OVERLAPS) == 0, (width, pattern)


def test_points_are_links_that_the_keyboard_reaches(page: Browser, site: Path) -> None:
    page.open(first(site, "tasks/family-1-task-01-*.html"))
    for redraw in (False, True):
        if redraw:
            drawn(page)
        page.js("document.querySelector('.mark-symbol a').focus()")
        assert page.js("document.activeElement.tagName") == "a"
        text = page.js("document.querySelector('.hint').textContent")
        assert "nDCG@10 ." in text
        assert "p95 latency" in text
    page.press("Enter", 13, "\r")
    page.wait("location.pathname.includes('/records/') && document.readyState === 'complete'")


def test_heads_stay_and_their_buttons_are_large(page: Browser, site: Path) -> None:
    for name in ("index.html", "matrix.html"):
        page.size(700, 500)
        page.open(site / name)
        sizes = "all('.sort').map(b => b.getBoundingClientRect()).map(r => [r.width, r.height])"
        assert min(map(min, page.js(sizes))) >= 24
        top, left = page.js(
            "(() => { const s = document.querySelector('.scroll:has(> .board)');"
            " s.scrollTo(200, 300); const at = s.getBoundingClientRect();"
            " const head = s.querySelector('thead th:nth-child(3)').getBoundingClientRect();"
            " const name = s.querySelector('tbody tr:nth-child(9) th').getBoundingClientRect();"
            " return [head.top - at.top, name.left - at.left]; })()"
        )
        assert (abs(top), abs(left)) < (2, 2)


def test_names_are_whole_on_a_phone(page: Browser, site: Path) -> None:
    page.size(390, 844, phone=True)
    for pattern in ("index.html", "matrix.html", "tasks/*"):
        page.open(first(site, pattern))
        names = "all('.stem, .family').filter(s => !s.closest('th').textContent.includes('<img'))"
        assert page.js(f"{names}.filter(s => s.getClientRects().length > 1).length") == 0
        cut = "const t = s.closest('th'); return t.scrollWidth > t.clientWidth + 1;"
        assert page.js(f"{names}.filter(s => {{ {cut} }}).map(s => s.textContent)") == []


def test_plots_stand_in_the_page_without_scripts(page: Browser, site: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        for pattern in ("index.html", "datasets.html", "tasks/*"):
            page.open(first(site, pattern))
            root = page.call("DOM.getDocument", depth=0)["root"]["nodeId"]
            found = page.call("DOM.querySelectorAll", nodeId=root, selector="figure .mark-symbol a")
            assert len(found["nodeIds"]) >= 21, pattern
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
