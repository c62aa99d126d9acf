from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from rankstone.errors import ResultsError
from rankstone.results import serialise
from rankstone.results.record import SCHEMA_VERSION
from rankstone.results.serialise import digest_fault, from_json, has_digest, to_json
from tests.records import make_record

SOURCE = Path("somewhere/x@y.json")


def body() -> dict[str, Any]:
    return json.loads(to_json(make_record()))  # type: ignore[no-any-return]


def signed(changed: dict[str, Any]) -> str:
    """Return a record with a manually computed digest of its content."""
    content = {key: value for key, value in changed.items() if key != "digest"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return json.dumps({**content, "digest": hashlib.sha256(text.encode()).hexdigest()})


def test_a_record_reads_back_as_written() -> None:
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
        from_json(signed(body() | {"environment": {"machine": "x", "colour": 1}}), SOURCE)


def test_a_newer_version_is_refused_with_a_remedy() -> None:
    newer = json.dumps({**body(), "schema_version": SCHEMA_VERSION + 1, "novelty": 1})
    expected = rf"schema {SCHEMA_VERSION + 1}; .* up to {SCHEMA_VERSION}\. Upgrade: pip install"
    with pytest.raises(ResultsError, match=expected):
        from_json(newer, SOURCE)


def test_older_versions_are_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename_note(old: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in old.items() if k != "note"} | {"warnings": [old["note"]]}

    steps = {-1: lambda old: old, 0: rename_note, **serialise.UPGRADES}
    monkeypatch.setattr(serialise, "UPGRADES", steps)
    old = signed({**body(), "schema_version": -1, "note": "slow"})
    assert from_json(old, SOURCE) == make_record(warnings=["slow"])


def test_the_digest_is_the_sha256_of_all_else() -> None:
    assert json.loads(signed(body())) == body()
    assert from_json(signed(body()), SOURCE) == make_record()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in items:
        nested = isinstance(inner, dict | list) and inner
        found += leaves(inner, (*path, key)) if nested else [(*path, key)]
    return found


def test_no_field_can_be_edited_or_removed() -> None:
    for *parents, key in leaves(body()):
        for edit in ("changed", "removed"):
            edited = body()
            at = edited
            for parent in parents:
                at = at[parent]
            if edit == "changed":
                at[key] = 12345 if not isinstance(at[key], str) else at[key] + "x"
            else:
                del at[key]
            with pytest.raises(ResultsError):
                from_json(json.dumps(edited), SOURCE)


def test_records_of_early_schemas_have_no_digest() -> None:
    early = json.dumps({k: v for k, v in body().items() if k != "digest"} | {"schema_version": 3})
    assert from_json(early, SOURCE) == make_record()
    assert not has_digest(early, SOURCE)
    assert digest_fault(early, SOURCE) is None
    with pytest.raises(ResultsError, match=r"changed since it was written: .* recorded None"):
        from_json(early.replace('"schema_version": 3', '"schema_version": 4'), SOURCE)
    stated = json.dumps(json.loads(early) | {"digest": "0" * 64})
    with pytest.raises(ResultsError, match="changed since it was written"):
        from_json(stated, SOURCE)


def test_a_changed_record_is_read_to_report_how() -> None:
    edited = json.dumps(body() | {"key": "mine"})
    assert from_json(edited, SOURCE, changed=True).key == "mine"
    assert str(digest_fault(edited, SOURCE)).startswith("changed since it was written")
