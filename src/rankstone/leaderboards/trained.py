"""Distinction of methods trained on a collection's training split from zero-shot ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rankstone.leaderboards.numbers import quality
from rankstone.results.record import TRAINING, RunRecord

UNKNOWN_TRAINING = "not known"
TAGS = ("trained here", UNKNOWN_TRAINING, "zero-shot")
"""Relation of a method to a task's training data; over several tasks, the first that applies."""


def trained_text(record: RunRecord) -> str:
    """Return the names of the data that the record's method was trained on."""
    return ", ".join(record.method.trained_on) or UNKNOWN_TRAINING


def training_text(record: RunRecord) -> str:
    """Return the names of the data, or the note that the method is not zero-shot."""
    return trained_note(record) if record.is_trained else trained_text(record)


def training_tag(record: RunRecord) -> str:
    """Return one of `TAGS`."""
    if record.is_trained:
        return TAGS[0]
    return TAGS[2] if record.method.trained_on else UNKNOWN_TRAINING


def labelled(name: str, trained: bool) -> str:
    """Return the name of a method, marked if it was trained on the training split."""
    return f"{name} (trained)" if trained else name


def trained_note(record: RunRecord) -> str:
    """Return a note that the method is not zero-shot, with its score on unseen queries."""
    unseen = record.unseen
    note = f"trained on the {TRAINING}, no zero-shot method"
    if unseen is None:
        return note
    note += (
        f"; it saw the documents of {unseen.seen_judgements:,} of {unseen.relevant_judgements:,}"
        " relevant judgements"
    )
    headline = unseen.measures.get(record.task.headline)
    if headline is None:
        return f"{note}, and no query is unseen"
    return f"{note}; {record.task.headline} {quality(headline.mean)} on {unseen.queries:,} others"


def trained_notes(records: Iterable[RunRecord]) -> Iterator[str]:
    """Yield a note for each record of a method trained on the training split."""
    for record in records:
        if record.is_trained:
            yield f"{record.method.name} on {record.task.name}: {trained_note(record)}"


def zero_shot(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the records without those of methods trained on the training split."""
    return [record for record in records if not record.is_trained]
