"""Names and values of a record: its task, method, trainings, environment and provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rankstone.leaderboards.document import Block, Heading, table
from rankstone.leaderboards.numbers import REUSED, UNKNOWN, bytes_text, count, significant
from rankstone.leaderboards.trained import trained_note, trained_text
from rankstone.results.record import Environment, RunRecord, Training

CURVE = ("step", "training loss", "held-out loss")
CURVE_POINTS = 12
SHORT = 12
"""Number of digits shown of a digest."""
Row = tuple[str, Any]


def section(title: str, rows: Iterable[Row]) -> tuple[Block, ...]:
    """Return a table of names and values, without empty or unknown ones."""
    return Heading(title), table(("name", "value"), facts(rows), headless=True)


def facts(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Return the names and texts of values that are neither empty nor unknown."""
    return [
        (name.replace("_", " "), value_text(value))
        for name, value in rows
        if value not in (None, "", [], {})
    ]


def value_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def task_rows(record: RunRecord) -> Iterator[Row]:
    task = record.task
    yield "dataset", f"{task.dataset}, split {task.split}"
    yield "source", task.source
    sizes = {
        "documents": task.n_documents, "queries": task.n_queries, "judgements": task.n_judgements
    }  # fmt: skip
    yield "size", ", ".join(f"{n:,} {name}" for name, n in sizes.items() if n is not None) or None
    yield "judged documents missing from the corpus", task.n_unknown_documents
    yield "text", task.text
    yield "headline", task.headline
    for part, digest in task.sha256.items():
        yield f"sha256 of {part}", digest[:SHORT]


def method_rows(record: RunRecord) -> Iterator[Row]:
    method = record.method
    yield "adapter", method.adapter
    yield "trained on", trained_text(record)
    if record.is_trained:
        yield "zero-shot", f"no: {trained_note(record)}"
    yield from _flat({**method.parameters, **method.description})


def training_rows(training: Training) -> Iterator[Row]:
    """Yield the facts of a training, without its curves."""
    best = "" if training.best_step is None else f", weights of step {training.best_step:,} kept"
    yield "steps", f"{training.steps:,}{best}"
    held_out = f", {training.held_out_queries:,} held out" if training.held_out_queries else ""
    yield (
        "data",
        (
            f"{', '.join(training.data)}: {count(training.queries, 'query', 'queries')}{held_out},"
            f" {count(training.pairs, 'pair')}"
        ),
    )
    yield "loss", training.loss_name
    yield "negatives", training.negatives
    yield "training queries left out", training.dropped_queries or None
    yield "documents relevant in training and test", f"{training.seen_documents:,}"
    reused = f"{REUSED} trained by an earlier run" if training.reused else ""
    yield "wall s", f"{significant(training.wall_s)}{reused}"
    yield "CPU s", significant(training.cpu_s)
    yield "device", f"{training.device}, {training.precision}, seed {training.seed}"
    yield "resumed", "yes" if training.resumed else None
    yield "checkpoint", training.checkpoint[:SHORT]


def curve_rows(training: Training) -> Iterator[tuple[str, str, str]]:
    """Yield about a dozen points of the training loss, and all of the held-out loss."""
    loss, held_out = dict(training.loss), dict(training.held_out)
    thin = [*loss][:: max(1, len(loss) // CURVE_POINTS)]
    for step in sorted({*thin, *[*loss][-1:], *held_out}):
        yield f"{step:,}", _loss(loss.get(step)), _loss(held_out.get(step))


def _loss(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _flat(described: Mapping[str, Any], above: str = "") -> Iterator[Row]:
    """Flatten nested descriptions to names such as `member 2: model`; digests are shortened."""
    for name, value in described.items():
        if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
            for number, part in enumerate(value, 1):
                yield from _flat(part, f"{name.removesuffix('s')} {number}: ")
        elif isinstance(value, dict):
            width = SHORT if name == "files" else None
            inner = (f"{key} {value_text(part)[:width] or 'empty'}" for key, part in value.items())
            yield f"{above}{name}", ", ".join(inner)
        else:
            yield f"{above}{name}", value


def truncation_rows(record: RunRecord) -> list[list[str]]:
    """Return the fractions of truncated texts and tokens of each role."""
    return [
        [role, share_text(cut.texts_cut, cut.texts), share_text(cut.tokens_cut, cut.tokens)]
        for role, cut in record.truncation.items()
    ]


def share_text(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})" if whole else UNKNOWN


def gpu_text(here: Environment) -> str:
    """Return the GPU, and the selected device if there was a choice."""
    chosen = here.device if here.gpu or here.device != "cpu" else None
    return ", ".join(filter(None, (here.gpu, chosen and f"device {chosen}")))


def environment_rows(record: RunRecord) -> Iterator[Row]:
    for key, value in record.environment:
        if key == "ram_bytes":
            yield "RAM", bytes_text(value)
        elif key == "packages":
            yield key, ", ".join(f"{name} {version}" for name, version in value.items())
        elif key == "command":
            yield key, " ".join(value)
        else:
            yield key.replace("_", " "), value


def provenance_rows(record: RunRecord) -> Iterator[Row]:
    yield from record.provenance
    for kind in ("run", "per_query", "latency", "load"):
        yield f"file: {kind.replace('_', ' ')}", record.files[kind]
    yield "key", record.key
