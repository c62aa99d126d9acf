"""The JSON Schema of a record, for readers in other languages.

``python -m rankstone.results.schema > results/schema.json`` regenerates the published copy.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from rankstone.results.record import SCHEMA_VERSION, RunRecord
from rankstone.results.serialise import DIGEST


def json_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12) of a record as it is written."""
    schema = RunRecord.model_json_schema(mode="serialization")
    schema["properties"][DIGEST] = {
        "description": "sha256 of the canonical form (sorted keys, no white space) of all else,"
        " without the label.",
        "title": "Digest",
        "type": "string",
    }
    schema["required"].append(DIGEST)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Rankstone record, version {SCHEMA_VERSION}",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def schema_text() -> str:
    """Return the published file: indented, keys in a fixed order, newline at the end."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
