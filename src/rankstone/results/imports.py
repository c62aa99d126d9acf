"""Import of MTEB results as records, so that tables can include them.

The records contain only MTEB's numbers: means without intervals, by MTEB's rules for ties and for
queries without results (`Policy.rules`), and no speed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankstone.errors import ResultsError, did_you_mean
from rankstone.files import sha256_of
from rankstone.results.mteb_tasks import MEASURES, PARTS, TASKS
from rankstone.results.record import (
    Environment,
    Measure,
    MethodInfo,
    Policy,
    Provenance,
    RunRecord,
    TaskInfo,
)
from rankstone.specs import TaskSpec, canonical_digest
from rankstone.text_files import DAMAGE, opened

ELSEWHERE = "elsewhere"
"""Placeholder for the fingerprint of an unknown machine."""
ADAPTER = "mteb results"


def read_mteb(
    path: Path, tasks: Mapping[str, TaskSpec], *, name: str | None = None, when: str
) -> RunRecord:
    """Return the record of one MTEB result file, `<model>/<revision>/<task>.json`.

    Args:
        tasks: definitions by name.
        name: name of the method; by default `mteb/<model>`, from the folder or `model_meta.json`.
        when: time of the provenance, ISO 8601.

    Raises:
        ResultsError: the file is invalid, its task is unknown, or it lacks the task's split.
    """
    body = _body(path)
    found = body.get("task_name") or body.get("mteb_dataset_name")
    task = tasks.get(TASKS.get(str(found), ""))
    if task is None:
        raise ResultsError(
            f"{path}: its task '{found}' is unknown.{did_you_mean(str(found), TASKS)}"
        )
    scores = _scores(body, task, path)
    known = {
        f"{stem}@{k}": scores[key]
        for stem, theirs in MEASURES.items()
        for k in (1, 3, 5, 10, 20, 50, 100, 1000)
        if (key := f"{theirs}_at_{k}") in scores
    }
    measures = {name: _measure(name, v, path) for name, v in known.items() if _is_number(v)}
    if task.headline not in measures:
        raise ResultsError(f"{path}: it has no {task.headline}, the task's headline measure.")
    method = name or f"mteb/{_model(path)}"
    digest = sha256_of(path)
    source = f"mteb {body.get('mteb_version')}, revision {body.get('dataset_revision')}"
    return RunRecord(
        status="ok",
        key=canonical_digest({"mteb": digest, "method": method}),
        task=TaskInfo.of(task, {"source": source}),
        method=MethodInfo(
            name=method,
            digest=canonical_digest({"mteb": digest}),
            adapter=ADAPTER,
            parameters={"file": path.name, "sha256": digest},
        ),
        policy=Policy(depth=1000, rules="mteb", intervals="unknown"),
        measures=measures,
        environment=Environment(machine=ELSEWHERE),
        provenance=Provenance(started=when, finished=when),
        warnings=[
            "imported from MTEB: its rules, no values per query, no measurements on this machine",
            *(
                f"{path.name}: {name} is {value!r:.40} and is left out: not a number"
                for name, value in known.items()
                if not _is_number(value)
            ),
        ],
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _measure(name: str, value: float, path: Path) -> Measure:
    if not 0 <= value <= 1:
        raise ResultsError(f"{path}: {name} is {value}, expected 0 to 1. Correct the file.")
    return Measure(mean=float(value))


def _body(path: Path) -> dict[str, Any]:
    try:
        with opened(path, ResultsError) as file:
            body = json.loads(file.read())
    except (*DAMAGE, ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(body, dict):
        raise ResultsError(f"{path}: not a result of MTEB: expected an object.")
    return body


def _scores(body: Mapping[str, Any], task: TaskSpec, path: Path) -> Mapping[str, Any]:
    """Return the scores of the task's split, from MTEB before or since 1.14."""
    splits = body.get("scores", body)
    split = PARTS[task.name].split or task.split
    found = splits.get(split) if isinstance(splits, dict) else None
    if isinstance(found, list) and len(found) > 1:
        names = ", ".join(str(s.get("hf_subset") if isinstance(s, dict) else s) for s in found)
        raise ResultsError(
            f"{path}: its split '{split}' has {len(found)} subsets ({names:.200}), and"
            f" {task.name} is one. Keep the scores of one."
        )
    if isinstance(found, list):
        found = found[0] if found else None
    if not isinstance(found, dict):
        has = ", ".join(map(str, splits)) if "scores" in body and isinstance(splits, dict) else ""
        other = f" It has: {has:.200}." if has and split not in splits else ""
        raise ResultsError(f"{path}: it has no scores of the split '{split}'.{other}")
    return found


def _model(path: Path) -> str:
    """Return the model's name from `model_meta.json`, else from the folder."""
    meta = path.with_name("model_meta.json")
    if meta.is_file():
        name = _body(meta).get("name")
        if isinstance(name, str) and name:
            return name.replace(" ", "-")
    folder = path.resolve().parent.parent.name
    return folder.replace("__", "/") or "unknown"
