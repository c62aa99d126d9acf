"""Definitions of methods behind APIs."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("httpx2")

from rankstone.errors import MissingExtraError
from rankstone.runners.construct import build_runner
from rankstone.runners.encoders.api import ApiEncoder
from rankstone.runners.scorers.api_rerank import ApiScorer
from rankstone.specs import MethodSpec

DOCUMENTS = [Path(__file__).parents[2] / name for name in ("README.md", "docs/apis.md")]
DEFINED = [
    tomllib.loads(text)
    for path in DOCUMENTS
    for text in re.findall(r"```toml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    if 'adapter = "api' in text
]


@pytest.mark.parametrize("values", DEFINED)
def test_the_definitions_in_the_documents_are_built(values):
    assert len(DEFINED) == 3
    bm25 = MethodSpec(name="lexical/bm25", description="d", adapter="bm25")
    members = [bm25 for _ in values.get("members", ())]
    runner = build_runner(MethodSpec(**{**values, "name": "api/mine", "members": tuple(members)}))
    assert isinstance(getattr(runner, "scorer", runner), ApiEncoder | ApiScorer)


def test_without_the_extra_the_install_line_is_printed(monkeypatch):
    absent = {"httpx2"}
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "rankstone.runners.construct.importlib.util.find_spec",
        lambda name: None if name in absent else found(name),
    )
    spec = MethodSpec(name="api/mine", description="d", adapter="api")
    with pytest.raises(MissingExtraError, match=r"pip install 'rankstone\[api\]'"):
        build_runner(spec)
