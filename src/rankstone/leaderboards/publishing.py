"""Checks of records for publication: measured from committed code, on an idle machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rankstone.leaderboards.costs import unsteady_parts
from rankstone.results.record import RunRecord
from rankstone.results.serialise import to_json
from rankstone.results.store import Stored

DATA = "RANKSTONE_DATA"


def faults(record: RunRecord) -> Iterator[str]:
    """Yield the reasons not to publish `record`."""
    here = record.environment
    if here.git_dirty:
        yield "measured with uncommitted changes"
    elif here.git_commit is None or here.git_dirty is None:
        yield "the commit of its code is not known: measure it with a checkout of Rankstone"
    if parts := unsteady_parts(record):
        yield f"its latency is unsteady, or was measured under other load ({', '.join(parts)})"


def without_latency(record: RunRecord) -> RunRecord:
    """Return `record` without its latencies, which are unreliable on a busy machine."""
    if record.profile is None:
        return record
    profile = record.profile.model_copy(update={"latency": None})
    files = record.files.model_copy(update={"latency": None, "latency_sha256": None})
    return record.model_copy(update={"profile": profile, "files": files})


def refused(stored: Iterable[Stored]) -> list[tuple[Stored, list[str]]]:
    """Return the successful records that are not to be published, with the reasons."""
    found = [(one, list(faults(one[0]))) for one in stored if one[0].status == "ok"]
    return [(one, reasons) for one, reasons in found if reasons]


def publish(stored: Iterable[Stored], root: Path, to: Path, tasks: Iterable[str]) -> list[Path]:
    """Copy the successful records below `root` that have no faults to the same paths below `to`.

    Args:
        tasks: Prefixes of the names of the tasks to publish; empty: all.
    """
    beginnings, copied = tuple(tasks), list[Path]()
    for record, path in stored:
        wanted = not beginnings or record.task.name.startswith(beginnings)
        if record.status != "ok" or not wanted or next(faults(record), None):
            continue
        target = to / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(to_json(_without_places(record)), encoding="utf-8")
        copied.append(target)
    return copied


def _without_places(record: RunRecord) -> RunRecord:
    """Return `record` with the path of the data folder replaced by `$RANKSTONE_DATA`.

    The path is replaced as it is stated, if it is absolute, and as records have it: resolved.
    """
    stated = os.environ.get(DATA)
    if not stated:
        return record
    folder = Path(stated).expanduser()
    places = {str(place) for place in (folder, folder.resolve()) if place.is_absolute()}
    names = "|".join(re.escape(place) for place in sorted(places, key=len, reverse=True))
    # Not in the path of another folder that begins or ends with it, nor in a URL.
    found = re.compile(rf"(?<![\w.-])(?:{names})(?![\w-]|\.\w)")
    return RunRecord.model_validate_json(
        json.dumps(_replaced(record.model_dump(mode="json"), found))
    )


def _replaced(value: Any, place: re.Pattern[str]) -> Any:
    """Return `value` with `place` replaced in all its strings, keys included."""
    if isinstance(value, str):
        return place.sub(f"${DATA}", value)
    if isinstance(value, list):
        return [_replaced(item, place) for item in value]
    if isinstance(value, dict):
        return {_replaced(key, place): _replaced(item, place) for key, item in value.items()}
    return value
