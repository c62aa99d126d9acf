"""Page of a gate as JUnit XML: a suite for each task, a test for each rule and method.

Element and attribute names follow the schema shared by Jenkins and Surefire. The time of a test is
the wall time of the candidate's runs; the type of a failure is its verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rankstone.leaderboards.document import Page

KINDS = {"fail": "failure", "undecided": "skipped", "incomparable": "skipped"}
Row = Mapping[str, object]


def draw(page: Page) -> str:
    totals = _totals(page.rows)
    del totals["skipped"]  # in the schema only for a suite
    root = Element("testsuites", {"name": "rankstone gate", **totals})
    for task in dict.fromkeys(str(row["task"]) for row in page.rows):
        own = [row for row in page.rows if row["task"] == task]
        suite = SubElement(root, "testsuite", {"name": task or "records", **_totals(own)})
        for row in own:
            _test(suite, row)
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _test(suite: Element, row: Row) -> None:
    name = f"{row['task']}.{row['method']}"
    case = SubElement(
        suite, "testcase", classname=name, name=str(row["rule"]), time=_seconds([row])
    )
    if kind := KINDS.get(str(row["outcome"])):
        detail = str(row["detail"])
        SubElement(case, kind, type=str(row["verdict"]), message=detail).text = detail


def _totals(rows: Sequence[Row]) -> dict[str, str]:
    kinds = [KINDS.get(str(row["outcome"])) for row in rows]
    return {
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": "0",
        "skipped": str(kinds.count("skipped")),
        "time": _seconds(rows),
    }


def _seconds(rows: Sequence[Row]) -> str:
    times = (row["seconds"] for row in rows)
    return f"{sum(time for time in times if isinstance(time, float)):.3f}"
