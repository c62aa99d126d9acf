"""A claim about training, from its recipes to its verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankstone import Session
from tests.conftest import ROOT

pytest.importorskip("accelerate", reason="needs the extra 'train'")

CLAIM = "exits-trained"
"""Two trainings and three cells, on collections that need no download: under ten minutes."""


@pytest.mark.slow
def test_a_claim_about_training_comes_out_as_published(tmp_path: Path) -> None:
    (found,), _ = Session(workspace=ROOT, results=tmp_path, cache=tmp_path / "cache").claims(CLAIM)
    numbers = json.loads((ROOT / "leaderboards" / "claims.json").read_text(encoding="utf-8"))
    (published,) = [body for body in numbers if body["claim"] == CLAIM]
    assert found.verdict == published["verdict"] != "not tested"
