"""Definitions of methods behind APIs."""

from __future__ import annotations

import importlib.util
import tomllib

import pytest

pytest.importorskip("httpx2")

from rankstone.errors import MissingExtraError
from rankstone.runners.construct import build_runner
from rankstone.runners.encoders.api import ApiEncoder
from rankstone.runners.scorers.api_listwise import ApiListwise
from rankstone.runners.scorers.api_rerank import ApiScorer
from rankstone.specs import MethodSpec
from tests.documents import pages

DEFINED = [
    tomllib.loads(block.text)
    for page in pages()
    for block in page.blocks
    if block.language == "toml" and 'adapter = "api' in block.text
]


@pytest.mark.parametrize("values", DEFINED)
def test_the_definitions_in_the_documents_are_built(values):
    assert len(DEFINED) == 4
    bm25 = MethodSpec(name="lexical/bm25", description="d", adapter="bm25")
    members = [bm25 for _ in values.get("members", ())]
    runner = build_runner(MethodSpec(**{**values, "name": "api/mine", "members": tuple(members)}))
    assert isinstance(getattr(runner, "scorer", runner), ApiEncoder | ApiScorer | ApiListwise)


def test_without_the_extra_the_install_line_is_printed(monkeypatch):
    absent = {"httpx2"}
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name: None if name in absent else found(name),
    )
    spec = MethodSpec(name="api/mine", description="d", adapter="api")
    with pytest.raises(MissingExtraError, match=r"pip install 'rankstone\[api\]'"):
        build_runner(spec)
