"""Claims about training, from their recipes to their verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankstone import Session
from tests.conftest import ROOT

pytest.importorskip("accelerate", reason="needs the extra 'train'")

CLAIMS = ("matryoshka-loss", "funnel-trained", "exits-trained")
"""Three trainings and ten cells, on collections that need no download: under ten minutes."""


@pytest.mark.slow
def test_claims_about_training_come_out_as_published(tmp_path: Path) -> None:
    session = Session(workspace=ROOT, results=tmp_path / "results", cache=tmp_path / "cache")
    found, _ = session.claims(CLAIMS)
    text = (ROOT / "leaderboards" / "claims.json").read_text(encoding="utf-8")
    published = {body["claim"]: body["verdict"] for body in json.loads(text)}
    verdicts = {result.claim.name: result.verdict for result in found}
    assert verdicts == {name: published[name] for name in CLAIMS}
    assert "not tested" not in verdicts.values()
