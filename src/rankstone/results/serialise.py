"""Conversion of a record to JSON text and back: key order, digest, versions, upgrades.

The text ends with `digest`, the sha256 of the canonical form of everything before it; records of
schemas before 4 may lack it. It may be followed by a label, which users can change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel

from rankstone.errors import ResultsError
from rankstone.results.record import LEAST, PARTS, SCHEMA_VERSION, TRAINING, RunRecord
from rankstone.strict import canonical_digest

DIGEST, LABEL = "digest", "label"
DIGESTED_SINCE = 4
"""First schema whose records always contain their digest."""
DEEPEST = 64
"""Maximum nesting depth of a record."""
LARGEST = 2**63
"""Bound of integers: readers in other languages, and tables, use 64 bits."""
LEARNERS = ("anncur", "bank_normalisation", "jpq", "repconc")
"""Adapters of records before version 4 that learnt from training queries."""
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


def _without_open_percentiles(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without latency percentiles whose interval would have no upper end."""
    profile = _section(body, "profile")
    latency = _section(profile, "latency")
    n = latency.get("n")
    open_ended = [name for name, least in LEAST.items() if isinstance(n, int) and n < least]
    parts = {
        name: {**part, **dict.fromkeys(part.keys() & open_ended)}
        for name in PARTS
        if (part := _section(latency, name))
    }
    return {**body, "profile": {**profile, "latency": {**latency, **parts}}} if parts else body


def _section(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a section; it may be missing, or be of another type in a damaged record."""
    found = body.get(name)
    return found if isinstance(found, dict) else {}


UPGRADES: dict[int, Upgrade] = {
    1: lambda body: body,  # 2 adds tokens, flops, GPU memory and FLOP utilisation: unknown before
    2: lambda body: body,  # 3 adds whose rules the numbers follow; intervals may be unknown
    3: lambda body: _trained(body),  # 4 adds the digest of the record itself, and `trained_on`
    4: _without_open_percentiles,  # 5 adds intervals of latencies
    5: lambda body: body,  # 6 adds trainings by recipes, and the device and its utilisation
    6: lambda body: body,  # 7 adds filters, updates, cold starts and the recall of exact search
}
"""Functions that upgrade a body of each version to the next version."""


def _trained(body: dict[str, Any]) -> dict[str, Any]:
    """Add the known training data: `LEARNERS` have learnt, unless a warning denies it."""
    method = body.get("method")
    if not isinstance(method, dict) or body.get("status") != "ok":
        return body
    parameters = method.get("parameters") or {}
    tuned = parameters.get("weights") == "tuned"
    warned = any("training queries" in str(warning) for warning in body.get("warnings", ()))
    from_documents = parameters.get("queries_from") == "documents"
    if warned or from_documents or not (tuned or method.get("adapter") in LEARNERS):
        return body
    return {**body, "method": {**method, "trained_on": [TRAINING]}}


def to_json(record: RunRecord) -> str:
    """Return the record as text: sections in schema order, free dictionaries sorted, no NaN.

    Raises:
        ResultsError: a figure is NaN or infinite (the message names the key; unknown values should
            be null), or the text could not be read back.
    """
    body = _ordered(record)
    try:
        check_storable(body)
    except ValueError as error:
        raise ResultsError(
            f"{record.method.name} on {record.task.name}: {error}. Store null for unknown values."
        ) from None
    label = {LABEL: found} if (found := body.pop(LABEL)) else {}
    return written({**body, DIGEST: canonical_digest(body), **label})


def with_label(text: bytes, label: str) -> str:
    """Return the text of a record with another label, or without one; nothing else changes."""
    body = json.loads(text)
    body.pop(LABEL, None)
    return written({**body, LABEL: label} if label else body)


def written(body: Mapping[str, Any]) -> str:
    """Return the text of a record's body."""
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
    """Yield the keys, from the root, of numbers that JSON cannot represent."""
    if isinstance(value, float) and not math.isfinite(value):
        yield key
    items = dict(enumerate(value)) if isinstance(value, list) else value
    for name, item in items.items() if isinstance(items, dict) else ():
        yield from _not_finite(item, f"{key}.{name}" if key else str(name))


def from_json(text: str | bytes, source: Path, *, changed: bool = False) -> RunRecord:
    """Return the record in `text`, upgraded to this version's schema; messages name `source`.

    Args:
        changed: accept a record that differs from its digest, to report how.

    Raises:
        ResultsError: the text is not JSON, not a record, was changed since it was written, or was
            written by a newer Rankstone.
    """
    body = _parsed(text, source)
    if not isinstance(body, dict) or type(body.get("schema_version")) is not int:
        raise ResultsError(f"{source}: not a Rankstone record: it has no 'schema_version'.")
    _refuse_newer(body, source)
    fault = None if changed else _digest_fault(body)
    if fault:
        raise ResultsError(f"{source}: {fault}. Run the cell again.")
    body.pop(DIGEST, None)
    return _validated(_upgraded(body, source), source)


def has_digest(text: str | bytes, source: Path) -> bool:
    """Return False for a record of an early schema, which contains no digest of itself."""
    return DIGEST in _parsed(text, source)


def digest_fault(text: str | bytes, source: Path) -> str | None:
    """Return how the record in `text` differs from its digest; None if it does not."""
    return _digest_fault(_parsed(text, source))


def _digest_fault(body: Mapping[str, Any]) -> str | None:
    recorded = body.get(DIGEST)
    if DIGEST not in body and body["schema_version"] < DIGESTED_SINCE:
        return None
    digested = {key: value for key, value in body.items() if key not in (DIGEST, LABEL)}
    found = canonical_digest(digested)
    if found == recorded:
        return None
    return f"changed since it was written: it has digest {found}, recorded {recorded}"


def _parsed(text: str | bytes, source: Path) -> Any:
    """Return a JSON value that every reader can hold: finite, 64 bits, valid Unicode."""
    try:
        content = text if isinstance(text, str) else text.decode("utf-8")
        body = json.loads(content, parse_constant=_refuse_constant)
        _check(body)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ResultsError(
            f"{source}: not valid JSON: {why}. Delete it and run the cell again."
        ) from None
    return body


def check_storable(value: Any) -> None:
    """Raise ValueError for a value that cannot be stored, because it could not be read back."""
    try:
        for key in _not_finite(value):
            raise ValueError(f"'{key}' is not a finite number")
        _check(value)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def _check(value: Any, depth: int = 0) -> None:
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is larger than any float")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ValueError("an integer needs more than 64 bits")
    if isinstance(value, str):
        value.encode()  # a lone surrogate has no UTF-8 form
    for item in (*value, *value.values()) if isinstance(value, dict) else ():
        _check(item, depth + 1)
    for item in value if isinstance(value, list) else ():
        _check(item, depth + 1)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_newer(body: dict[str, Any], source: Path) -> None:
    if body["schema_version"] > SCHEMA_VERSION:
        raise ResultsError(
            f"{source}: written with record schema {body['schema_version']}; this Rankstone"
            f" reads up to {SCHEMA_VERSION}. Upgrade: pip install --upgrade rankstone"
        )


def _upgraded(body: dict[str, Any], source: Path) -> dict[str, Any]:
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
