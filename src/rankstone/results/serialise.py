"""A record as JSON text and back: key order, versions, upgrades."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel

from rankstone.errors import ResultsError
from rankstone.results.record import SCHEMA_VERSION, RunRecord

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADES: dict[int, Upgrade] = {
    1: lambda body: body,  # 2 adds tokens, flops, GPU memory and FLOP utilisation: unknown before
    2: lambda body: body,  # 3 adds whose rules the numbers follow; intervals may be unknown
}
"""Version -> the function that turns a body of that version into one of the next version."""


def to_json(record: RunRecord) -> str:
    """Return the record as text: sections in schema order, free dictionaries sorted, no NaN.

    Raises:
        ResultsError: A figure is NaN or infinite; unknown is null. The message names the key.
    """
    body = _ordered(record)
    for key in _not_finite(body):
        raise ResultsError(
            f"{record.method.name} on {record.task.name}: '{key}' is not a finite number."
            " Store null for what is unknown."
        )
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _ordered(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _ordered(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _ordered(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


def _not_finite(value: Any, key: str = "") -> Iterator[str]:
    """Yield the keys, from the root, of numbers that JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        yield key
    items = dict(enumerate(value)) if isinstance(value, list) else value
    for name, item in items.items() if isinstance(items, dict) else ():
        yield from _not_finite(item, f"{key}.{name}" if key else str(name))


def from_json(text: str | bytes, source: Path) -> RunRecord:
    """Return the record in `text`, upgraded to this version's schema; messages name `source`.

    Raises:
        ResultsError: Not JSON, not a record, or written by a newer Rankstone.
    """
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ResultsError(
            f"{source}: not valid JSON: {error}. Delete it and run the cell again."
        ) from None
    if not isinstance(body, dict) or type(body.get("schema_version")) is not int:
        raise ResultsError(f"{source}: not a Rankstone record: it has no 'schema_version'.")
    return _validated(_upgraded(body, source), source)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _upgraded(body: dict[str, Any], source: Path) -> dict[str, Any]:
    if body["schema_version"] > SCHEMA_VERSION:
        raise ResultsError(
            f"{source}: written with record schema {body['schema_version']}; this Rankstone"
            f" reads up to {SCHEMA_VERSION}. Upgrade: pip install --upgrade rankstone"
        )
    while (version := body["schema_version"]) < SCHEMA_VERSION:
        if version not in UPGRADES:
            raise ResultsError(f"{source}: there is no record schema {version}. Run it again.")
        body = {**UPGRADES[version](body), "schema_version": version + 1}
    return body


def _validated(body: dict[str, Any], source: Path) -> RunRecord:
    try:
        return RunRecord.model_validate(body)
    except pydantic.ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ResultsError(f"{source}: not a valid record:\n{faults}") from None
