from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankstone.errors import ResultsError
from rankstone.results import serialise
from rankstone.results.record import SCHEMA_VERSION
from rankstone.results.serialise import from_json, to_json
from tests.records import make_record

SOURCE = Path("somewhere/x@y.json")


def body() -> dict[str, Any]:
    return json.loads(to_json(make_record()))  # type: ignore[no-any-return]


def test_round_trip() -> None:
    record = make_record()
    assert from_json(to_json(record), SOURCE) == record
    assert record["measures"]["nDCG@10"]["mean"] == 0.3043


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 1', "not valid JSON"),
        (b"\xff\xfe{", "not valid JSON"),
        ('{"schema_version": NaN}', "not valid JSON: NaN"),
        ("[]", "not a Rankstone record"),
        ("{}", "it has no 'schema_version'"),
        ('{"schema_version": true}', "it has no 'schema_version'"),
        ('{"schema_version": 1, "status": "fine"}', "status: Input should be"),
        ('{"schema_version": 0}', "no record schema 0"),
    ],
)
def test_malformed_text_names_the_file(text: str | bytes, message: str) -> None:
    with pytest.raises(ResultsError, match=rf"x@y\.json: .*(\n.*)*{message}"):
        from_json(text, SOURCE)


def test_unknown_keys_are_named() -> None:
    with pytest.raises(ResultsError, match=r"environment\.colour: Extra inputs"):
        from_json(json.dumps(body() | {"environment": {"machine": "x", "colour": 1}}), SOURCE)


def test_a_newer_version_is_refused_with_the_mend() -> None:
    newer = json.dumps({**body(), "schema_version": SCHEMA_VERSION + 1, "novelty": 1})
    expected = rf"schema {SCHEMA_VERSION + 1}; .* up to {SCHEMA_VERSION}\. Upgrade: pip install"
    with pytest.raises(ResultsError, match=expected):
        from_json(newer, SOURCE)


def test_older_versions_are_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename_note(old: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in old.items() if k != "note"} | {"warnings": [old["note"]]}

    steps = {-1: lambda old: old, 0: rename_note, **serialise.UPGRADES}
    monkeypatch.setattr(serialise, "UPGRADES", steps)
    old = json.dumps({**body(), "schema_version": -1, "note": "slow"})
    assert from_json(old, SOURCE) == make_record(warnings=["slow"])
