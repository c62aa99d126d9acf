"""Causes that need another run to test, derived from a record, with their likelihood."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rankstone.evaluation.explanation import Untried
from rankstone.results.record import RunRecord
from rankstone.specs import TaskSpec

LENGTHS = (128, 256, 350, 512)
"""Common length limits in published results of encoders."""
BM25 = ((0.9, 0.4), (1.2, 0.75), (1.5, 0.75), (0.82, 0.68))
"""k1 and b: defaults of Anserini, Lucene and bm25s, and Anserini's for MS MARCO passages."""
NO_RUNNER = "the run was made elsewhere: ask whoever made it, or run the method here"


def untried(record: RunRecord) -> list[Untried]:
    """Return the causes that another run would test, likely ones first."""
    described = record.method.description
    if not described:
        return [Untried(cause="texts, prompts, lengths and precision", why=NO_RUNNER)]
    found = [
        *_prompts(described),
        *_lengths(record, described),
        *_bm25(record.method.parameters),
        *_text(record.task.text),
        *_vectors(described),
    ]
    return [replace(one, command=_command(record, one.settings)) for one in found]


def _command(record: RunRecord, settings: tuple[str, ...]) -> str:
    if not settings:
        return ""
    words = [word for setting in settings for word in ("--set", setting)]
    return shlex.join(["rankstone", "run", record.method.name, "--on", record.task.name, *words])


def _prompts(described: Mapping[str, Any]) -> Iterator[Untried]:
    prompts = described.get("prompts")
    if not isinstance(prompts, Mapping):
        return
    stated = {role: words for role, words in prompts.items() if words}
    if not stated:
        yield Untried(
            cause="a prompt of the model", why="the record has none; check the model's card"
        )
        return
    words = " and ".join(f"{text!r} before each {role}" for role, text in stated.items())
    why = f"likely if the other tool has no prompts; the run has {words}"
    empty = tuple(f"prompts.{role}=" for role in stated)
    yield Untried(cause="prompts left out", why=why, settings=empty)
    query, document = prompts.get("query", ""), prompts.get("document", "")
    if query != document:
        swapped = (f"prompts.query={document}", f"prompts.document={query}")
        yield Untried(cause="prompts swapped", why="the two differ", settings=swapped)


def _lengths(record: RunRecord, described: Mapping[str, Any]) -> Iterator[Untried]:
    limit, cut = described.get("max_length"), record.truncation.get("document")
    limit = limit.get("document") if isinstance(limit, Mapping) else limit
    if not isinstance(limit, int) or cut is None or not cut.texts:
        return
    share = cut.texts_cut / cut.texts
    why = f"{share:.1%} of documents are truncated at {limit} tokens"
    for length in LENGTHS:
        if length < limit or (length > limit and share):
            yield Untried(
                cause=f"texts truncated at {length} tokens",
                why=why,
                settings=(f"max_length={length}",),
            )


def _bm25(parameters: Mapping[str, Any]) -> Iterator[Untried]:
    own = parameters.get("k1"), parameters.get("b")
    if None in own:
        return
    why = f"the run has k1 = {own[0]}, b = {own[1]}; sources often state neither"
    for k1, b in BM25:
        if (k1, b) != own:
            yield Untried(
                cause=f"k1 = {k1}, b = {b}",
                why=why,
                settings=(f"k1={k1}", f"b={b}"),
            )


def _text(template: str) -> Iterator[Untried]:
    why = f"the run has the text {template!r}"
    if "{title" in template:
        yield Untried(cause="title left out", why=why, settings=("text={text}",))
    else:
        yield Untried(cause="title added", why=why, settings=("text={title} {text}",))


def _vectors(described: Mapping[str, Any]) -> Iterator[Untried]:
    similarity, precision = described.get("similarity"), described.get("precision")
    if similarity in ("cosine", "dot"):
        other = "dot" if similarity == "cosine" else "cosine"
        yield Untried(
            cause=f"similarity {other}",
            why=f"the run has {similarity}",
            settings=(f"similarity={other}",),
        )
    if described.get("pooling") in ("mean", "cls"):
        other = "cls" if described["pooling"] == "mean" else "mean"
        why = f"the run pools by {described['pooling']}, as its definition or the model says"
        yield Untried(cause=f"pooling {other}", why=why, settings=(f"pooling={other}",))
    if precision == "fp32":
        why = "the run is in fp32, by " + str(described.get("engine", "an unknown engine"))
        yield Untried(cause="precision bf16", why=why, settings=("precision=bf16",))


def facts(record: RunRecord, task: TaskSpec) -> Iterator[str]:
    """Yield the record's statements about revisions of weights and data, and about ties."""
    described, files = record.method.description, record.method.description.get("files", {})
    if model := described.get("model"):
        revision = described.get("revision")
        stated = f"revision {revision}" if revision else "no revision, but the digests of its files"
        yield f"weights: {model}, {stated} ({len(files)} files)"
    for part, digest in record.task.sha256.items():
        pinned = task.sha256.get(part)  # type: ignore[call-overload]
        state = "no digest is pinned" if pinned is None else "as pinned"
        state = state if pinned in (None, digest) else "NOT as pinned: another revision"
        yield f"{part}: sha256 {digest[:12]}, {state}"
    counts = task.counts
    for name in ("documents", "queries", "judgements"):
        found, pinned_count = record.task[f"n_{name}"], getattr(counts, name)
        if None not in (found, pinned_count):
            same = "as the source states" if found == pinned_count else f"of {pinned_count:,} there"
            yield f"{found:,} {name}, {same}"
    if record.task.n_unknown_documents:
        yield f"{record.task.n_unknown_documents:,} judged documents are not in the corpus"
