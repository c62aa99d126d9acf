"""Records are given the digests of short names, and nothing else of them changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankstone.results.serialise import from_json
from rankstone.specs import canonical_digest
from rankstone.workspace import Workspace
from tests.golden import restamp
from tests.records import make_record

ROOT = Path(__file__).parents[2]
PATH = "rankstone.runners.bm25:BM25"
FORMER, PRESENT = "a" * 64, "b" * 64


def written(digest: str = FORMER, **more: object) -> str:
    record = make_record()
    method = record.method.model_copy(update={"adapter": PATH, "digest": digest, **more})
    return (
        record.model_copy(update={"method": method}).model_dump_json(indent=2, exclude={"label"})
        + "\n"
    )


def content(text: str) -> dict[str, Any]:
    """The record without its own digest, which is checked."""
    body: dict[str, Any] = json.loads(text)
    assert body.pop("digest") == canonical_digest(body)
    return body


def test_a_record_of_todays_definition_is_given_its_names() -> None:
    text = written()
    expected = json.loads(text)
    expected["method"] |= {"digest": PRESENT, "adapter": "bm25"}
    stamped = restamp.restamped_record(text, {FORMER: PRESENT})
    assert content(stamped) == expected
    assert restamp.restamped_record(stamped, {FORMER: PRESENT}) == stamped
    assert from_json(stamped, Path("x")).method.digest == PRESENT


def test_a_record_of_another_definition_keeps_its_method() -> None:
    text = written("c" * 64)
    stamped = restamp.restamped_record(text, {FORMER: PRESENT})
    assert content(stamped) == json.loads(text)
    assert stamped.startswith(text.removesuffix("\n}\n"))


def test_a_digest_elsewhere_in_a_record_is_refused() -> None:
    text = written(parameters={"of": FORMER})
    with pytest.raises(ValueError, match=r"would change: method\.parameters\.of"):
        restamp.restamped_record(text, {FORMER: PRESENT})


def test_results_of_claims_change_in_their_runs_alone() -> None:
    run = {"status": "ok", "method": FORMER}
    text = json.dumps([{"claim": "x", "runs": {"dense/bge-base-en-v1.5@beir/scifact": run}}])
    assert json.loads(restamp.restamped_results(text, {FORMER: PRESENT})) == [
        {"claim": "x", "runs": {"dense/bge-base-en-v1.5@beir/scifact": {**run, "method": PRESENT}}}
    ]
    with pytest.raises(ValueError, match=r"0\.digest"):
        restamp.restamped_results(json.dumps([{"digest": FORMER}]), {FORMER: PRESENT})


def test_former_definitions_name_paths_in_every_part() -> None:
    place = Workspace.find(ROOT)
    method = restamp.former(place.method("rerank/bm25-minilm-bi"))
    assert method.adapter == "rankstone.runners.rerank:TwoStage"
    assert method.members[0].adapter == PATH
    assert method.scorer is not None
    assert method.scorer.members[0].adapter == "rankstone.runners.dense:DenseEncoder"
    assert restamp.former_task(place.task("beir/scifact")).loader == (
        "rankstone.benchmarks.beir_zip:load"
    )


def test_published_records_are_restamped() -> None:
    known = restamp.digests(Workspace.find(ROOT))
    for path in (ROOT / "results" / "reference").rglob("*@*.json"):
        text = path.read_text(encoding="utf-8")
        assert restamp.restamped_record(text, known) == text, path
