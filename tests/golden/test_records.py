"""Record files of every schema version stay readable, byte for byte as they were written."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from rankstone.results.record import PARTS, SCHEMA_VERSION, Profile, RunRecord
from rankstone.results.schema import json_schema, schema_text
from rankstone.results.serialise import from_json, to_json
from tests.records import (
    make_counted_record,
    make_filtered_record,
    make_imported_record,
    make_record,
    make_trained_record,
)

HERE = Path(__file__).parent
PUBLISHED = HERE.parents[1] / "results" / "schema.json"


WRITTEN = {
    1: make_record, 2: make_counted_record, 3: make_imported_record, 4: make_record, 5: make_record,
    6: make_trained_record, 7: make_filtered_record,
}  # fmt: skip
"""What the golden file of each version holds: figures that a version added are in its own."""


def as_written(version: int) -> RunRecord:
    """The record of that version, whose definition named its adapter by a path."""
    record = WRITTEN[version]()
    if version < 5 and record.profile is not None:
        record = record.model_copy(update={"profile": with_early_latency(record.profile)})
    method = record.method.model_copy(update={"adapter": "rankstone.runners.bm25:BM25"})
    return record.model_copy(update={"method": method})


def with_early_latency(profile: Profile) -> Profile:
    """The profile with 200 latencies without intervals, of which p99 would have no upper end."""
    assert profile.latency is not None
    unknown = {"intervals": {}, "autocorrelation": None, "effective_n": None, "p99_ms": None}
    parts = {part: profile.latency[part].model_copy(update=unknown) for part in PARTS}
    latency = profile.latency.model_copy(update={**parts, "n": 200, "queries": None})
    return profile.model_copy(update={"latency": latency})


def test_every_version_has_a_file() -> None:
    assert list(WRITTEN) == list(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize("version", WRITTEN)
def test_a_record_of_every_version_is_read(version: int) -> None:
    path = HERE / f"record-v{version}.json"
    assert from_json(path.read_bytes(), path) == as_written(version)


def test_the_current_version_is_written_as_it_was() -> None:
    golden = (HERE / f"record-v{SCHEMA_VERSION}.json").read_text(encoding="utf-8")
    assert to_json(as_written(SCHEMA_VERSION)) == golden


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), (
        "Regenerate: python -m rankstone.results.schema > results/schema.json"
    )


@pytest.mark.parametrize("status", ["ok", "timeout"])
def test_records_follow_the_schema(status: str) -> None:
    record = make_record(status=status)  # type: ignore[arg-type]
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors(json.loads(to_json(record)))) == []
