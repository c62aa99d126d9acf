"""A gate's page as JUnit XML: a suite for each task, a test for each rule of each method."""

from __future__ import annotations

from xml.etree import ElementTree

from rankstone.leaderboards.document import Page

KINDS = {"fail": "failure", "undecided": "skipped", "incomparable": "skipped"}


def draw(page: Page) -> str:
    root = ElementTree.Element("testsuites", name="rankstone gate")
    for task in dict.fromkeys(str(row["task"]) for row in page.rows):
        own = [row for row in page.rows if row["task"] == task]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=task or "records",
            tests=str(len(own)),
            failures=str(sum(row["outcome"] == "fail" for row in own)),
            errors="0",
            skipped=str(sum(row["outcome"] in ("undecided", "incomparable") for row in own)),
        )
        for row in own:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{task}.{row['method']}", name=str(row["rule"])
            )
            if kind := KINDS.get(str(row["outcome"])):
                ElementTree.SubElement(case, kind, message=str(row["detail"]))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
