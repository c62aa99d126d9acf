"""Records as MTEB 2 result files, which `mteb.ResultCache(FOLDER).load_results()` reads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from rankstone.errors import RankstoneWarning, ResultsError
from rankstone.results.mteb_tasks import MEASURES, PARTS
from rankstone.results.record import RunRecord
from rankstone.results.store import Stored, cells

META = (
    "loader", "name", "revision", "release_date", "languages", "n_parameters", "memory_usage_mb",
    "max_tokens", "embed_dim", "license", "open_weights", "public_training_code",
    "public_training_data", "framework", "similarity_fn_name", "use_instructions",
    "training_datasets",
)  # fmt: skip
"""Fields of `model_meta.json` without a default."""
NAMED = 3
"""Maximum number of records named in a message."""


def mteb_files(stored: Sequence[Stored]) -> Iterator[tuple[str, bytes]]:
    """Yield `results/<model>/<revision>/<task>.json` and `model_meta.json`.

    Parts of a task are combined in one file. If several machines measured a cell, the record that
    represents it is used. A warning names the omitted records, those on other tasks.

    Raises: ResultsError, if there are only such records.
    """
    files = dict[str, dict[str, Any]]()
    for record in _of_mteb(stored):
        revision = _revision(record)
        folder = f"results/{record.method.name.replace('/', '__')}/{revision}"
        part = PARTS[record.task.name]
        body = files.setdefault(f"{folder}/{part.task}.json", _body(record, part.task))
        split = part.split or record.task.split
        others = [one for one in body["scores"].get(split, ()) if one["hf_subset"] != part.subset]
        body["scores"][split] = [*others, _scores(record)]
        body["evaluation_time"] += record.profile.own_seconds if record.profile else 0.0
        files[f"{folder}/model_meta.json"] = _model_meta(record, revision)
    yield from ((name, f"{json.dumps(body, indent=2)}\n".encode()) for name, body in files.items())


def _of_mteb(stored: Sequence[Stored]) -> list[RunRecord]:
    standing = [record for record, _ in cells(stored).values()]
    others = [r for r in standing if r.task.name not in PARTS]
    names = ", ".join(f"{record.method.name} on {record.task.name}" for record in others[:NAMED])
    names += f" and {more} more" if (more := len(others) - NAMED) > 0 else ""
    if len(others) == len(standing):
        known = ", ".join(sorted({name.partition("/")[0] for name in PARTS}))
        raise ResultsError(
            f"{names}: MTEB has no such task. Tasks that it has are among those of {known}."
        )
    if others:
        warnings.warn(f"skipped, not among MTEB's tasks: {names}", RankstoneWarning, stacklevel=2)
    return [record for record in standing if record.task.name in PARTS]


def _revision(record: RunRecord) -> str:
    """Return the model's revision, if the record states one, and a digest of the definition."""
    revision = record.method.description.get("revision")
    stated = [revision] if isinstance(revision, str) and revision.isalnum() else []
    return "-".join([*stated, record.method.digest[:8]])


def _body(record: RunRecord, task: str) -> dict[str, Any]:
    return {
        "dataset_revision": record.task.sha256.get("corpus", "unknown"),
        "task_name": task,
        "mteb_version": None,
        "scores": {},
        "evaluation_time": 0.0,
        "kg_co2_emissions": None,
    }


def _scores(record: RunRecord) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for name, measure in record.measures.items():
        stem, _, cutoff = name.partition("@")
        if stem in MEASURES and cutoff.isdecimal():
            scores[f"{MEASURES[stem]}_at_{cutoff}"] = measure.mean
    beir = record.measures.get("nDCG@10") if record.task.name.startswith("beir/") else None
    main, subset = beir or record.measures[record.task.headline], PARTS[record.task.name].subset
    languages = ["eng-Latn"] if subset == "default" else [f"{subset}-Code"]
    return {**scores, "main_score": main.mean, "hf_subset": subset, "languages": languages}


def _model_meta(record: RunRecord, revision: str) -> dict[str, Any]:
    """Return the fields required by MTEB's `ModelMeta`; unknown values are null."""
    model = record.method.description.get("model")
    return {
        **dict.fromkeys(META),
        "name": record.method.name,
        "revision": revision,
        "framework": [],
        "modalities": ["text"],
        "adapted_from": model if isinstance(model, str) else None,
    }
