"""Wording of everything a person reads: the terms that CONTRIBUTING's rules leave out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

TERMS = {
    "dear": "expensive", "dearer": "more expensive", "told": "reported", "said": "messages",
    "cut": "truncated", "cuts": "truncates", "place": "workspace, or path", "nobody": "not ...",
    "on the front": "Pareto-optimal", "that no commit holds": "uncommitted changes",
    "sees drops above": "minimum detectable drop", "measured before with": "matching digests",
    "exact protocol of each field": "each benchmark's official evaluation protocol",
    "never a sweep": "stop one run without aborting the sweep", "cannot pass": "... fail",
    "takes from the model's own settings": "inherits from the model's configuration",
    "anew": "again", "at hand": "available", "within reach": "found", "parted by": "separated by",
}  # fmt: skip
"""Term -> the one to prefer."""
COMMON = ("place", "nobod")
"""Beginnings of terms that are plain English in docstrings."""
BANNED = re.compile(rf"\b(?:{'|'.join(map(re.escape, TERMS))})\b", re.IGNORECASE)
ALLOWED = re.compile(r"\b(?:in|the) place of\b|\bin its place\b|\bcan pass\b")
STARTS = re.compile(r"(?:What|Whether|Of)\b")
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "results/*.md", "leaderboards/*.md")
    for path in ROOT.glob(pattern)
)
MODULES = sorted((ROOT / "src" / "rankstone").rglob("*.py"))


def faults(text: str) -> list[str]:
    """Return the terms to avoid, each with the one to prefer."""
    kept = BANNED.findall(ALLOWED.sub("", CODE.sub("", text)))
    return [f"{term}: {TERMS[term.lower()]}" for term in kept if not term.isupper()]


def docstrings(tree: ast.Module | ast.stmt) -> Iterator[str]:
    """Yield docstrings, those of attributes and constants too."""
    for line in getattr(tree, "body", ()):
        if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
            yield str(line.value.value)
        yield from docstrings(line)


def messages(tree: ast.Module) -> Iterator[str]:
    """Yield texts of several words that are no docstrings: errors, notes, warnings, help."""
    documentation = set(docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from {node.value} - documentation if " " in node.value.strip() else ()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_avoid_the_terms(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


def test_docstrings_and_messages_avoid_the_terms() -> None:
    found = {}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = list(docstrings(tree))
        bad = [f"starts: {text[:40]}" for text in texts if STARTS.match(text)]
        bad += [one for text in texts for one in faults(text) if one[:5] not in COMMON]
        bad += [fault for text in messages(tree) for fault in faults(text)]
        if bad:
            found[path.relative_to(ROOT).as_posix()] = bad
    assert found == {}


@pytest.mark.parametrize("text", ["the model's limit cuts 13.8%", "On the front", "it is dear"])
def test_a_term_to_avoid_is_found(text: str) -> None:
    assert faults(text)
    assert not faults("pagers in the place of `cut`, reported")
